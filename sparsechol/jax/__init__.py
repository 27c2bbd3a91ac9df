"""Sparse Cholesky factorisation in JAX: jit, vmap, and derivatives of every order, in both modes.

The pattern of a matrix is analysed once, outside of any transformation, and static from there on;
its values are an ordinary array.
"""

try:
    import jax  # noqa: F401
except ImportError as error:
    raise ImportError("sparsechol.jax needs JAX: pip install 'sparsechol[jax]'") from error

from ._factor import Factor, cholesky
from ._functions import logdet, partial_inverse, solve
from ._gaussian import gmrf_logpdf, gmrf_sample
from ._matrix import SPDMatrix, analyze, from_bcoo, from_bcsr, to_bcoo
from ._triangle import TriangularMatrix, TriangularPattern, analyze_triangle, solve_triangular

__all__ = [
    "Factor",
    "SPDMatrix",
    "TriangularMatrix",
    "TriangularPattern",
    "analyze",
    "analyze_triangle",
    "cholesky",
    "from_bcoo",
    "from_bcsr",
    "gmrf_logpdf",
    "gmrf_sample",
    "logdet",
    "partial_inverse",
    "solve",
    "solve_triangular",
    "to_bcoo",
]
