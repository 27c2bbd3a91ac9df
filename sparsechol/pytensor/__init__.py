"""Sparse Cholesky factorisation in PyTensor: log-determinants, solves and draws inside PyMC models.

The pattern of a matrix is analysed once, when the graph is built; its values are an ordinary
vector. Derivatives of every order are analytic.
"""

try:
    import pytensor  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sparsechol.pytensor needs PyTensor: pip install 'sparsechol[pytensor]'"
    ) from error

from . import _hooks
from ._functions import (
    gmrf_logp,
    logdet,
    marginal_variances,
    partial_inverse,
    solve,
    solve_triangular,
)
from ._matrix import SPDMatrix, combine, from_values
from ._sparse import from_sparse

__all__ = [
    "SPDMatrix",
    "combine",
    "from_sparse",
    "from_values",
    "gmrf_logp",
    "logdet",
    "marginal_variances",
    "partial_inverse",
    "solve",
    "solve_triangular",
]

_hooks.register()
