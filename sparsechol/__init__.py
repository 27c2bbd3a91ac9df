"""Sparse Cholesky factorisation with selected inverse, in the manner of scipy.sparse.linalg."""

from . import coloring, derivatives
from ._batch import CholeskyBatch
from ._differences import approx_hessian, approx_jacobian
from ._exceptions import NotPositiveDefiniteError, PatternMismatchError
from ._factor import CholeskyFactor
from ._functions import cholesky, logdet, partial_inverse, solve
from ._symbolic import SymbolicFactor, analyze
from ._triangular import solve_triangular
from ._version import __version__ as __version__

__all__ = [
    "CholeskyBatch",
    "CholeskyFactor",
    "NotPositiveDefiniteError",
    "PatternMismatchError",
    "SymbolicFactor",
    "analyze",
    "approx_hessian",
    "approx_jacobian",
    "cholesky",
    "coloring",
    "derivatives",
    "logdet",
    "partial_inverse",
    "solve",
    "solve_triangular",
]
