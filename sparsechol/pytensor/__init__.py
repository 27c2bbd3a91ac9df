"""Sparse Cholesky factorization in PyTensor: log-determinants, solves and draws inside PyMC models.

The pattern of a matrix is analyzed once, when the graph is built; its values are an ordinary
vector. Derivatives of every order are analytic. The package also builds sparse Jacobians and
Hessians of other graphs.
"""

try:
    import pytensor  # noqa: F401
except ImportError as error:
    raise ImportError(
        "sparsechol.pytensor needs PyTensor: pip install 'sparsechol[pytensor]'"
    ) from error

from .._exceptions import SparsityWarning
from . import _batches, _loops, _programs, _rewrites, _vectors
from ._by_templates import by_templates
from ._check import check_pattern
from ._conditioned import Conditioned
from ._detect import hessian_pattern, jacobian_pattern, positions, register_sparsity_rule
from ._functions import diag_inverse, logdet, partial_inverse, slogdet, solve
from ._gaussian import gmrf_logp, marginal_variances
from ._gram import Gram, gram
from ._laplace import Laplace, laplace
from ._ldl import LDLFactor, ldl
from ._low_rank import LowRankFactor
from ._matrix import SymmetricMatrix, combine
from ._null_space import SemidefiniteFactor, cholesky
from ._pencil import LogdetPencil, LogdetPencilPair, logdet_pencil, logdet_pencil_pair
from ._sparse import from_sparse
from ._sparse_derivatives import sparse_hessian, sparse_jacobian
from ._superlu import superlu_solve
from ._triangle import solve_triangular
from ._uncertainty import Estimate, Uncertainty

__all__ = [
    "Conditioned",
    "Estimate",
    "Gram",
    "LDLFactor",
    "Laplace",
    "LogdetPencil",
    "LogdetPencilPair",
    "LowRankFactor",
    "SemidefiniteFactor",
    "SparsityWarning",
    "SymmetricMatrix",
    "Uncertainty",
    "by_templates",
    "check_pattern",
    "cholesky",
    "combine",
    "diag_inverse",
    "from_sparse",
    "gmrf_logp",
    "gram",
    "hessian_pattern",
    "jacobian_pattern",
    "laplace",
    "ldl",
    "logdet",
    "logdet_pencil",
    "logdet_pencil_pair",
    "marginal_variances",
    "partial_inverse",
    "positions",
    "register_sparsity_rule",
    "slogdet",
    "solve",
    "solve_triangular",
    "sparse_hessian",
    "sparse_jacobian",
    "superlu_solve",
]

_rewrites.register()
_batches.register()
_loops.register()
_programs.register()
_vectors.register()
