"""Coloring: which directions determine a matrix, and the matrix from its products with them."""

from functools import cached_property

import numpy as np
from scipy.sparse import csc_array

from .._exceptions import PatternMismatchError
from .._scipy.packed_values import PackedPattern
from . import _decompression as recovery

FORMATS = ("csc", "csr", "coo")


class Coloring:
    """Colors of the columns or rows of a sparsity pattern; made by `color`.

    Attributes
    ----------
    pattern : (m, n) csc_array of int8
        Ones where the matrix may have entries. Not to be changed.
    structure : {'column', 'row', 'symmetric', 'bidirectional'}
    method : {'direct', 'substitution'}
    colors : ndarray of int32, or a pair of them
        Of the columns, (n,), or of the rows, (m,); of both if the structure is 'bidirectional',
        where -1 means that a column or row is in no product.
    num_colors : int
        Number of products: of both kinds together.
    lower_bound : int
        No coloring of this structure has fewer colors.

    Notes
    -----
    Colorings are equal if pattern, structure, method and colors are. They can be pickled.
    """

    def __init__(self, pattern, structure, method, colors, lower_bound):
        self.pattern = pattern
        self.structure = structure
        self.method = method
        self.colors = colors
        self.lower_bound = int(lower_bound)

    def __repr__(self):
        m, n = self.pattern.shape
        return (
            f"<Coloring of shape ({m}, {n}), {self.structure}, {self.method}:"
            f" {self.num_colors} colors, at least {self.lower_bound}>"
        )

    def __eq__(self, other):
        if not isinstance(other, Coloring):
            return NotImplemented
        return self._key == other._key

    def __hash__(self):
        return hash(self._key)

    def __reduce__(self):
        return Coloring, (self.pattern, self.structure, self.method, self.colors, self.lower_bound)

    @cached_property
    def _key(self):
        A = self.pattern
        arrays = (A.indptr.astype(np.int64), A.indices.astype(np.int64), *self._both)
        return (self.structure, self.method, A.shape, *(array.tobytes() for array in arrays))

    @property
    def _both(self):
        """Colors of columns, or rows, or both, in a tuple."""
        return self.colors if self.structure == "bidirectional" else (self.colors,)

    @property
    def num_colors(self):
        return sum(recovery.count(colors) for colors in self._both)

    def seed(self, dtype=np.float64):
        """The directions to multiply with.

        Parameters
        ----------
        dtype : dtype, optional

        Returns
        -------
        (n, num_colors) ndarray, or (m, num_colors) if the structure is 'row'
            One column for each color: ones at the columns, or rows, that have it. If the structure
            is 'bidirectional', one such array for columns and one for rows.

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
            (colors[:, None] == np.arange(recovery.count(colors))).astype(dtype)
            for colors in self._both
        )
        return seeds if self.structure == "bidirectional" else seeds[0]

    # ---- decompression ----

    @property
    def compressed_shapes(self):
        """Shape of the products, a pair of shapes if the structure is 'bidirectional'."""
        m, n = self.pattern.shape
        if self.structure == "row":
            return (self.num_colors, n)
        if self.structure == "bidirectional":
            return tuple(
                (m, k) if side == 0 else (k, n)
                for side, k in enumerate(map(recovery.count, self.colors))
            )
        return (m, self.num_colors)

    @cached_property
    def _recovery(self):
        A = self.pattern
        if self.structure == "column":
            return recovery.by_columns(A, self.colors)
        if self.structure == "row":
            return recovery.by_rows(A, self.colors)
        direct = self.method == "direct"
        if self.structure == "symmetric":
            find = recovery.of_symmetric if direct else recovery.substituted_symmetric
            return find(A, self.colors)
        find = recovery.of_both if direct else recovery.substituted_both
        return find(A, *self.colors)

    def decompress(self, products, format="csc"):
        """The matrix from its products with the directions.

        Parameters
        ----------
        products : array_like
            ``J @ seed``, (m, num_colors), for columns and symmetric matrices; ``seed.T @ J``,
            (num_colors, n), for rows; a pair, ``J @ seed[0]`` and ``seed[1].T @ J``, in both
            directions. Real or complex.
        format : {'csc', 'csr', 'coo'} or SymbolicFactor, optional

        Returns
        -------
        (m, n) csc_array, csr_array or coo_array
            With the entries of the pattern, zeros too. For a `SymbolicFactor`, the stored values
            of the matrix on its pattern, an ndarray: what ``factorize`` takes.

        Raises
        ------
        ValueError
            If the products have another shape.
        PatternMismatchError
            If the pattern has an entry that the `SymbolicFactor` does not have.

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
        A = self.pattern
        out = csc_array((values, A.indices, A.indptr), shape=A.shape)
        return out.asformat(format)

    def _flat(self, products):
        """All products in one array."""
        both = self.structure == "bidirectional"
        if both and len(products) != 2:
            raise ValueError("in both directions there are two arrays of products")
        parts = [np.asarray(B) for B in (products if both else (products,))]
        shapes = self.compressed_shapes if both else (self.compressed_shapes,)
        for B, shape in zip(parts, shapes, strict=True):
            if B.shape != shape:
                raise ValueError(
                    f"products of shape {B.shape} for a matrix of shape {self.pattern.shape} with"
                    f" {self.num_colors} colors ({self.structure}): {shape} is needed"
                )
        dtype = np.result_type(*parts)
        if dtype not in (np.float32, np.float64, np.complex64, np.complex128):
            dtype = np.result_type(dtype, np.float64)
        return np.concatenate([np.ravel(B).astype(dtype, copy=False) for B in parts])

    def _packed(self, values, symbolic):
        """Stored values on the pattern of a SymbolicFactor."""
        if self._places is None or self._places[0] is not symbolic:
            self._places = symbolic, *self._places_in(symbolic)
        _, lower, place = self._places
        out = np.zeros(len(symbolic.indices), values.dtype)
        out[place] = values[lower]
        return out

    _places = None

    def _places_in(self, symbolic):
        """The entries of the lower triangle, and their places among stored values."""
        A = self.pattern
        if symbolic.shape != A.shape:
            raise ValueError(
                f"the shapes of the coloring, {A.shape}, and of the analysis, {symbolic.shape},"
                " differ"
            )
        i, j = recovery.coordinates(A)
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

    # ---- validation ----

    def check(self):
        """Raise ValueError unless every entry is determined by the products.

        Notes
        -----
        By the definition, and not by how the colors were found: of direct methods each entry must
        be alone in a product; of substitution, two colors at a time must join no cycle.
        """
        A = self.pattern
        i, j = recovery.coordinates(A)
        for colors, size in zip(self._both, self._sizes, strict=True):
            if colors.shape != (size,) or (size and colors.min() < -1):
                raise ValueError(f"there must be a color for each of {size} vertices")
        if self.structure != "bidirectional" and A.nnz and self.colors.min(initial=0) < 0:
            raise ValueError("a column or row has no color")
        missing = self._undetermined(i, j)
        if missing.any():
            q = np.argmax(missing)
            raise ValueError(f"the entry ({i[q]}, {j[q]}) is not determined by the products")

    @property
    def _sizes(self):
        m, n = self.pattern.shape
        return {"row": (m,), "bidirectional": (n, m)}.get(self.structure, (n,))

    def _undetermined(self, i, j):
        if self.method == "substitution":
            return self._recovery.missing
        seen = set_of_pairs
        if self.structure == "row":
            return ~seen(self.colors[i], j)
        if self.structure == "column":
            return ~seen(i, self.colors[j])
        if self.structure == "symmetric":
            return ~(seen(i, self.colors[j]) | seen(j, self.colors[i]))
        columns, rows = self.colors
        by_column = (columns[j] >= 0) & seen(i, columns[j])
        return ~(by_column | ((rows[i] >= 0) & seen(rows[i], j)))

    # ---- files ----

    def save(self, file):
        """Write to a file of NumPy's format 'npz'; see `Coloring.load`.

        Parameters
        ----------
        file : str, path or file object
        """
        A = self.pattern
        arrays = {f"colors{k}": colors for k, colors in enumerate(self._both)}
        np.savez_compressed(
            file, structure=self.structure, method=self.method, shape=A.shape, indptr=A.indptr,
            indices=A.indices, lower_bound=self.lower_bound, **arrays,
        )  # fmt: skip

    @staticmethod
    def load(file):
        """Read what `save` wrote.

        Parameters
        ----------
        file : str, path or file object

        Returns
        -------
        Coloring

        Raises
        ------
        ValueError
            If the colors do not determine the matrix.
        """
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


def set_of_pairs(a, b):
    """Whether each pair occurs once."""
    _, inverse, times = np.unique(np.stack([a, b]), axis=1, return_inverse=True, return_counts=True)
    return times[inverse.reshape(-1)] == 1
