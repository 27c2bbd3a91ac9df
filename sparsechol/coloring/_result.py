"""The class Coloring: directions that determine a matrix, and the matrix from its products."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array

from .._cached import cached_property
from .._exceptions import PatternMismatchError
from .._scipy.input import numbers
from .._scipy.packed_values import PackedPattern
from .._scipy.pickling import reduced
from . import _decompression as decompression
from ._pattern import METHODS, STRUCTURES, coordinates, count

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

FORMATS = ("csc", "csr", "coo")


class Coloring:
    """Colors of the columns or rows of a sparsity pattern, made by `color`.

    Attributes
    ----------
    sparsity : (m, n) csc_array of int8
        Ones where the matrix may have entries. Do not change it.
    structure : {'column', 'row', 'symmetric', 'bidirectional'}
        What is colored.
    method : {'direct', 'substitution'}
        How entries are found from the products.
    colors : ndarray of int32, or a pair of them
        Colors of the columns, (n,), or of the rows, (m,) for structure 'row'. For structure
        'bidirectional' the colors of the columns and those of the rows. A column or row of color -1
        is in no product: for structure 'bidirectional', and for 'symmetric' with method 'direct'.
    num_colors : int
        Number of products; for structure 'bidirectional' of both kinds together.
    lower_bound : int
        No coloring of this structure has fewer colors.

    Notes
    -----
    Two colorings are equal if sparsity, structure, method and colors are equal. Colorings can be
    pickled.
    """

    def __init__(
        self,
        sparsity: csc_array,
        structure: str,
        method: str,
        colors: np.ndarray | tuple[np.ndarray, np.ndarray],
        lower_bound: int,
    ):
        self.sparsity = sparsity
        self.structure = structure
        self.method = method
        self.colors = colors
        self.lower_bound = int(lower_bound)

    def __repr__(self) -> str:
        m, n = self.sparsity.shape
        return (
            f"<Coloring of shape ({m}, {n}), {self.structure}, {self.method}:"
            f" {self.num_colors} colors, at least {self.lower_bound}>"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Coloring):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self):
        A = self.sparsity
        arrays = A.data, A.indices, A.indptr
        rest = self.structure, self.method, self.colors, self.lower_bound
        return reduced(coloring_of, arrays, A.shape, *rest)

    @cached_property
    def _key(self):
        A = self.sparsity
        arrays = (A.indptr.astype(np.int64), A.indices.astype(np.int64), *self._both)
        return (self.structure, self.method, A.shape, *(array.tobytes() for array in arrays))

    @property
    def _both(self) -> tuple[np.ndarray, ...]:
        """Colors of columns, or rows, or both, as a tuple."""
        both = self.colors if self.structure == "bidirectional" else (self.colors,)
        return cast("tuple[np.ndarray, ...]", both)

    @property
    def num_colors(self) -> int:
        """Number of products."""
        return sum(count(colors) for colors in self._both)

    @property
    def how(self) -> str:
        """How the matrix is computed, in words."""
        kinds = {
            "column": "products with columns",
            "row": "products with rows",
            "symmetric": "products with columns",
            "bidirectional": "products with columns and rows",
        }
        return f"{self.num_colors} {kinds[self.structure]}"

    def seed(self, dtype: DTypeLike = np.float64) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the directions to multiply with.

        Parameters
        ----------
        dtype : dtype, optional
            Type of the directions.

        Returns
        -------
        (n, num_colors) ndarray, or (m, num_colors) if the structure is 'row'
            One column for each color, with ones where the columns, or rows, of the matrix have this
            color. If the structure is 'bidirectional', one such array for the columns and one for
            the rows.

        Examples
        --------
        >>> import numpy as np
        >>> from sparsechol.coloring import color
        >>> color(np.eye(3)).seed()
        array([[1.],
               [1.],
               [1.]])
        """
        seeds = tuple(
            (colors[:, None] == np.arange(count(colors))).astype(dtype) for colors in self._both
        )
        return seeds if self.structure == "bidirectional" else seeds[0]

    # ---- decompression ----

    @property
    def compressed_shapes(self) -> tuple:
        """Shape of the products; a pair of shapes if the structure is 'bidirectional'."""
        m, n = self.sparsity.shape
        if self.structure == "row":
            return (self.num_colors, n)
        if self.structure == "bidirectional":
            return tuple(
                (m, k) if side == 0 else (k, n) for side, k in enumerate(map(count, self._both))
            )
        return (m, self.num_colors)

    @cached_property
    def _recovery(self) -> Any:
        A = self.sparsity
        if self.structure == "column":
            return decompression.by_columns(A, self.colors)
        if self.structure == "row":
            return decompression.by_rows(A, self.colors)
        direct = self.method == "direct"
        if self.structure == "symmetric":
            find = decompression.of_symmetric if direct else decompression.substituted_symmetric
            return find(A, self.colors)
        find = decompression.of_both if direct else decompression.substituted_both
        return find(A, *self.colors)

    def decompress(
        self, products: Any, *, format: Literal["csc", "csr", "coo"] | PackedPattern = "csc"
    ) -> csc_array | csr_array | coo_array | np.ndarray:
        """Compute the matrix from its products with the directions.

        Parameters
        ----------
        products : array_like
            ``J @ seed``, (m, num_colors), for structures 'column' and 'symmetric'; ``seed.T @ J``,
            (num_colors, n), for 'row'; the pair of ``J @ seed[0]`` and ``seed[1].T @ J`` for
            'bidirectional'. Real or complex.
        format : {'csc', 'csr', 'coo'} or SymbolicFactor, optional
            Format of the matrix.

        Returns
        -------
        (m, n) csc_array, csr_array or coo_array
            The matrix, with all entries of `sparsity`, zeros too. For a `SymbolicFactor`, the
            packed values of the matrix instead, an ndarray that ``factorize`` takes.

        Raises
        ------
        ValueError
            If the products have the wrong shape.
        PatternMismatchError
            If `sparsity` has an entry that the pattern of the `SymbolicFactor` does not have.

        Examples
        --------
        >>> import numpy as np
        >>> from sparsechol.coloring import color
        >>> H = np.array([[4.0, 1.0, 2.0], [1.0, 5.0, 0.0], [2.0, 0.0, 6.0]])
        >>> C = color(H, "symmetric")
        >>> C.num_colors
        2
        >>> C.decompress(H @ C.seed()).toarray()
        array([[4., 1., 2.],
               [1., 5., 0.],
               [2., 0., 6.]])
        """
        if not isinstance(format, PackedPattern) and format not in FORMATS:
            raise ValueError(f"format must be one of {FORMATS} or a SymbolicFactor, not {format!r}")
        values = self._recovery.values(self._flat(products))
        if isinstance(format, PackedPattern):
            return self._packed(values, format)
        A = self.sparsity
        out = csc_array((values, A.indices, A.indptr), shape=A.shape)
        return out.asformat(cast("Any", format))

    def _flat(self, products):
        """Return all products in one array."""
        both = self.structure == "bidirectional"
        if both and len(products) != 2:
            raise ValueError("structure 'bidirectional' needs a pair: two arrays of products")
        parts = [numbers(B, "the array of products") for B in (products if both else (products,))]
        shapes = self.compressed_shapes if both else (self.compressed_shapes,)
        for B, shape in zip(parts, shapes, strict=True):
            if B.shape != shape:
                raise ValueError(
                    f"products of shape {B.shape} for a matrix of shape {self.sparsity.shape} with"
                    f" {self.num_colors} colors ({self.structure}): {shape} is needed"
                )
        dtype = np.result_type(*parts)
        if dtype not in (np.float32, np.float64, np.complex64, np.complex128):
            dtype = np.result_type(dtype, np.float64)
        return np.concatenate([np.ravel(B).astype(dtype, copy=False) for B in parts])

    def _packed(self, values, symbolic):
        """Return the packed values on an analyzed pattern."""
        known = self._places  # of the last analysis, which other threads may replace
        if known is None or known[0] is not symbolic:
            known = self._places = symbolic, *self._places_in(symbolic)
        _, lower, place = known
        out = np.zeros(len(symbolic.indices), values.dtype)
        out[place] = values[lower]
        return out

    _places = None

    def _places_in(self, symbolic):
        """Return the entries of the lower triangle, and their positions in the packed values."""
        return places_in(self.sparsity, symbolic)

    # ---- validation ----

    def check(self) -> None:
        """Raise ValueError unless the products determine every entry.

        Notes
        -----
        The test follows the definitions, and not how the colors were found. For method 'direct'
        each entry must be alone in a product. For 'substitution' the vertices of any two colors
        must form no cycle.
        """
        A = self.sparsity
        if self.structure not in STRUCTURES or self.method not in METHODS:
            raise ValueError(f"no coloring is {self.structure!r} and {self.method!r}")
        if self.structure == "symmetric" and abs(A - A.T).sum():
            raise ValueError("the pattern for structure 'symmetric' is not symmetric")
        i, j = coordinates(A)
        for colors, size in zip(self._both, self._sizes, strict=True):
            if colors.shape != (size,) or colors.dtype.kind != "i":
                raise ValueError(f"there must be a color for each of {size} vertices")
            if size and not -1 <= colors.min() <= colors.max() < size:
                raise ValueError(f"colors are numbered from 0, and are at most {size}")
        may_lack = self.structure == "bidirectional" or self._is_star
        if not may_lack and A.nnz and self._both[0].min(initial=0) < 0:
            raise ValueError("a column or row has no color")
        missing = self._undetermined(i, j)
        if missing.any():
            q = np.argmax(missing)
            raise ValueError(f"the entry ({i[q]}, {j[q]}) is not determined by the products")

    @property
    def _is_star(self):
        return self.structure == "symmetric" and self.method == "direct"

    @property
    def _sizes(self):
        m, n = self.sparsity.shape
        return {"row": (m,), "bidirectional": (n, m)}.get(self.structure, (n,))

    def _undetermined(self, i, j):
        """Return whether each entry is not determined by the products."""
        if self.method == "substitution":
            return self._recovery.missing
        alone = is_pair_alone
        if self.structure == "row":
            return ~alone(self.colors[i], j)
        if self.structure == "column":
            return ~alone(i, self.colors[j])
        if self.structure == "symmetric":
            here, there = self.colors[j], self.colors[i]
            return ~((here >= 0) & alone(i, here) | (there >= 0) & alone(j, there))
        columns, rows = self.colors
        by_column = (columns[j] >= 0) & alone(i, columns[j])
        return ~(by_column | ((rows[i] >= 0) & alone(rows[i], j)))

    # ---- files ----

    def save(self, file: str | os.PathLike | IO[bytes]) -> None:
        """Write the coloring to a file in NumPy's format 'npz'; see `Coloring.load`.

        Parameters
        ----------
        file : str, path or file object
            Where to write; without a suffix '.npz' is added.
        """
        A = self.sparsity
        arrays: dict[str, Any] = {f"colors{k}": colors for k, colors in enumerate(self._both)}
        np.savez_compressed(
            file, structure=self.structure, method=self.method, shape=A.shape, indptr=A.indptr,
            indices=A.indices, lower_bound=self.lower_bound, **arrays,
        )  # fmt: skip

    @staticmethod
    def load(file: str | os.PathLike | IO[bytes]) -> Coloring:
        """Read a coloring that `save` wrote.

        Parameters
        ----------
        file : str, path or file object
            What to read.

        Returns
        -------
        Coloring

        Raises
        ------
        ValueError
            If the colors do not determine the matrix, or the file is none that `save` wrote.
        """
        if isinstance(file, (str, os.PathLike)):
            with open(file, "rb") as opened:  # np.load leaves what is no archive open
                return Coloring.load(opened)
        try:
            return Coloring._read(file)
        except Exception as error:  # whatever may be wrong with an archive
            if isinstance(error, MemoryError) or getattr(error, "errno", None):
                raise
            raise ValueError(f"the file is no coloring that `save` wrote: {error!r}") from error

    @staticmethod
    def _read(file: IO[bytes]) -> Coloring:
        with np.load(file, allow_pickle=False) as found:
            indices, indptr = found["indices"], found["indptr"]
            ones = np.ones(len(indices), np.int8)
            A = csc_array((ones, indices, indptr), shape=tuple(found["shape"].tolist()))
            A.check_format()
            structure = str(found["structure"])
            colors = found["colors0"]
            if structure == "bidirectional":
                colors = colors, found["colors1"]
            coloring = Coloring(A, structure, str(found["method"]), colors, found["lower_bound"])
        coloring.check()
        return coloring


def coloring_of(arrays, shape, *rest):
    """Make a coloring of the arrays and the shape of a pattern by column, and the rest."""
    return Coloring(csc_array(arrays, shape=shape), *rest)


def is_pair_alone(a, b):
    """Return whether each pair occurs once."""
    _, inverse, times = np.unique(np.stack([a, b]), axis=1, return_inverse=True, return_counts=True)
    return times[inverse.reshape(-1)] == 1


def places_in(A, symbolic):
    """Return the entries of the lower triangle, and their positions in the packed values."""
    if symbolic.shape != A.shape:
        raise ValueError(
            f"the shapes of the coloring, {A.shape}, and of the analysis, {symbolic.shape}, differ"
        )
    i, j = coordinates(A)
    lower = np.flatnonzero(i >= j)
    n = A.shape[0]
    known = np.repeat(np.arange(n), np.diff(symbolic.indptr)) * n + symbolic.indices
    wanted = j[lower] * n + i[lower]
    place = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
    strange = known[place] != wanted if len(known) else np.ones(len(wanted), bool)
    if strange.any():
        q = lower[np.argmax(strange)]
        row, column = int(i[q]), int(j[q])
        raise PatternMismatchError(
            f"the entry ({row}, {column}) of the coloring is not on the pattern analyzed",
            row,
            column,
        )
    return lower, place
