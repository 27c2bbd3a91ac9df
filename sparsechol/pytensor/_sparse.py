"""From SciPy matrices and PyTensor's sparse variables to SymmetricMatrix."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import graph_inputs
from pytensor.raise_op import CheckAndRaise
from pytensor.sparse.sharedvar import SparseTensorSharedVariable
from scipy.sparse import csc_array, csr_array, issparse, sparray, spmatrix

from .._exceptions import PatternMismatchError
from .._scipy.foreign_entries import require_both
from .._scipy.input import as_scipy, check_order, compressed
from .._scipy.symbolic_factor import SymbolicFactor
from .._scipy.symmetry import require_symmetric
from .._typing import OrderingLike
from . import _ops as ops
from ._matrix import Entries, MatrixLike, SymmetricMatrix, combine, constant

UNKNOWN = (
    "the places of the entries of this sparse variable are not known before it is computed: pass"
    " sparsity=, a SciPy matrix with the same entries in the same order, or build the matrix of"
    " values at known places"
)
CHANGED = "sparsechol: the indices of a sparse matrix are not those of the pattern analyzed for it"
check_indices = CheckAndRaise(PatternMismatchError, CHANGED)

# PyTensor 3.1 gave these Ops other names.
_any = ps.csc_matrix()
SUM, MULTIPLE = (type(x.owner.op) for x in (_any + _any, 2.0 * _any))


def from_sparse(
    A: MatrixLike | ps.variable.SparseVariable,
    *,
    sparsity: sparray | spmatrix | None = None,
    pattern: SymbolicFactor | None = None,
    ordering: OrderingLike = "auto",
    check_symmetric: bool = True,
) -> SymmetricMatrix:
    """Make a SymmetricMatrix from a SciPy matrix or from a PyTensor sparse variable.

    Parameters
    ----------
    A : (n, n) sparse or dense array, or sparse variable
        The lower triangle of an array is read, and is constant. Both triangles of a variable are
        read, and each entry counts half, so that the matrix is ``(A + A^T) / 2``. A variable that
        has entries in one triangle only stands for the whole matrix. Sums, transposes and scalar
        multiples of variables are taken apart down to constants, shared variables, and ``CSC`` and
        ``CSR`` of constant indices.
    sparsity : SciPy sparse array or matrix, optional
        For a variable whose indices are not known when the graph is built: a matrix with the same
        entries, in the same order and format. Its values do not count.
    pattern : SymbolicFactor, optional
        An analyzed pattern that has all entries; by default the entries of `A` are analyzed.
    ordering : optional
        The ordering of the analysis, as for `sparsechol.analyze`.
    check_symmetric : bool, optional
        Where `A` is an array or a constant and holds both triangles, test that they agree but for
        rounding, and raise ValueError where they do not (default).

    Returns
    -------
    SymmetricMatrix

    Raises
    ------
    TypeError
        If the indices of a variable are not known and `sparsity` is not given, or `A` is a dense
        variable.
    ValueError
        If `A` is not square, not symmetric, or some entries are in one triangle only and others in
        both; if an array has entries above the diagonal and none below it.
    PatternMismatchError
        If an entry is not on the given `pattern`. When the graph runs: if the indices of a
        variable are not those of `sparsity`, or of the value that a shared variable had.

    Examples
    --------
    >>> import numpy as np, pytensor.sparse as ps, pytensor.tensor as pt
    >>> import scipy.sparse as sp, sparsechol.pytensor as scpt
    >>> A = sp.csc_array([[4.0, 1.0], [1.0, 5.0]])
    >>> data = pt.dvector("data")
    >>> Q = scpt.from_sparse(ps.CSC(data, A.indices, A.indptr, A.shape))
    >>> print(scpt.logdet(Q).eval({data: A.data}).round(6))
    2.944439
    """
    if isinstance(A, SymmetricMatrix):
        return A
    if not isinstance(A, Variable):
        return combine(
            [(1.0, A)], pattern=pattern, ordering=ordering, check_symmetric=check_symmetric
        )
    if check_symmetric and isinstance(A, Constant) and issparse(A.data):
        arrays = compressed(A.data, np.float64)
        require_symmetric(arrays, unchecked="(A + A^T) / 2 is taken")
    terms = terms_of(A, sparsity)
    parts = zip((term.coefficient for term in terms), entries_of(terms), strict=True)
    return combine(list(parts), pattern=pattern, ordering=ordering)


@dataclass
class Term:
    """A sparse variable with entries at known places, times a coefficient.

    Attributes
    ----------
    indptr, indices, shape, format
        Of a SciPy matrix with the same entries.
    data : ndarray or TensorVariable
    coefficient : float or TensorVariable
    is_transposed : bool
    """

    indptr: np.ndarray
    indices: np.ndarray
    shape: tuple[int, int]
    format: str
    data: Any
    coefficient: Any = 1.0
    is_transposed: bool = False

    def by_column(self):
        """Take the entries of a symmetric matrix: its transpose is as good."""
        return Entries.by_column(self.shape, self.indptr, self.indices, self.data)

    def places(self):
        """Return rows and columns of the entries."""
        major = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        minor = np.asarray(self.indices, np.int64)
        return (minor, major) if (self.format == "csc") != self.is_transposed else (major, minor)

    def times(self, factor):
        """Multiply by a scalar."""
        return replace(self, coefficient=self.coefficient * factor)

    def transposed(self):
        """Transpose the term."""
        return replace(self, is_transposed=not self.is_transposed)


def entries_of(terms):
    """Take the entries of a symmetric sum, of which each term may hold one triangle or both.

    A term of one triangle stands for both only where the sum holds one alone.
    """
    entries = [term.by_column() for term in terms]
    strict = [np.subtract(*term.places()) for term in terms]
    signs = [(bool((below > 0).any()), bool((below < 0).any())) for below in strict]
    if not all(map(any, zip(*signs, strict=True))):
        return entries
    for part, below, sign in zip(entries, strict, signs, strict=True):
        if not all(sign):
            part.data = constant(np.where(below, 0.5, 1.0).astype(part.data.type.dtype)) * part.data
    require_both(
        *map(np.concatenate, zip(*(t.places() for t in terms), strict=True)), terms[0].shape[0]
    )
    return entries


def terms_of(A, sparsity=None):
    """Write a sparse variable as a sum of terms."""
    ops.refuse_named(A)
    if not isinstance(A.type, ps.SparseTensorType):
        raise TypeError(
            f"a sparse matrix is needed, and the variable {A} is of type {A.type}: build one by"
            " combine or pytensor.sparse"
        )
    return _terms(A) if sparsity is None else [_guarded(A, sparsity)]


def _terms(A):
    op = None if A.owner is None else A.owner.op
    if isinstance(op, SUM):
        return [term for x in A.owner.inputs for term in _terms(x)]
    if isinstance(op, MULTIPLE) and all(A.owner.inputs[1].type.broadcastable):
        matrix, factor = A.owner.inputs
        return [term.times(factor.reshape(())) for term in _terms(matrix)]
    if isinstance(op, ps.Transpose):
        return [term.transposed() for term in _terms(A.owner.inputs[0])]
    if isinstance(op, ps.CSM) and _negated(A) is not None:
        return [term.times(-1.0) for term in _terms(_negated(A))]
    if isinstance(A, SparseTensorSharedVariable):
        return [_guarded(A, A.get_value(borrow=True))]
    example = _example(A)
    if example is None:
        raise TypeError(f"{A}: {UNKNOWN}")
    return [_term(example, example.data if isinstance(A, Constant) else _data(A))]


def _data(A):
    """Return the stored values of a sparse variable."""
    is_built = A.owner is not None and isinstance(A.owner.op, ps.CSM)
    return A.owner.inputs[0] if is_built else ps.csm_data(A)


def _negated(A):
    """Return B if A was made as -B, None otherwise."""
    data = A.owner.inputs[0]
    if data.owner is None or data.owner.op != pt.neg:
        return None
    whole = data.owner.inputs[0].owner
    is_property = whole is not None and isinstance(whole.op, ps.basic.CSMProperties)
    if is_property and all(x.owner is whole for x in A.owner.inputs[1:]):
        return whole.inputs[0]
    return None


def _example(A):
    """Return a SciPy matrix with the entries of a sparse variable; None if they are not known."""
    if isinstance(A, Constant):
        return A.data
    if A.owner is None or not isinstance(A.owner.op, ps.CSM):
        return None
    indices, indptr, shape = map(_known, A.owner.inputs[1:])
    if indices is None or indptr is None or shape is None:
        return None
    container = csc_array if A.type.format == "csc" else csr_array
    return container((np.ones(len(indices)), indices, indptr), shape=tuple(map(int, shape)))


def _known(x):
    """Compute a variable that depends on constants alone; return None for others."""
    if isinstance(x, Constant):
        return x.data
    if any(not isinstance(root, Constant) for root in graph_inputs([x])):
        return None
    return pytensor.function([], x, mode="FAST_COMPILE")()


def _term(example, data):
    """Make a term with the entries of a SciPy matrix and other values."""
    arrays = compressed(example, np.float64, check_shape=check_order)
    [data] = ops.as_floats(data)
    if data.type.shape[0] not in (None, len(arrays.indices)):
        raise ValueError(
            f"a sparse matrix with {len(arrays.indices)} indices has values of shape"
            f" {data.type.shape}"
        )
    return Term(arrays.indptr, arrays.indices, arrays.shape, example.format, data)


def _guarded(A, example):
    """Make a term of a sparse variable; that it has the entries of `example` is tested later."""
    if not issparse(example) or example.format != A.type.format:
        raise TypeError(
            f"sparsity must be a SciPy matrix of format {A.type.format!r}, as the variable {A} is"
        )
    example = as_scipy(compressed(example, np.float64, check_shape=check_order))
    data, indices, indptr, _ = ps.csm_properties(A)
    same = [_same(indices, example.indices), _same(indptr, example.indptr)]
    return _term(example, check_indices(data, *same))


def _same(x, wanted):
    """Compare an index vector with the one that is wanted."""
    x = check_indices(x, pt.eq(x.shape[0], wanted.shape[0]))
    return pt.all(pt.eq(x, constant(wanted.astype(np.int32))))
