"""The analysis of A^H W A + B: what the frameworks keep static."""

import hashlib
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from .._cached import cached_property
from .._core.numeric.handle import PatternHandle, handle_of
from .._core.parallel.threads import thread_count
from .._core.symbolic.congruence import CongruencePlan, plan_congruence, ranges
from .._exceptions import PatternMismatchError
from .._typing import MatrixLike, OrderingLike
from .elimination import triangle_of
from .input import Compressed, as_scipy, canonical, check_order, compressed, converted
from .packed_values import PackedPattern
from .pickling import reduced
from .symbolic_factor import SymbolicFactor, analyze_for

LARGE = 20_000_000  # entries that one row of A may bring into the product, or
SHARE = 16  # so many for each entry of A and B


class GramPattern:
    """Analysis of ``A^H W A + B``. Immutable, compared, hashed and pickled by content.

    Attributes
    ----------
    pattern : SymbolicFactor
        The analysis of the product: its pattern, and the ordering and symbolic factorization of it.
    indptr, indices : ndarray (int64 and int32)
        The pattern of A by row, columns ascending: the order of `entries`.
    shape : tuple of int
        Shape of A.
    block : int
        Rows of a block of W; 1 for a diagonal W.
    """

    def __init__(
        self,
        indptr: np.ndarray,
        indices: np.ndarray,
        block: int,
        pattern: SymbolicFactor,
        of_b: "tuple[np.ndarray, np.ndarray] | None",
    ):
        for array in (indptr, indices):
            array.setflags(write=False)
        self.indptr, self.indices, self.block, self.pattern = indptr, indices, block, pattern
        self._of_b = None if of_b is None else TrianglePattern(*of_b)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of A."""
        return self.indptr.shape[0] - 1, self.pattern.shape[0]

    @cached_property
    def _plan(self) -> CongruencePlan:
        return plan_congruence(self.indptr, self.indices, self.pattern.shape[0], self.block)

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digest of the content. Equal analyses have equal digests."""
        content = hashlib.blake2b(b"sparsechol gram 1", digest_size=16)
        content.update(f"{self.block} {self.pattern.digest} {self._of_b is None}".encode())
        arrays = [self.indptr, self.indices]
        if self._of_b is not None:
            arrays += [self._of_b.indptr, self._of_b.indices]
        for array in arrays:
            content.update(np.int64(array.shape[0]).tobytes())
            content.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return content.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self is other or self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self):
        of_b = None if self._of_b is None else (self._of_b.indptr, self._of_b.indices)
        return reduced(type(self), self.indptr, self.indices, self.block, self.pattern, of_b)

    def __repr__(self) -> str:
        blocks = "" if self.block == 1 else f", blocks of {self.block}"
        return (
            f"<{type(self).__name__} of A of shape {self.shape} with {self.indices.size} entries"
            f"{blocks}: {self.pattern.indices.size} packed values, {self.memory:,} bytes of maps>"
        )

    @property
    def memory(self) -> int:
        """Bytes of the maps.

        In rows with columns that few others have, 24 for an entry and about 40 for the row; 16 for
        a row that many others are like; and 24 for each packed value. Nothing grows with the square
        of the length of a row.
        """
        return self._plan.nbytes + 24 * self.pattern.indices.size

    @cached_property
    def _handle(self) -> PatternHandle:
        return handle_of(self)

    @cached_property
    def _places_of_b(self) -> Any:
        """Where the packed values of B go; a slice where it has the pattern of the product."""
        if self._of_b is None:
            return None
        P, B = self.pattern, self._of_b
        if P.indices.size == B.indices.size:
            return slice(None)
        whole, part = (_keys(x.indptr, x.indices, self.shape[1]) for x in (P, B))
        return np.searchsorted(whole, part)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of w: (m,), or (m / k, k, k) for blocks of k rows."""
        m, k = self.shape[0], self.block
        return (m,) if k == 1 else (m // k, k, k)

    def _unit_weights(self, dtype=np.float32) -> np.ndarray:
        """Return the weights of W = I."""
        if self.block == 1:
            return np.ones(self.weight_shape, dtype)
        return np.tile(np.eye(self.block, dtype=dtype), (self.weight_shape[0], 1, 1))

    def _check_pattern_of_b(self, P: PackedPattern) -> None:
        """Raise ValueError unless a pattern is that of B."""
        B = self._of_b
        if B is not None and not (
            np.array_equal(B.indptr, P.indptr) and np.array_equal(B.indices, P.indices)
        ):
            raise ValueError("B has another pattern than the one that gram was called with")

    def entries(self, A: MatrixLike) -> np.ndarray:
        """Return the values of A in the order of the stored entries.

        Parameters
        ----------
        A : (m, n) SciPy sparse array or matrix, or dense array
            Its pattern may be smaller than the analyzed one: a missing entry is zero. Repeated
            entries are summed.

        Returns
        -------
        (len(indices),) ndarray
            By row, columns ascending: those of a sorted `csr_array`.

        Raises
        ------
        PatternMismatchError
            If `A` has an entry, other than a stored zero, outside of the analyzed pattern.
        ValueError
            If the shape differs, or the index arrays are corrupt.

        Examples
        --------
        >>> import numpy as np, sparsechol as sc
        >>> A = np.array([[1.0, 2.0], [0.0, 3.0]])
        >>> sc.gram(A).entries(A)
        array([1., 2., 3.])
        """
        arrays = compressed(A, name="A", check_shape=self._check_shape)
        if arrays.format == "csr" and self._same(arrays):
            return arrays.data
        rows = by_row(arrays)
        if self._same(rows):
            return rows.data
        row = np.repeat(np.arange(self.shape[0]), np.diff(rows.indptr))
        given = rows.data != 0
        values = np.zeros(self.indices.shape[0], rows.data.dtype)
        values[self._places(row[given], rows.indices[given])] = rows.data[given]
        return values

    def _places(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Find entries among those of A; what is not inside A at all is at the end."""
        m, n = self.shape
        own = np.append(_keys(self.indptr, self.indices, n), m * np.int64(n))
        inside = (row < m) & (column < n)
        wanted = np.where(inside, row * np.int64(n) + column, own[-1])
        place = np.searchsorted(own, wanted)
        stray = own[place] != wanted
        if stray.any():
            i, j = int(row[stray][0]), int(column[stray][0])
            raise PatternMismatchError(
                f"entry ({i}, {j}) of A is outside the analyzed pattern: call gram with a pattern"
                " that has it",
                i,
                j,
            )
        return place

    @cached_property
    def _by_column_places(self) -> np.ndarray:
        """Where each entry by row is among those by column."""
        places = np.empty(self.indices.shape[0], np.int64)
        places[np.argsort(self.indices, kind="stable")] = np.arange(places.shape[0])
        return places

    def _same(self, arrays: Compressed) -> bool:
        return np.array_equal(arrays.indptr, self.indptr) and np.array_equal(
            arrays.indices, self.indices
        )

    def _check_shape(self, shape) -> None:
        if tuple(shape) != self.shape:
            raise ValueError(f"A has shape {tuple(shape)}, the analysis {self.shape}")

    def _check_length(self, name: str, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless the last dimensions of an operand are those that it needs."""
        if name == "b" and self._of_b is None:
            raise ValueError("values of B are given, and gram was called without its pattern")
        core = {
            "a": self.indices.shape,
            "w": self.weight_shape,
            "b": self._of_b.indices.shape if self._of_b is not None else (),
            "x": self.pattern.indices.shape,
        }[name]
        if shape[len(shape) - len(core) :] != core or len(shape) < len(core):
            what = {
                "a": "the entries of A by row; for a matrix G.entries(A) gives them",
                "w": "the weights of the rows" + (", in blocks" if self.block > 1 else ""),
                "b": "the packed values of B: its lower triangle by column, with the diagonal",
                "x": "packed values of the product",
            }[name]
            raise ValueError(
                f"{name} has shape {shape}: (..., {str(core)[1:-1]}) is needed: {what}"
            )


class TrianglePattern(PackedPattern):
    """A sorted lower triangle by column with the whole diagonal, whose values are packed."""

    def __init__(self, indptr: np.ndarray, indices: np.ndarray):
        for array in (indptr, indices):
            array.setflags(write=False)
        self.indptr, self.indices = indptr, indices


def by_row(arrays: Compressed) -> Compressed:
    """Return a matrix by row, sorted, repetitions summed."""
    if arrays.format == "csc":
        return converted(arrays, "csr")
    rows = canonical(csr_array(as_scipy(arrays)))
    return Compressed("csr", rows.indptr, rows.indices, rows.data, arrays.shape)


def _keys(indptr: np.ndarray, indices: np.ndarray, length: int) -> np.ndarray:
    """Return one number for each entry, ascending."""
    count = indptr.shape[0] - 1
    return np.repeat(np.arange(count) * np.int64(length), np.diff(indptr)) + indices


def analyze_gram(
    cls: type, A: MatrixLike, B: Any, block: int, ordering: OrderingLike, threads: int | None
) -> Any:
    """Analyze ``A^H W A + B``, see `gram`; `cls` is the class of the result."""
    arrays = compressed(A, name="A", check_shape=_check_columns)
    rows = by_row(arrays)
    m, n = rows.shape
    block = _checked_block(block, m)
    of_b = None if B is None else _triangle_of_b(B, n)
    indptr, indices = rows.indptr.astype(np.int64), rows.indices.astype(np.int32)
    plan = plan_congruence(indptr, indices, n, block)
    entries = indices.size + (0 if of_b is None else of_b[1].size)
    _refuse_dense_rows(plan, entries)
    whole = _pattern_of_product(plan, of_b, n)
    pattern = analyze_for(whole, ordering, True, False, True, thread_count(threads))
    out = cls(indptr, indices, block, pattern, of_b)
    out.__dict__["_plan"] = plan
    return out


def _check_columns(shape) -> None:
    if len(shape) != 2:
        raise ValueError(f"A must be a matrix, but its shape is {tuple(shape)}")
    check_order((shape[1], shape[1]))
    if shape[0] >= 2**31 - 1:
        raise OverflowError(f"{shape[0]} rows are beyond 32-bit row numbers")


def _checked_block(block: int, m: int) -> int:
    if isinstance(block, bool) or not isinstance(block, int | np.integer) or block < 1:
        raise ValueError(f"block must be a positive integer, not {block!r}")
    if m % block:
        raise ValueError(f"blocks of {block} rows do not divide the {m} rows of A")
    return int(block)


def _triangle_of_b(B: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the packed pattern of B, which has one already or is a matrix."""
    if isinstance(B, SymbolicFactor):
        indptr, indices, shape = B.indptr, B.indices, B.shape
    else:
        arrays = compressed(B, name="B", check_shape=check_order)
        (indptr, indices), shape = triangle_of(arrays, True), arrays.shape
    if shape != (n, n):
        raise ValueError(f"B has shape {shape}: A has {n} columns, and so B is {(n, n)}")
    return np.array(indptr), np.array(indices)


def _refuse_dense_rows(plan: CongruencePlan, entries: int) -> None:
    """Raise ValueError where rows of A would make the product dense."""
    counts = np.diff(plan.column_start)
    limit = max(LARGE, SHARE * entries)
    long = np.flatnonzero(counts * (counts + 1) // 2 > limit)
    if long.size:
        start, rows_of = plan.unit_start[long], np.diff(plan.unit_start)[long]
        rows = plan.row_order[ranges(start, rows_of)]
        length, least = np.diff(plan.row_start)[rows], np.repeat(counts[long], rows_of)
        rows = np.sort(rows[length * plan.block >= least])
        shown = ", ".join(map(str, rows[:5])) + (", ..." if rows.size > 5 else "")
        count = int(counts[long].max())
        raise ValueError(
            f"row{'s' * (rows.size > 1)} {shown} of A: {count} columns in one row make a dense"
            f" block of {count * (count + 1) // 2:.3g} entries in the product: leave such rows out"
            " of A, and treat them as a change of low rank (Woodbury's formula)"
        )
    squares = int(plan.square_start[-1])
    if entries >= 2**31 or squares >= 2**31:
        raise OverflowError(f"{entries} entries are beyond the 32-bit places of a congruence")
    if squares > max(LARGE, SHARE * entries):
        raise ValueError(
            f"blocks of {plan.block} rows with many columns need {squares:.3g} numbers of"
            " workspace: leave long rows out, or multiply the rows by a root of W and give no"
            " blocks"
        )


def _pattern_of_product(plan: CongruencePlan, of_b, n: int) -> Compressed:
    """Return the pattern of the product, of which the lower triangle counts, from its units."""
    units = plan.column_start.shape[0] - 1
    ones = np.ones(plan.unit_columns.size, bool)
    U = csr_array((ones, plan.unit_columns, plan.column_start), shape=(units, n))
    whole = csr_array(U.T @ U)
    if of_b is not None:
        indptr, indices = of_b
        lower = csr_array((np.ones(indices.size, bool), indices, indptr), shape=(n, n)).T
        whole = csr_array(whole + csr_array(lower))
    ones = np.ones(whole.indices.size, np.float32)
    return Compressed("csr", whole.indptr, whole.indices, ones, (n, n))
