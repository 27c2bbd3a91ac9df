"""Triangular systems with any plain sparse triangle."""

from typing import NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csc_array, issparse

from .._core.numeric import triangle
from .._typing import MatrixLike, SparseLike, Trans
from .input import (
    Compressed,
    check_finite_triangle,
    check_rhs_shape,
    check_square,
    compressed,
    converted,
    dense_rhs,
    scalar_dtype,
    sparse_or_dense,
    sparse_rhs,
)
from .symmetry import check_triangle

_TRANS = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}


class _Sweep(NamedTuple):
    """Describe op(A) x = b for the kernels: a triangle, its diagonal, an access, a direction."""

    triangle: Compressed
    diagonal: np.ndarray
    by_columns: bool
    forward: bool
    conjugate: bool

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        A = self.triangle
        return A.indptr, A.indices, A.data, self.diagonal


@overload
def solve_triangular(
    A: MatrixLike,
    b: SparseLike,
    *,
    lower: bool = True,
    trans: Trans = 0,
    unit_diagonal: bool = False,
) -> csc_array | coo_array: ...
@overload
def solve_triangular(
    A: MatrixLike,
    b: ArrayLike,
    *,
    lower: bool = True,
    trans: Trans = 0,
    unit_diagonal: bool = False,
) -> np.ndarray: ...
def solve_triangular(
    A: MatrixLike,
    b: MatrixLike,
    *,
    lower: bool = True,
    trans: Trans = 0,
    unit_diagonal: bool = False,
) -> np.ndarray | csc_array | coo_array:
    """
    Solve ``A x = b``, ``A.T x = b`` or ``A.conj().T x = b`` with a sparse triangular matrix A.

    Parameters
    ----------
    A : (n, n) sparse array or matrix of any format, or dense array
        Only the triangle named by `lower` is read. Indices may be unsorted; repeated entries
        are summed.
    b : (n,) or (n, k) array_like, or sparse array or matrix
        Right-hand side, or one a column.
    lower : bool, optional
        Whether the triangle is the lower one (default) or the upper one.
    trans : {0, 1, 2, 'N', 'T', 'C'}, optional
        The system to solve:

        ========  ==================
        trans     system
        ========  ==================
        0 or 'N'  A x = b
        1 or 'T'  A.T x = b
        2 or 'C'  A.conj().T x = b
        ========  ==================
    unit_diagonal : bool, optional
        Whether the diagonal of A is taken as ones and not read.

    Returns
    -------
    x : ndarray of the shape of `b`, or sparse array where `b` is sparse
        A new array; `A` and `b` are not modified. For sparse `b` a ``csc_array``, or a
        ``coo_array`` where `b` is one-dimensional, that stores the structural pattern of the
        solution (entries that happen to be zero included) with sorted indices.

        Its dtype, in which the system is solved, is ``numpy.result_type`` of `A` and `b`
        brought to float32, float64, complex64 or complex128; integers give float64.

    Raises
    ------
    ValueError
        If shapes do not fit, if the triangle or `b` holds NaN or infinity, if the index arrays of
        a sparse argument are corrupt, or if the triangle that is read is empty off the diagonal
        and the other one is not.
    TypeError
        If an argument is not numeric.
    numpy.linalg.LinAlgError
        If a diagonal entry is zero or missing.

    See Also
    --------
    scipy.linalg.solve_triangular : Solve with a dense triangle.
    scipy.sparse.linalg.spsolve_triangular : Solve with a triangle in CSC or CSR.

    Notes
    -----
    CSC and CSR are used as they are, other formats are converted first. For a sparse `b`, each
    column costs time in proportion to the arithmetic it needs [1]_, besides one pass over A; the
    triangle is then wanted by columns (CSC with ``trans=0``, CSR otherwise) and converted where
    it is not. The GIL is released.

    References
    ----------
    .. [1] J. R. Gilbert and T. Peierls, "Sparse partial pivoting in time proportional to
       arithmetic operations", SIAM J. Sci. Stat. Comput. 9(5), 862-874, 1988.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse import csc_array
    >>> from sparsechol import solve_triangular
    >>> L = csc_array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 3.0, 4.0]])
    >>> solve_triangular(L, np.array([2.0, 3.0, 10.0]))
    array([1., 2., 1.])
    >>> solve_triangular(L, np.array([2.0, 4.0, 4.0]), trans="T")
    array([0.5, 1. , 1. ])

    A sparse right-hand side gives a sparse solution:

    >>> x = solve_triangular(L, csc_array([[0.0], [1.0], [0.0]]))
    >>> x.indices.tolist(), x.data
    ([1, 2], array([ 1.  , -0.75]))
    """
    T, right = sparse_or_dense(A, "A"), sparse_or_dense(b, "b")
    dtype = scalar_dtype(T.dtype, right.dtype)
    check_square(T.shape)
    check_rhs_shape(right.shape, T.shape[0])
    sweep = _sweep(compressed(T, dtype), lower, _trans(trans), unit_diagonal)
    solve = _solve_sparse if issparse(right) else _solve_dense
    return solve(sweep, right)


def _trans(trans):
    if trans not in _TRANS:
        raise ValueError(f"trans must be 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    return _TRANS[trans]


def _sweep(A, lower, trans, unit_diagonal):
    alone = f"scipy.sparse.{'tril' if lower else 'triu'}(A), if it is diagonal"
    check_triangle(A, lower, name="A", remedy=f"pass lower={not lower}, or {alone}")
    check_finite_triangle(A, lower, unit_diagonal)
    conjugate = trans == 2
    return _Sweep(
        triangle=A,
        diagonal=_diagonal(A, conjugate, unit_diagonal),
        by_columns=(A.format == "csc") == (trans == 0),
        forward=bool(lower) == (trans == 0),
        conjugate=conjugate,
    )


def _diagonal(A, conjugate, unit_diagonal):
    """Return the diagonal of op(A), which must have no zero."""
    n = A.shape[0]
    if unit_diagonal:
        return np.ones(n, dtype=A.data.dtype)
    diagonal = np.empty(n, dtype=A.data.dtype)
    triangle.sum_diagonal(A.indptr, A.indices, A.data, diagonal)
    zeros = np.flatnonzero(diagonal == 0)
    if zeros.size:
        raise np.linalg.LinAlgError(
            f"A is singular: its diagonal entry in row {zeros[0]} is zero or missing"
        )
    return diagonal.conj() if conjugate else diagonal


def _solve_dense(sweep: _Sweep, b):
    x, shape = dense_rhs(b, len(sweep.diagonal), sweep.diagonal.dtype)
    triangle.solve_dense(*sweep.arrays, x, sweep.by_columns, sweep.forward, sweep.conjugate)
    return x.reshape(shape)


def _solve_sparse(sweep, b):
    n, dtype = len(sweep.diagonal), sweep.diagonal.dtype
    B = sparse_rhs(b, n, dtype)
    data, indices, indptr = _reached_columns(_by_columns(sweep), B)
    short = max(len(indices), *B.shape) <= np.iinfo(np.int32).max
    index_dtype = np.int32 if short else np.int64
    columns = data, indices.astype(index_dtype), indptr.astype(index_dtype)
    x = csc_array(columns, shape=B.shape)
    x.has_canonical_format = True
    if b.ndim == 2:
        return x
    return coo_array((x.data, (x.indices,)), shape=b.shape)


def _by_columns(sweep):
    """Return the same sweep over a triangle stored so that a slice is a column of op(A)."""
    if sweep.by_columns:
        return sweep
    other = "csr" if sweep.triangle.format == "csc" else "csc"
    return sweep._replace(triangle=converted(sweep.triangle, other), by_columns=True)


def _reached_columns(sweep: _Sweep, B):
    """Return data, indices, indptr of the solution, which grow as the reaches become known."""
    n, k = B.shape
    b_arrays = B.indptr.astype(np.int64), B.indices.astype(np.int64), B.data
    indptr = np.zeros(k + 1, dtype=np.int64)
    indices = np.empty(n + 2 * len(B.indices), dtype=np.int64)
    data = np.empty(len(indices), dtype=B.data.dtype)
    found, mark, x = np.empty(n, np.int64), np.zeros(n, np.int8), np.zeros(n, data.dtype)

    done = 0
    while True:
        done = triangle.solve_sparse(
            *sweep.arrays,
            *b_arrays,
            indptr,
            indices,
            data,
            found,
            mark,
            x,
            done,
            sweep.forward,
            sweep.conjugate,
        )
        nnz = indptr[done]
        size = nnz if done == k else max(2 * len(indices), nnz + n)
        indices.resize(size, refcheck=False)
        data.resize(size, refcheck=False)
        if done == k:
            return data, indices, indptr
