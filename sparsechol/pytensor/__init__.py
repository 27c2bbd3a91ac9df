"""Sparse Cholesky factorization in PyTensor: log-determinants, solves and draws inside PyMC models.

The pattern of a matrix is analyzed once, when the graph is built; its values are an ordinary
vector. Derivatives of every order are analytic. Sparse Jacobians and Hessians of other graphs.
"""

try:
    import pytensor  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sparsechol.pytensor needs PyTensor: pip install 'sparsechol[pytensor]'"
    ) from error

from . import _hooks
from ._detect import hessian_pattern, jacobian_pattern, register_sparsity_rule
from ._functions import (
    gmrf_logp,
    logdet,
    marginal_variances,
    partial_inverse,
    solve,
    solve_triangular,
)
from ._laplace import Laplace, laplace
from ._matrix import SymmetricMatrix, combine, from_values
from ._sparse import from_sparse
from ._sparse_derivatives import check_pattern, sparse_hessian, sparse_jacobian
from ._walk import SparsityWarning

__all__ = [
    "Laplace",
    "SparsityWarning",
    "SymmetricMatrix",
    "check_pattern",
    "combine",
    "from_sparse",
    "from_values",
    "gmrf_logp",
    "hessian_pattern",
    "jacobian_pattern",
    "laplace",
    "logdet",
    "marginal_variances",
    "partial_inverse",
    "register_sparsity_rule",
    "solve",
    "solve_triangular",
    "sparse_hessian",
    "sparse_jacobian",
]

_hooks.register()
