"""The pattern of a plain sparse triangle: what the frameworks keep static."""

import hashlib
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy.sparse import csc_array

from .._cached import cached_property
from .._core.numeric.handle import PatternHandle, handle_of
from .._exceptions import PatternMismatchError
from .._typing import MatrixLike
from .input import as_scipy, canonical, check_order, compressed
from .pickling import reduced
from .symmetry import check_triangle

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class TriangularPattern:
    """Pattern of a sparse triangle. Immutable, equal by content.

    Attributes
    ----------
    shape : tuple of int
    lower : bool
    indptr, indices : int64 ndarray
        The lower triangle by column, or the upper one by row, sorted, with the whole diagonal.
    """

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, lower: bool):
        self.indptr, self.indices, self.lower = indptr, indices, lower
        for array in (indptr, indices):
            array.setflags(write=False)

    @classmethod
    def of(cls, T: MatrixLike, lower: bool = True) -> "TriangularPattern":
        """Analyze a triangle.

        Parameters
        ----------
        T : (n, n) SciPy sparse array or dense array
            Only the places of its entries count.
        lower : bool, optional
            Which triangle is read.

        Returns
        -------
        TriangularPattern
        """
        row, column, _ = triangle_entries(T, lower, values=False)
        return cls.at(row, column, np.shape(cast("ArrayLike", T))[0], lower)

    @classmethod
    def at(cls, row: np.ndarray, column: np.ndarray, n: int, lower: bool) -> "TriangularPattern":
        """Make the pattern with entries at these places, of an upper triangle transposed.

        Parameters
        ----------
        row, column : ndarray of int
            Rows and columns of entries; of an upper triangle transposed.
        n : int
            Order of the matrix.
        lower : bool
            Which triangle it is.

        Returns
        -------
        TriangularPattern
        """
        keys = np.unique(np.concatenate([column * n + row, np.arange(n) * (n + 1)]))
        column, row = np.divmod(keys, max(n, 1))
        indptr = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(column, minlength=n), out=indptr[1:])
        return cls(indptr, row, bool(lower))

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return (self.indptr.shape[0] - 1,) * 2

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of the content. Equal patterns have equal digests."""
        content = hashlib.blake2b(b"sparsechol triangle 1", digest_size=16)
        content.update(bytes([self.lower]))
        for array in (self.indptr, self.indices):
            content.update(np.int64(array.shape[0]).tobytes())
            content.update(array.tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TriangularPattern):
            return NotImplemented
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self):
        return reduced(type(self), self.indptr, self.indices, self.lower)

    def __repr__(self) -> str:
        side = "lower" if self.lower else "upper"
        return f"<TriangularPattern of shape {self.shape}: {self.indices.shape[0]} {side} entries>"

    @cached_property
    def _handle(self) -> PatternHandle:
        return handle_of(self)

    def values(self, T: MatrixLike) -> np.ndarray:
        """Return the values of a SciPy or dense triangle in the order of `indices`.

        Parameters
        ----------
        T : (n, n) SciPy sparse array or dense array
            Only the triangle of this pattern is read.

        Returns
        -------
        (len(indices),) ndarray

        Raises
        ------
        ValueError
            If the shape differs, or this triangle is empty off the diagonal and the other is not.
        PatternMismatchError
            If an entry of this triangle is outside the pattern.
        """
        row, column, data = triangle_entries(T, self.lower)
        shape = np.shape(cast("ArrayLike", T))
        if shape != self.shape:
            raise ValueError(f"the matrix has shape {shape}, the pattern {self.shape}")
        values = np.zeros(self.indices.shape[0], dtype=data.dtype)
        values[self.places(row, column)] = data
        return values

    def places(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Find entries among the stored ones, of an upper triangle transposed.

        Parameters
        ----------
        row, column : ndarray of int
            Rows and columns of entries; of an upper triangle transposed.

        Returns
        -------
        ndarray of int
        """
        n = self.shape[0]
        keys = np.repeat(np.arange(n), np.diff(self.indptr)) * n + self.indices
        place = np.searchsorted(keys, column * n + row)
        stray = np.append(keys, -1)[place] != column * n + row
        if stray.any():
            i, j = int(row[stray][0]), int(column[stray][0])
            i, j = (i, j) if self.lower else (j, i)
            message = f"entry ({i}, {j}) of the matrix is outside the pattern"
            raise PatternMismatchError(message, i, j)
        return place


def triangle_entries(
    T: MatrixLike, lower: bool, values: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, columns and values of the entries of a triangle, of an upper one transposed."""
    arrays = compressed(T, check_shape=check_order)
    check_triangle(arrays, lower, values=values)
    entries = canonical(csc_array(as_scipy(arrays))).tocoo()
    row, column = (c.astype(np.int64) for c in entries.coords)
    if not lower:
        row, column = column, row
    inside = row >= column
    return row[inside], column[inside], entries.data[inside]
