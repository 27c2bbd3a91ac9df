"""From SciPy matrices and PyTensor's sparse variables to SymmetricMatrix."""

from typing import Any

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import graph_inputs
from pytensor.raise_op import Assert
from pytensor.sparse.sharedvar import SparseTensorSharedVariable
from scipy.sparse import csc_array, csr_array, issparse

from .._scipy.input import as_scipy, check_square, compressed
from . import _ops as ops
from ._matrix import Entries, SymmetricMatrix, combine, constant

UNKNOWN = (
    "where the entries of this sparse variable lie is not known before it is computed: pass"
    " pattern=, a SciPy matrix with the same entries in the same order, or build the matrix by"
    " combine or from_values"
)
CHANGED = "sparsechol: the indices of a sparse matrix are not those of the pattern analyzed for it"

# PyTensor 3.1 gave these Ops other names.
_any = ps.csc_matrix()
SUM, MULTIPLE = (type(x.owner.op) for x in (_any + _any, 2.0 * _any))


def from_sparse(A: Any, pattern: Any = None, ordering: Any = "auto") -> SymmetricMatrix:
    """A matrix from a SciPy matrix or a PyTensor sparse variable.

    Parameters
    ----------
    A : (n, n) sparse or dense array, or sparse variable
        Of an array the lower triangle is read, and is constant. Of a variable both triangles, each
        entry of which counts half, so that the matrix is ``(A + A^T) / 2``, or only one, if it has
        entries in no other. Sums, transposes and scalar multiples of variables are taken apart, and
        so is what ``CSC`` or ``CSR`` builds of constant indices.
    pattern : SciPy matrix, optional
        Of a variable whose indices are not known: a matrix with the same entries, in the same
        order and format. When the variable has others, an AssertionError is raised.
    ordering : optional
        As for `sparsechol.analyze`.

    Returns
    -------
    SymmetricMatrix

    Raises
    ------
    TypeError
        If the indices of a variable are not known and `pattern` is not given, or `A` is a dense
        variable.
    ValueError
        If `A` is not square, or some entries are in one triangle only and others in both.

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
        return combine([(1.0, A)], pattern=pattern, ordering=ordering)
    if not isinstance(A.type, ps.SparseTensorType):
        raise TypeError(
            f"a sparse matrix is needed, not the variable {A} of type {A.type}: build it by"
            " combine, from_values or pytensor.sparse"
        )
    terms = _terms(A, 1.0) if pattern is None else [(1.0, _guarded(A, pattern))]
    return combine(terms, ordering=ordering)


def _terms(A, coefficient):
    """The linear combination that a sparse variable is, of entries at known places."""
    op = None if A.owner is None else A.owner.op
    if isinstance(op, SUM):
        return [term for x in A.owner.inputs for term in _terms(x, coefficient)]
    if isinstance(op, MULTIPLE) and all(A.owner.inputs[1].type.broadcastable):
        matrix, factor = A.owner.inputs
        return _terms(matrix, coefficient * factor.reshape(()))
    if isinstance(op, ps.Transpose):
        return _terms(A.owner.inputs[0], coefficient)
    if isinstance(op, ps.CSM) and _negated(A) is not None:
        return _terms(_negated(A), -coefficient)
    if isinstance(A, SparseTensorSharedVariable):
        return [(coefficient, _guarded(A, A.get_value(borrow=True)))]
    example = _example(A)
    if example is None:
        raise TypeError(f"{A}: {UNKNOWN}")
    data = example.data if isinstance(A, Constant) else _data(A)
    return [(coefficient, _entries(example, data))]


def _data(A):
    """Stored values of a sparse variable."""
    is_built = A.owner is not None and isinstance(A.owner.op, ps.CSM)
    return A.owner.inputs[0] if is_built else ps.csm_data(A)


def _negated(A):
    """B, if A was made as -B."""
    data = A.owner.inputs[0]
    if data.owner is None or data.owner.op != pt.neg:
        return None
    whole = data.owner.inputs[0].owner
    is_property = whole is not None and isinstance(whole.op, ps.basic.CSMProperties)
    if is_property and all(x.owner is whole for x in A.owner.inputs[1:]):
        return whole.inputs[0]
    return None


def _example(A):
    """A SciPy matrix with the entries of a sparse variable, if they are known; None if not."""
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
    """Value of a variable that depends on constants alone; None of others."""
    if isinstance(x, Constant):
        return x.data
    if any(not isinstance(root, Constant) for root in graph_inputs([x])):
        return None
    return pytensor.function([], x, mode="FAST_COMPILE")()


def _entries(example, data):
    """Entries at the places of a SciPy matrix."""
    arrays = compressed(example, np.float64)
    check_square(arrays.shape)
    [data] = ops.as_floats(data)
    if data.type.shape[0] not in (None, len(arrays.indices)):
        raise ValueError(
            f"a sparse matrix with {len(arrays.indices)} indices has values of shape"
            f" {data.type.shape}"
        )
    # The transpose of a symmetric matrix is as good.
    return Entries.by_column(arrays.shape, arrays.indptr, arrays.indices, data)


def _guarded(A, example):
    """Entries of a sparse variable that has those of a SciPy matrix; tested when it runs."""
    if not issparse(example) or example.format != A.type.format:
        raise TypeError(
            f"pattern must be a SciPy matrix of format {A.type.format!r}, as the variable {A} is"
        )
    example = as_scipy(compressed(example, np.float64))
    data, indices, indptr, _ = ps.csm_properties(A)
    same = [_same(indices, example.indices), _same(indptr, example.indptr)]
    return _entries(example, Assert(CHANGED)(data, *same))


def _same(x, wanted):
    """Whether an index vector is this one."""
    x = Assert(CHANGED)(x, pt.eq(x.shape[0], wanted.shape[0]))
    return pt.all(pt.eq(x, constant(wanted.astype(np.int32))))
