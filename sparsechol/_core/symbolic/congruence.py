"""What the pattern of A decides about A^H W A, once.

Rows with the same columns, or with blocks of weights the k rows of a block, are a unit:

    columns of the unit
    [ x  x  x  x ]
    [ x  x  x  x ]  rows of the unit, one after another in `row_order`
    [ x  x  x  x ]

A unit of many rows gets a square, c x c for c columns, in which dense kernels add up its product. A
row that is a unit alone gets none, so that nothing here grows with the square of the length of a
row. The lists `incidence` say which units have an entry in a column; a column of the product is the
sum over them (Gustavson 1978), and no two columns write to one place.
"""

from typing import NamedTuple

import numpy as np

CHUNK = 4096  # most rows of a unit, so that threads can share long ones
SQUARE = (
    4  # most columns for each row of a unit with a square: it takes 4 times its entries at most
)
TASKS = 64  # most pieces of the work, as many for any number of threads
PIECE = 50_000  # multiplications that are worth a piece


class CongruencePlan(NamedTuple):
    """Arrays of the analysis; places are those of entries of A by row, sorted.

    Attributes
    ----------
    block : int
        Rows of a block of weights; 1 for a diagonal.
    row_start : (m + 1,) int64 ndarray
    row_order, row_at : (m,) int32 ndarray
        The rows, unit by unit, and where the entries of each begin.
    unit_start, column_start, square_start : (units + 1,) int64 ndarray
        Where the rows, the columns and the square of each unit begin.
    unit_columns : int32 ndarray
        The columns of each unit, ascending.
    local : int32 ndarray
        Which of the columns of its unit each entry has; empty if every row has all of them.
    incidence_start : (n + 1,) int64 ndarray
    incidence_at, incidence_row, incidence_column, incidence_local, incidence_tail : int32 ndarray
        For each column the units that have it: the place of the entry of A, or of the diagonal of
        the square; the first row; the place in `unit_columns`; how many columns of the unit come
        before, and how many from there on, complemented where the unit has a square.
    unit_task, column_task : int32 ndarray
        Where the units and the columns of each task begin.
    """

    block: int
    row_start: np.ndarray
    row_order: np.ndarray
    row_at: np.ndarray
    unit_start: np.ndarray
    column_start: np.ndarray
    square_start: np.ndarray
    unit_columns: np.ndarray
    local: np.ndarray
    incidence_start: np.ndarray
    incidence_at: np.ndarray
    incidence_row: np.ndarray
    incidence_column: np.ndarray
    incidence_local: np.ndarray
    incidence_tail: np.ndarray
    unit_task: np.ndarray
    column_task: np.ndarray

    @property
    def widest(self) -> int:
        """Most columns of a unit with a square."""
        return int(np.sqrt(np.diff(self.square_start).max(initial=0)).round())

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(x.nbytes for x in self if isinstance(x, np.ndarray))


def plan_congruence(indptr: np.ndarray, indices: np.ndarray, n: int, block: int) -> CongruencePlan:
    """Analyze the pattern of A, by row and sorted, for products A^H W A.

    Parameters
    ----------
    indptr, indices : ndarray
        Rows of A, sorted, without repetitions.
    n : int
        Columns of A.
    block : int
        Rows of a block of W, a divisor of the number of rows.

    Returns
    -------
    CongruencePlan
    """
    starts, columns, local = _columns_of_blocks(indptr, indices, n, block)
    order, heads = _group(starts, columns, block)
    head_blocks = order[heads]
    counts = np.diff(starts)[head_blocks]
    unit_start = np.append(heads, order.shape[0]).astype(np.int64) * block
    column_start = _offsets(counts)
    unit_columns = columns[ranges(starts[head_blocks], counts)]
    rows = np.diff(unit_start)
    square = (rows > 1) | (block > 1)
    square_start = _offsets(np.where(square, counts**2, 0))
    row_start = indptr.astype(np.int64)
    row_order = (order[:, None] * block + np.arange(block)).ravel().astype(np.int32)
    row_at = row_start[row_order]
    start, unit, place = _incidence(unit_columns, column_start, n)
    row = row_order[unit_start[unit]]
    of_row = row_at[unit_start[unit]] + place
    of_square = square_start[unit] + place * (counts[unit] + 1)
    tail = counts[unit] - place
    return CongruencePlan(
        block,
        row_start,
        row_order,
        row_at.astype(np.int32),
        unit_start,
        column_start,
        square_start,
        unit_columns.astype(np.int32),
        local,
        start,
        np.where(square[unit], of_square, of_row).astype(np.int32),
        row,
        (column_start[unit] + place).astype(np.int32),
        place.astype(np.int32),
        np.where(square[unit], ~tail, tail).astype(np.int32),
        _pieces(_offsets(rows * counts**2 + 4)),
        _pieces(_offsets(tail + 4)[start]),
    )


def _offsets(counts: np.ndarray) -> np.ndarray:
    """Return where lists of these lengths begin, one after another."""
    out = np.zeros(counts.shape[0] + 1, np.int64)
    np.cumsum(counts, out=out[1:])
    return out


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the numbers of ranges, one range after another.

    Parameters
    ----------
    starts, counts : ndarray of int
        First number of each range, and how many it has.

    Returns
    -------
    int64 ndarray
    """
    offsets = _offsets(counts)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], counts)


def _columns_of_blocks(indptr, indices, n, block):
    """Return the union of the columns of each block of rows, and each entry's place among them."""
    if block == 1:
        return indptr.astype(np.int64), indices, np.empty(0, np.int32)
    lengths = np.diff(indptr)
    owner = np.repeat(np.arange(lengths.shape[0]) // block, lengths)
    keys, inverse = np.unique(owner * np.int64(n) + indices, return_inverse=True)
    blocks, columns = np.divmod(keys, max(n, 1))
    starts = _offsets(np.bincount(blocks, minlength=lengths.shape[0] // block))
    if (lengths == np.repeat(np.diff(starts), block)).all():
        return starts, columns, np.empty(0, np.int32)
    return starts, columns, (inverse.ravel() - starts[owner]).astype(np.int32)


def _group(starts, columns, block):
    """Return an order that puts blocks with the same columns together, and where groups begin.

    Groups are in the order of their first blocks. What seems the same by a sum of scrambled column
    numbers is compared.
    """
    counts = np.diff(starts)
    scrambled = (columns.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    scrambled = (scrambled ^ (scrambled >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    sums = np.zeros(columns.shape[0] + 1, np.uint64)
    np.cumsum(scrambled ^ (scrambled >> np.uint64(32)), out=sums[1:])
    keys = sums[starts[1:]] - sums[starts[:-1]]
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first[inverse.ravel()], kind="stable")
    if not order.size:
        return order, order
    same = np.append(False, (keys[order[1:]] == keys[order[:-1]]))
    same[1:] &= counts[order[1:]] == counts[order[:-1]]
    later = np.flatnonzero(same)
    length = counts[order[later]]
    differs = (
        columns[ranges(starts[order[later]], length)]
        != columns[ranges(starts[order[later - 1]], length)]
    )
    same[np.repeat(later, length)[differs]] = False
    heads = np.flatnonzero(~same)
    size = np.diff(np.append(heads, order.size))
    alone = (block == 1) & (counts[order[heads]] > SQUARE * size)
    chunk = np.where(alone, 1, max(CHUNK // block, 1))
    pieces = -(-size // chunk)
    within = ranges(np.zeros_like(heads), pieces)
    return order, within * np.repeat(chunk, pieces) + np.repeat(heads, pieces)


def _incidence(unit_columns, column_start, n):
    """Return for each column the units that have it, ascending, and at which of their places."""
    counts = np.diff(column_start)
    by_column = np.argsort(unit_columns, kind="stable")
    unit = np.repeat(np.arange(counts.shape[0]), counts)[by_column]
    start = _offsets(np.bincount(unit_columns, minlength=n))
    return start, unit, by_column - column_start[unit]


def _pieces(work):
    """Cut a list with this work before each element into pieces of about the same work."""
    count = int(min(TASKS, work[-1] // PIECE + 1))
    inner = np.searchsorted(work, work[-1] * np.arange(1, count) / count)
    return np.unique(np.concatenate([[0], inner, [work.shape[0] - 1]])).astype(np.int32)
