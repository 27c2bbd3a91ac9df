"""Sparse Cholesky factorization with selected inverse, in the manner of scipy.sparse.linalg."""

from . import coloring, derivatives, models
from ._core.ordering.choose import Ordering
from ._exceptions import (
    NotPositiveDefiniteError,
    PatternMismatchError,
    PivotError,
    SparsityWarning,
)
from ._scipy.cholesky_batch import CholeskyBatch
from ._scipy.cholesky_factor import CholeskyFactor
from ._scipy.conditioned import Conditioned
from ._scipy.config import show_config
from ._scipy.elimination import column_counts, elimination_tree, postorder
from ._scipy.functions import cholesky, ldl, logdet, partial_inverse, solve
from ._scipy.gram import Gram, gram
from ._scipy.ldl_batch import LDLBatch
from ._scipy.ldl_factor import LDLFactor
from ._scipy.low_rank_factor import LowRankFactor
from ._scipy.null_space import NullSpace
from ._scipy.pencil import LogdetPencil, logdet_pencil
from ._scipy.pencil_pair import LogdetPencilPair, logdet_pencil_pair
from ._scipy.semidefinite_batch import SemidefiniteBatch
from ._scipy.semidefinite_factor import SemidefiniteFactor
from ._scipy.symbolic_factor import Memory, SymbolicFactor, analyze
from ._scipy.triangle import solve_triangular
from ._version import __version__ as __version__
from .coloring._differences import approx_hessian, approx_jacobian

__all__ = [
    "CholeskyBatch",
    "CholeskyFactor",
    "Conditioned",
    "Gram",
    "LDLBatch",
    "LDLFactor",
    "LogdetPencil",
    "LogdetPencilPair",
    "LowRankFactor",
    "Memory",
    "NotPositiveDefiniteError",
    "NullSpace",
    "Ordering",
    "PatternMismatchError",
    "PivotError",
    "SemidefiniteBatch",
    "SemidefiniteFactor",
    "SparsityWarning",
    "SymbolicFactor",
    "analyze",
    "approx_hessian",
    "approx_jacobian",
    "cholesky",
    "coloring",
    "column_counts",
    "derivatives",
    "elimination_tree",
    "gram",
    "ldl",
    "logdet",
    "logdet_pencil",
    "logdet_pencil_pair",
    "models",
    "partial_inverse",
    "postorder",
    "show_config",
    "solve",
    "solve_triangular",
]
