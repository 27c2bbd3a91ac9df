"""Packed values: the one order in which the values of a symmetric pattern travel everywhere."""

import numpy as np
from numpy.typing import DTypeLike
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix

from .._cached import cached_property
from .._core.numeric.one_factor import KnownPlaces
from .._core.numeric.packing import expand, first_nonfinite, pack
from .._core.symbolic.patterns import symmetric_pattern
from .._exceptions import PatternMismatchError
from .._typing import MatrixLike
from .input import Compressed, compressed, scalar_dtype, unmasked
from .symmetry import check_triangle


class PackedPattern:
    """Pack the values of matrices on a pattern: a sorted lower triangle with the whole diagonal.

    Attributes
    ----------
    shape : tuple of int
    indptr, indices : ndarray (int64 and int32)
    """

    indptr: np.ndarray
    indices: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return (self.indptr.shape[0] - 1,) * 2

    def values(
        self, A: MatrixLike, *, lower: bool = True, dtype: DTypeLike | None = None
    ) -> np.ndarray:
        """Pack the values of a matrix: its lower triangle by column, in the order of `indices`.

        Parameters
        ----------
        A : (n, n) sparse array or matrix of any format, or dense array
            Its pattern may be smaller than the analyzed pattern; a missing entry is zero.
        lower : bool, optional
            Which triangle is read. The upper one gives the conjugates of its entries.
        dtype : dtype, optional
            By default that of float32, float64, complex64 and complex128 which holds `A`.

        Returns
        -------
        values : (len(indices),) ndarray

        Raises
        ------
        PatternMismatchError
            If `A` has a nonzero outside the analyzed pattern.
        ValueError
            If the shape differs, an entry is NaN or infinite, the index arrays are corrupt, or the
            triangle that is read is empty off the diagonal and the other one is not.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> A = np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])
        >>> sc.analyze(A).values(A)
        array([4., 1., 5., 2., 6.])
        """
        return self._values(A, lower, dtype, True)

    def _values(self, A, lower, dtype, finite, remedy=None) -> np.ndarray:
        """Pack the values of a matrix; NaN and infinity are refused if `finite`."""
        dtype = None if dtype is None else scalar_dtype(np.dtype(dtype))
        arrays = compressed(A, dtype, check_shape=self._check_shape)
        packed = self._pack(arrays, lower, finite)
        self._check_triangle(arrays, lower, remedy)
        return packed

    def _check_triangle(self, arrays: Compressed, lower: bool, remedy: str | None) -> None:
        """Refuse a matrix that is given by the triangle that is not read."""
        check_triangle(arrays, lower, remedy=remedy)

    def _check_shape(self, shape) -> None:
        """Raise ValueError unless a matrix has the shape of the pattern."""
        if shape != self.shape:
            raise ValueError(f"the matrix has shape {shape}, the analysis {self.shape}")

    def _pack(self, arrays: Compressed, lower: bool, finite: bool) -> np.ndarray:
        """Pack the values of a matrix that has been read; NaN is refused if `finite`."""
        packed = np.zeros(self.indices.shape[0], dtype=arrays.data.dtype)
        row, column = pack(
            self.indptr,
            self.indices,
            arrays.starts,
            arrays.indices,
            arrays.data,
            (arrays.format == "csc") == lower,
            not lower,
            packed,
        )
        if row >= 0:
            if not lower:
                row, column = column, row
            raise PatternMismatchError(
                f"entry ({row}, {column}) of the matrix is outside the analyzed pattern:"
                " analyze a pattern that has it",
                int(row),
                int(column),
            )
        if finite:
            self._check_finite(packed, lower)
        return packed

    def _packed(self, A, lower, dtype=None, finite=True, remedy=None) -> np.ndarray:
        """Return the packed values of a matrix or of packed values, always in a fresh array."""
        if isinstance(A, (list, tuple)):
            A = unmasked(A, "the matrix or its packed values")
        if not (isinstance(A, np.ndarray) and A.ndim == 1):
            return self._values(A, lower, dtype, finite, remedy)
        values = unmasked(A, "the array of packed values")
        if values.shape != self.indices.shape:
            raise ValueError(
                f"packed values have shape {values.shape}: the pattern has"
                f" {self.indices.shape[0]} entries in its lower triangle"
            )
        kind = scalar_dtype(values.dtype)
        if dtype is not None:
            kind = scalar_dtype(dtype)
        if values.dtype == kind:
            packed = values.copy()
        else:
            with np.errstate(over="ignore"):  # what overflows is refused below
                packed = values.astype(kind, casting="same_kind")
        if finite:
            self._check_finite(packed, True)
        return packed

    def _check_finite(self, packed, lower) -> None:
        """Raise ValueError naming the first packed value that is NaN or infinite."""
        p = first_nonfinite(packed)
        if p >= 0:
            row = int(self.indices[p])
            column = int(np.searchsorted(self.indptr, p, side="right")) - 1
            if not lower:
                row, column = column, row
            raise ValueError(
                f"the matrix must not hold infinities or NaNs: entry ({row}, {column}) is"
                f" {packed[p]}"
            )

    @cached_property
    def _both_triangles(self):
        """Pattern of A, and the position of each of its entries in the packed values."""
        return symmetric_pattern(self.indptr, self.indices)

    def _symmetric(self, packed: np.ndarray) -> csc_array:
        """Return the Hermitian matrix with the given lower triangle."""
        starts, members, sources = self._both_triangles
        data = np.empty(sources.shape[0], dtype=packed.dtype)
        expand(packed, sources, data)
        return sorted_csc(data, members, starts, self.shape)


def known_places(pattern: PackedPattern, A: MatrixLike, lower: bool) -> KnownPlaces | None:
    """Return where the packed values of a CSC or CSR matrix, which has been packed, lie in it.

    None for other formats, and where entries are repeated or outside the pattern.
    """
    if not isinstance(A, (csc_array, csr_array, csc_matrix, csr_matrix)) or A.ndim != 2:
        return None
    arrays = compressed(A)
    starts, count = arrays.starts, arrays.indices.shape[0]
    by_column = (arrays.format == "csc") == lower
    major = np.repeat(np.arange(starts.shape[0] - 1), np.diff(starts))
    read = int(((arrays.indices >= major) if by_column else (arrays.indices <= major)).sum())
    numbers, found = np.arange(1.0, count + 1), np.zeros(pattern.indices.shape[0])
    matrix = starts, arrays.indices, numbers
    row, _ = pack(pattern.indptr, pattern.indices, *matrix, by_column, not lower, found)
    if row >= 0 or np.count_nonzero(found) != read or count >= 2**31 - 1:
        return None
    places = found.astype(np.int32) - 1
    conjugated = not lower and A.dtype.kind == "c"
    return KnownPlaces(A, lower, places, pattern.indptr, conjugated, read == count)


def sorted_csc(data, indices, indptr, shape) -> csc_array:
    """Return a csc_array of sorted arrays, with SciPy's index type; nothing is shared."""
    if indptr[-1] < 2**31:
        indptr = indptr.astype(np.int32)
    else:
        indices = indices.astype(np.int64)
    matrix = csc_array((data, indices.copy(), indptr), shape=shape)
    matrix.has_canonical_format = True
    return matrix
