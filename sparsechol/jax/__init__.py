"""Factorize sparse matrices in JAX: jit, vmap, and derivatives of every order, in both modes.

The pattern of a matrix is analyzed once, outside of any transformation, and static from there on.
Its values are an ordinary array.
"""

try:
    import jax  # noqa: F401
except ImportError as error:
    raise ImportError("sparsechol.jax needs JAX: pip install 'sparsechol[jax]'") from error

from .._exceptions import SparsityWarning
from ._check import check_pattern
from ._conditioned import Conditioned
from ._detect import hessian_pattern, jacobian_pattern, register_sparsity_rule
from ._factor import Factor, cholesky
from ._functions import diag_inverse, logdet, partial_inverse, slogdet, solve
from ._gaussian import gmrf_logpdf, gmrf_sample, marginal_variances
from ._gram import Gram, gram
from ._laplace import Laplace, laplace
from ._ldl import LDLFactor, ldl
from ._least_squares import LeastSquares, least_squares
from ._low_rank import LowRankFactor, LowRankMatrix
from ._matrix import SymmetricMatrix
from ._newton import Minimum, newton
from ._pencil import LogdetPencil, LogdetPencilPair, logdet_pencil, logdet_pencil_pair
from ._semidefinite import SemidefiniteFactor
from ._sparse import analyze, from_sparse, to_bcoo
from ._sparse_derivatives import SparseJacobian, sparse_jacobian
from ._sparse_hessians import SparseHessian, sparse_hessian
from ._triangle import TriangularMatrix, TriangularPattern, analyze_triangle, solve_triangular
from ._uncertainty import Estimate, Uncertainty

__all__ = [
    "Conditioned",
    "Estimate",
    "Factor",
    "Gram",
    "LDLFactor",
    "Laplace",
    "LeastSquares",
    "LogdetPencil",
    "LogdetPencilPair",
    "LowRankFactor",
    "LowRankMatrix",
    "Minimum",
    "SemidefiniteFactor",
    "SparseHessian",
    "SparseJacobian",
    "SparsityWarning",
    "SymmetricMatrix",
    "TriangularMatrix",
    "TriangularPattern",
    "Uncertainty",
    "analyze",
    "analyze_triangle",
    "check_pattern",
    "cholesky",
    "diag_inverse",
    "from_sparse",
    "gmrf_logpdf",
    "gmrf_sample",
    "gram",
    "hessian_pattern",
    "jacobian_pattern",
    "laplace",
    "ldl",
    "least_squares",
    "logdet",
    "logdet_pencil",
    "logdet_pencil_pair",
    "marginal_variances",
    "newton",
    "partial_inverse",
    "register_sparsity_rule",
    "slogdet",
    "solve",
    "solve_triangular",
    "sparse_hessian",
    "sparse_jacobian",
    "to_bcoo",
]
