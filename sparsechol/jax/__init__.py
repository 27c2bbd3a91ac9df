"""Sparse Cholesky factorization in JAX: jit, vmap, and derivatives of every order, in both modes.

The pattern of a matrix is analyzed once, outside of any transformation, and static from there on;
its values are an ordinary array.
"""

try:
    import jax  # noqa: F401
except ImportError as error:
    raise ImportError("sparsechol.jax needs JAX: pip install 'sparsechol[jax]'") from error

from ._check import check_pattern
from ._detect import hessian_pattern, jacobian_pattern
from ._factor import Factor, cholesky
from ._functions import logdet, partial_inverse, solve
from ._gaussian import gmrf_logpdf, gmrf_sample
from ._matrix import SymmetricMatrix, analyze, from_bcoo, from_bcsr, to_bcoo
from ._newton import Laplace, Minimum, laplace, newton
from ._sparse_derivatives import SparseHessian, SparseJacobian, sparse_hessian, sparse_jacobian
from ._triangle import TriangularMatrix, TriangularPattern, analyze_triangle, solve_triangular
from ._walk import SparsityWarning, register_sparsity_rule

__all__ = [
    "Factor",
    "Laplace",
    "Minimum",
    "SparseHessian",
    "SparseJacobian",
    "SparsityWarning",
    "SymmetricMatrix",
    "TriangularMatrix",
    "TriangularPattern",
    "analyze",
    "analyze_triangle",
    "check_pattern",
    "cholesky",
    "from_bcoo",
    "from_bcsr",
    "gmrf_logpdf",
    "gmrf_sample",
    "hessian_pattern",
    "jacobian_pattern",
    "laplace",
    "logdet",
    "newton",
    "partial_inverse",
    "register_sparsity_rule",
    "solve",
    "solve_triangular",
    "sparse_hessian",
    "sparse_jacobian",
    "to_bcoo",
]
