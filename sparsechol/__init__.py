"""Sparse Cholesky factorisation with selected inverse."""

from ._triangular import solve_triangular

__all__ = ["solve_triangular"]
