"""Sparse Cholesky factorisation with selected inverse."""
