"""Read what a user hands over: check it and bring it to the few forms that the kernels take."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, cast

import numpy as np
from scipy.sparse import bsr_array, coo_array, csc_array, csr_array, issparse

from .._core.numeric.dense_input import nonzeros
from .._core.numeric.packing import first_nonfinite
from .._core.symbolic.patterns import check_compressed


@dataclass(slots=True)
class Compressed:
    """
    Hold the arrays of a checked CSC or CSR array: contiguous, native, safe to walk.

    `indptr` and `indices` are both int32 or both int64; `indices` may be unsorted and repeated.
    The arrays may be the caller's own: read them only.
    """

    format: str
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]
    _starts: np.ndarray | None = None

    @property
    def starts(self) -> np.ndarray:
        """The array `indptr` in int64, as the kernels take it."""
        if self._starts is None:
            self._starts = np.asarray(self.indptr, dtype=np.int64)
        return self._starts


_SUPPORTED = frozenset(map(np.dtype, "fdFD"))
_INT32 = np.dtype(np.int32)


def scalar_dtype(*dtypes):
    """
    Return the type in which operands of these types are computed.

    It is ``numpy.result_type`` of all of them, brought to float32, float64, complex64 or
    complex128: integers and booleans become float64, shorter or longer floats the nearest type.

    Raises
    ------
    TypeError
        If one of them is not numeric.
    """
    if len(dtypes) == 1 and dtypes[0] in _SUPPORTED:
        return dtypes[0]
    for dtype in map(np.dtype, dtypes):
        if dtype.kind not in "biufc":
            raise TypeError(f"arrays of dtype {dtype} are not supported: numbers are needed")
    dtype = np.result_type(*dtypes)
    if dtype.kind == "c":
        return np.dtype(np.complex64 if dtype.itemsize <= 8 else np.complex128)
    if dtype.kind == "f" and dtype.itemsize <= 4:
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def check_square(shape, name="A"):
    """Raise ValueError unless `shape` is that of a square matrix."""
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"{name} must be a square matrix, but its shape is {tuple(shape)}")


def check_order(shape):
    """Raise unless `shape` is that of a square matrix whose rows have 32-bit numbers."""
    check_square(shape)
    if shape[0] >= 2**31 - 1:
        raise OverflowError(f"matrices of order {shape[0]} are beyond 32-bit row numbers")


def check_rhs_shape(shape, n, name="b"):
    """Raise ValueError unless `shape` is (n,) or (n, k)."""
    if len(shape) not in (1, 2) or shape[0] != n:
        raise ValueError(
            f"the shapes of A, {(n, n)}, and {name}, {tuple(shape)}, do not fit: {name} is (n,) or"
            " (n, k)"
        )


def _refuse_not_finite(name, *place):
    place = ", ".join(map(str, place))
    raise ValueError(f"{name} must not hold infinities or NaNs: {name}[{place}] does")


def check_finite(values, name):
    """Raise ValueError naming the first NaN or infinite element of an array."""
    finite = np.isfinite(values)
    if not finite.all():
        _refuse_not_finite(name, *np.unravel_index(np.argmin(finite), values.shape))


def check_finite_triangle(A, lower, unit_diagonal=False, name="A"):
    """Raise ValueError naming a NaN or infinite entry in the triangle of a `Compressed`."""
    row, column = not_finite(A)
    depth = row - column if lower else column - row
    read = np.flatnonzero(depth >= (1 if unit_diagonal else 0))
    if read.size:
        _refuse_not_finite(name, row[read[0]], column[read[0]])


def not_finite(A):
    """Return rows and columns of the NaN and infinite entries of a `Compressed`."""
    entries = np.flatnonzero(~np.isfinite(A.data))
    major = np.searchsorted(A.indptr, entries, side="right") - 1
    minor = A.indices[entries]
    return (minor, major) if A.format == "csc" else (major, minor)


def dense_rhs(b, n, dtype, order: Literal["C", "F"] = "C", name="b"):
    """
    Copy a dense right-hand side to a fresh (n, k) array, and return the shape of the solution.

    Parameters
    ----------
    b : array_like, (n,) or (n, k)
        Any layout and dtype; never modified.
    n : int
    dtype : dtype
        One of the four of `scalar_dtype`.
    order : {'C', 'F'}
        'C' puts the right-hand sides of a row side by side, 'F' one after another.
    name : str, optional
        What the messages call the array.

    Returns
    -------
    columns : (n, k) ndarray
        A copy, of `dtype` and `order`.
    shape : tuple
        ``columns.reshape(shape)`` has the shape of `b`.

    Raises
    ------
    TypeError
        If `b` is not numeric.
    ValueError
        If the shape does not fit, or for NaN or infinity.
    """
    b = unmasked(b, name)
    scalar_dtype(b.dtype)
    check_rhs_shape(b.shape, n, name)
    if b.dtype == dtype:
        columns = b.copy(order=order)
    else:
        with np.errstate(over="ignore"):
            columns = b.astype(dtype, order=order)
    if first_nonfinite(columns if b.ndim == 1 else columns.ravel(order="K")) >= 0:
        check_finite(columns, name)
    return columns.reshape(n, 1) if b.ndim == 1 else columns, b.shape


def sparse_rhs(b, n, dtype, name="b"):
    """
    Read a sparse right-hand side, (n,) or (n, k), as a CSC `Compressed` of shape (n, k).

    The errors are those of `dense_rhs` and `compressed`.
    """
    check_rhs_shape(b.shape, n, name)
    columns = converted(compressed(b, dtype, name), "csc")
    if first_nonfinite(columns.data) >= 0:
        row, column = not_finite(columns)
        _refuse_not_finite(name, row[0], column[0])
    return columns


def row_numbers(index, n) -> np.ndarray:
    """Return the rows or columns of a matrix of order n; negative numbers count from the end."""
    index = unmasked(index, "the index")
    if index.dtype.kind not in "iu" and index.size:
        raise IndexError(f"rows and columns are integers, not {index.dtype}")
    outside = (index < -n) | (index >= n)
    if outside.any():
        raise IndexError(
            f"row or column {index[outside].flat[0]} is outside a matrix of shape {(n, n)}"
        )
    index = index.astype(np.int64)  # shorter types may not hold n
    return np.where(index < 0, index + n, index).astype(np.int32)


def entry_numbers(rows, columns, n) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and columns of entries, broadcast against each other, as `row_numbers` does."""
    rows, columns = row_numbers(rows, n), row_numbers(columns, n)
    try:
        rows, columns = np.broadcast_arrays(rows, columns)
    except ValueError:
        raise ValueError(
            f"rows, {rows.shape}, and columns, {columns.shape}, do not fit: pass arrays of one"
            " shape, or a number"
        ) from None
    return rows, columns


def draws_shape(size: int | tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of draws, as NumPy's generators read `size`."""
    shape = np.atleast_1d(() if size is None else size)
    if shape.ndim != 1 or (shape.size and shape.dtype.kind not in "iu"):
        raise TypeError(f"size is an integer or a tuple of integers, not {size!r}")
    return tuple(shape.tolist())


def unmasked(array, name):
    """Return an array_like as an ndarray; masked elements are refused: their mask would be lost."""
    if type(array) is np.ndarray:
        return aligned(array)
    if np.ma.is_masked(array):
        raise ValueError(f"{name} has masked elements: they are not supported")
    try:
        return aligned(np.asarray(array))
    except ValueError:
        raise ValueError(f"{name} is no array: its parts have different lengths") from None


def numbers(array: Any, name: str) -> np.ndarray:
    """Return an array_like as an ndarray; texts, dates and objects are refused."""
    array = unmasked(array, name)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} holds {array.dtype}, not numbers")
    return array


def real_numbers(array: Any, name: str) -> np.ndarray:
    """Return an array_like of real numbers in float64."""
    array = numbers(array, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} holds {array.dtype}: it must be real")
    return array.astype(np.float64)


def aligned(array: np.ndarray) -> np.ndarray:
    """Return an array whose numbers lie where kernels may read them: a copy at odd addresses."""
    return array if array.flags.aligned else array.copy()


def sparse_or_dense(x: Any, name: str) -> Any:
    """Return a sparse array as it is, and anything else as an ndarray."""
    if not issparse(x):
        return unmasked(x, name)
    _require_data(x, name)
    return x


def dense_of(x: Any, name: str) -> np.ndarray:
    """Return an array, sparse or not, as an ndarray, checked before SciPy's own code touches it."""
    if not issparse(x):
        return unmasked(x, name)
    return as_scipy(compressed(x, name=name)).toarray().reshape(cast("Any", x).shape)


def compressed(A: Any, dtype=None, name="A", check_shape: Callable[..., None] | None = None):
    """
    Read a matrix in compressed form, checked before SciPy's own code touches it.

    CSC and CSR are taken as they are, without a copy where types allow; LIL and BSR become CSR,
    all others CSC.

    Parameters
    ----------
    A : sparse array or matrix of any format, or dense 2-D array
        A one-dimensional sparse array is taken as a single column. Never modified.
    dtype : dtype, optional
        Of the values, one of the four of `scalar_dtype`; by default that of ``A.dtype``.
    name : str, optional
        What the messages call the array.
    check_shape : callable, optional
        Refuses shapes; called with ``A.shape`` before anything of that size is allocated.

    Returns
    -------
    Compressed

    Raises
    ------
    ValueError
        Naming the first place where the arrays contradict each other.
    """
    if not issparse(A):
        A = unmasked(A, name)
        if A.ndim != 2:
            raise ValueError(f"{name} must be a matrix, but its shape is {A.shape}")
    else:
        _require_data(A, name)
    A = cast("Any", A)
    if check_shape is not None:
        check_shape(A.shape)
    dtype = scalar_dtype(A.dtype) if dtype is None else np.dtype(dtype)
    if not issparse(A):
        return _read_dense(A, dtype)
    return _READERS[cast("Any", A).format](A, dtype, name)


def _require_data(A: Any, name: str) -> None:
    if A.format != "dok" and not isinstance(A.data, np.ndarray):
        raise ValueError(f"{name}.data must be an array, not {type(A.data).__name__}")


def converted(A, format):
    """Convert a `Compressed` to 'csc' or 'csr', which sorts it and sums repetitions."""
    if A.format == format:
        return A
    other = as_scipy(A).asformat(format)
    other.sum_duplicates()  # which the conversion leaves
    return _from_scipy(other)


def as_scipy(A):
    """Return a `Compressed` as a csc_array or csr_array, without a copy where SciPy makes none.

    Its arrays may be the caller's: see `canonical` for what sorts them.
    """
    container = csc_array if A.format == "csc" else csr_array
    return container((A.data, A.indices, A.indptr), shape=A.shape)


def canonical(A: Any) -> Any:
    """Return a CSC or CSR matrix sorted and without repetitions; a copy where A is not.

    `abs`, `max` and others of SciPy sort the arrays of a matrix in place, which may be the
    caller's, and with other values.
    """
    if not A.has_canonical_format:
        A = A.copy()
        A.sum_duplicates()
    return A


def _from_scipy(A):
    return Compressed(A.format, A.indptr, A.indices, A.data, A.shape)


def _cast(values, dtype):
    """Return values as a C-contiguous array of `dtype`; overflow is found later."""
    if type(values) is np.ndarray and values.dtype == dtype and values.flags.c_contiguous:
        return aligned(values)
    with np.errstate(over="ignore"):
        values = np.asarray(values).astype(dtype, order="C", casting="same_kind", copy=False)
    return aligned(values)


def _index_arrays(name, **arrays):
    """Check named index arrays for kind and dimension, and bring them to one index type."""
    for attribute, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"{name}.{attribute} must be a 1-D array of integers")
    int32 = all(array.dtype == _INT32 for array in arrays.values())
    dtype = _INT32 if int32 else np.dtype(np.int64)
    return [aligned(np.ascontiguousarray(array, dtype=dtype)) for array in arrays.values()]


def _check_length(array, length, name):
    if len(array) != length:
        raise ValueError(f"{name} has length {len(array)}: it must be {length}")


def _read_dense(A, dtype):
    """Read the nonzeros of a dense array along its memory: CSR, or CSC in Fortran's order."""
    by_columns = A.flags.f_contiguous and not A.flags.c_contiguous
    lines = A.T if by_columns else A
    if A.dtype not in _SUPPORTED:
        lines = _cast(lines, dtype)
    elif not A.flags.aligned or any(stride % A.itemsize for stride in A.strides):
        lines = lines.copy()
    starts, minors, values = nonzeros(lines)
    index = np.int32 if len(minors) < 2**31 else np.int64
    format = "csc" if by_columns else "csr"
    arrays = starts.astype(index), minors.astype(index, copy=False), _cast(values, dtype)
    return Compressed(format, *arrays, A.shape, starts)


def _read_compressed(A, dtype, name):
    """Read CSC and CSR; the single row of a one-dimensional CSR array becomes a column."""
    if A.ndim == 1:
        format, shape, n_major, n_minor = "csc", (A.shape[0], 1), 1, A.shape[0]
    else:
        format, shape = A.format, A.shape
        n_major, n_minor = shape if format == "csr" else shape[::-1]
    indptr, indices = _index_arrays(name, indptr=A.indptr, indices=A.indices)
    _check_length(indptr, n_major + 1, f"{name}.indptr")
    check_compressed(indptr, indices, n_minor, name)
    if A.data.ndim != 1:
        raise ValueError(f"{name}.data must be 1-D, not of shape {A.data.shape}")
    _check_length(A.data, len(indices), f"{name}.data")
    nnz = indptr[-1]
    return Compressed(format, indptr, indices[:nnz], _cast(A.data[:nnz], dtype), shape)


def _read_bsr(A, dtype, name):
    """Read BSR without ``A.check_format()``, which would replace and cut the caller's arrays."""
    if A.data.ndim != 3 or 0 in A.data.shape[1:]:
        raise ValueError(f"{name}.data must be 3-D with non-empty blocks, not {A.data.shape}")
    r, c = A.data.shape[1:]
    if A.shape[0] % r or A.shape[1] % c:
        raise ValueError(f"blocks {(r, c)} of {name} do not divide its shape {A.shape}")
    indptr, indices = _index_arrays(name, indptr=A.indptr, indices=A.indices)
    _check_length(indptr, A.shape[0] // r + 1, f"{name}.indptr")
    check_compressed(indptr, indices, A.shape[1] // c, name)
    _check_length(A.data, len(indices), f"{name}.data")
    nnz = indptr[-1]
    blocks = (_cast(A.data[:nnz], dtype), indices[:nnz], indptr)
    return _from_scipy(bsr_array(blocks, shape=A.shape, blocksize=(r, c)).tocsr())


def _read_coo(A, dtype, name):
    return _from_coordinates(*A.coords, A.data, A.shape, dtype, name)


def _from_coordinates(*args):
    *coords, data, shape, dtype, name = args
    if len(coords) == 1:
        coords, shape = [coords[0], np.zeros_like(coords[0])], (*shape, 1)
    row, column = _index_arrays(name, row=coords[0], col=coords[1])
    for attribute, index, bound in (("row", row, shape[0]), ("col", column, shape[1])):
        _check_length(index, len(data), f"{name}.{attribute}")
        outside = np.flatnonzero((index < 0) | (index >= bound))
        if outside.size:
            p = outside[0]
            raise ValueError(
                f"{name}.{attribute}[{p}] = {index[p]} is outside 0 <= index < {bound}"
            )
    return _from_scipy(coo_array((_cast(data, dtype), (row, column)), shape=shape).tocsc())


def _read_dok(A, dtype, name):
    return _read_coo(A.tocoo(), dtype, name)


def _read_dia(A, dtype, name):
    """
    Read DIA: column j of row m of `data` is the entry (j - offsets[m], j), if it lies inside.

    Zeros are dropped, as in SciPy: the format cannot tell them from padding.
    """
    (offsets,) = _index_arrays(name, offsets=A.offsets)
    if A.data.ndim != 2:
        raise ValueError(f"{name}.data must be 2-D, not of shape {A.data.shape}")
    _check_length(A.data, len(offsets), f"{name}.data")
    column = np.arange(A.data.shape[1])
    row = column - offsets[:, np.newaxis].astype(np.int64)
    inside = (row >= 0) & (row < A.shape[0]) & (column < A.shape[1]) & (A.data != 0)
    column = np.broadcast_to(column, row.shape)
    return _from_coordinates(row[inside], column[inside], A.data[inside], A.shape, dtype, name)


def _read_lil(A, dtype, name):
    _check_length(A.rows, A.shape[0], f"{name}.rows")
    _check_length(A.data, A.shape[0], f"{name}.data")
    for i, (columns, values) in enumerate(zip(A.rows, A.data, strict=True)):
        _check_length(values, len(columns), f"{name}.data[{i}]")
    indptr = np.zeros(A.shape[0] + 1, dtype=np.int64)
    np.cumsum([len(columns) for columns in A.rows], out=indptr[1:])
    indices = np.fromiter(chain.from_iterable(A.rows), np.int64, count=indptr[-1])
    data = np.fromiter(chain.from_iterable(A.data), A.dtype, count=indptr[-1])
    check_compressed(indptr, indices, A.shape[1], name)
    return Compressed("csr", indptr, indices, _cast(data, dtype), A.shape)


_READERS = {
    "csc": _read_compressed,
    "csr": _read_compressed,
    "bsr": _read_bsr,
    "coo": _read_coo,
    "dia": _read_dia,
    "dok": _read_dok,
    "lil": _read_lil,
}
