"""Quadratic forms ``b A^-1 b^H`` of rows b: by entries of the inverse, or by solves.

The filled graph of A is chordal: the rows below the diagonal in a column of L are a clique (Rose,
1970). So all products of the elements of a row of B meet entries of the partial inverse if its
columns are the first of them in the order of elimination, and neighbors of that one in L:

    L =  first [ *             ]      b = [ . first . u . v . ]
             u [ *   *         ]
             v [ *   *   *     ]      (first, u), (first, v) in L, and therefore (u, v)

Other rows take a solve each.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from .._core.numeric import packing
from .input import (
    as_scipy,
    canonical,
    check_finite,
    compressed,
    converted,
    not_finite,
    sparse_or_dense,
)

if TYPE_CHECKING:
    from .symbolic_factor import SymbolicFactor

# The arithmetic of a triangular solve, and of reading an entry of the inverse, in units of those
# of a factorization: memory bounds them.
TRIANGLE_COST = 2
ENTRY_COST = 4


class Pairs(NamedTuple):
    """Pairs of elements of rows, with the entries of the inverse that they meet.

    Attributes
    ----------
    row : (k,) int ndarray
        The row of each pair.
    left, right : (k,) int ndarray
        Numbers of its elements; both alike on the diagonal, each other pair once.
    place : (k,) int64 ndarray
        Places in flat panels, complemented where the mirror image is stored.
    """

    row: np.ndarray
    left: np.ndarray
    right: np.ndarray
    place: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """How often each pair counts: its mirror image is not listed."""
        return 2 - (self.left == self.right)


def read_rows(B: Any, n: int, name: str = "B") -> tuple[csr_array, tuple[int, ...]]:
    """Read rows to multiply with, and the shape of a result that has a number for each.

    Parameters
    ----------
    B : (n,) or (m, n) array_like, or (m, n) sparse array or matrix
    n : int
    name : str, optional
        What the messages call the array.

    Returns
    -------
    B : (m, n) csr_array
        Sorted, each element once.
    shape : tuple of int
    """
    B = sparse_or_dense(B, name)
    if B.ndim not in (1, 2) or B.shape[-1] != n:
        raise ValueError(f"{name} has shape {B.shape}: it is ({n},) or (m, {n})")
    shape = B.shape[:-1]
    if isinstance(B, np.ndarray):
        if B.dtype.kind in "fc":
            check_finite(B, name)
        B = B.reshape(math.prod(shape), n)
    rows = compressed(B, name=name)
    row, _ = not_finite(rows)
    if row.size:
        raise ValueError(f"{name} must not hold infinities or NaNs: row {min(row)} does")
    # A sparse array of one dimension is read as a column.
    C: Any = as_scipy(rows).T if B.ndim == 1 else as_scipy(converted(rows, "csr"))
    return canonical(C), shape


def rows_in_inverse(pattern: "SymbolicFactor", B: csr_array, solve_cost: float) -> np.ndarray:
    """Decide which rows are cheaper by entries of a partial inverse, and are all in it.

    Parameters
    ----------
    pattern : SymbolicFactor
    B : (m, n) csr_array
    solve_cost : float
        The arithmetic of a solve for one row, as that of a factorization counts.

    Returns
    -------
    (m,) bool ndarray
    """
    m, n = B.shape
    length = np.diff(B.indptr).astype(np.int64)
    row = np.repeat(np.arange(m), length)
    rank = np.empty(n, np.int64)
    rank[pattern._order] = np.arange(n)
    order = np.lexsort((rank[B.indices], row))
    columns = B.indices[order].astype(np.int32)
    full = np.flatnonzero(length)
    first = np.repeat(columns[B.indptr[full]], length[full])
    absent = find(pattern, first, columns) == packing.ABSENT
    missing = np.bincount(row, absent, m)
    inside = (missing == 0) & (ENTRY_COST * length * (length + 1) / 2 <= solve_cost)
    pays = np.count_nonzero(inside & (length > 0)) * solve_cost > 2 * pattern.flops
    return inside & (pays | (length == 0))


def find(pattern: "SymbolicFactor", row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Find entries of the inverse in flat panels."""
    position = np.empty(row.size, np.int64)
    packing.find_entries(pattern._structure, row, column, position)
    return position


def pairs_of(pattern: "SymbolicFactor", B: csr_array, rows: np.ndarray) -> Pairs:
    """List the pairs of elements of some rows, all of which are in the partial inverse.

    Parameters
    ----------
    pattern : SymbolicFactor
    B : (m, n) csr_array
    rows : (r,) int ndarray

    Returns
    -------
    Pairs
    """
    length = np.diff(B.indptr)[rows].astype(np.int64)
    ends = np.cumsum(length)
    # Numbers of the elements of these rows, and how many of its row are at or after each.
    element = np.arange(length.sum()) + np.repeat(B.indptr[rows] - (ends - length), length)
    after = np.repeat(B.indptr[rows + 1], length) - element
    left = np.repeat(element, after)
    right = left + np.arange(left.size) - np.repeat(np.cumsum(after) - after, after)
    row = np.repeat(np.repeat(rows, length), after)
    columns = B.indices.astype(np.int32, copy=False)
    return Pairs(row, left, right, find(pattern, columns[left], columns[right]))


def pieces(B: csr_array, rows: np.ndarray, most: int = 1 << 20) -> list[np.ndarray]:
    """Cut a list of rows where the pairs of their elements would take too much memory.

    Parameters
    ----------
    B : (m, n) csr_array
    rows : (r,) int ndarray
    most : int, optional
        About as many pairs in each piece.

    Returns
    -------
    list of int ndarrays
    """
    length = np.diff(B.indptr)[rows].astype(np.int64)
    piece = np.cumsum(length * (length + 1) // 2) // most
    return np.split(rows, np.flatnonzero(np.diff(piece)) + 1) if rows.size else []


def low_rank_quadratic(V: Any, X: Any, B: csr_array, labels: np.ndarray | None = None) -> Any:
    """Compute ``b (V X^H + X V^H) b^H`` of each row b; of blocks, where rows have labels.

    Parameters
    ----------
    V, X : (n, k) ndarray
    B : (m, n) csr_array
    labels : (n,) int ndarray, optional
        The block of each row of V and X; there is nothing between blocks.

    Returns
    -------
    (m,) real ndarray
    """
    m = B.shape[0]
    row = np.arange(m)
    if labels is not None:
        B, row = split_by(B, labels)
    products = ((B @ V) * (B @ X).conj()).real.sum(axis=1)
    return 2 * np.bincount(row, products, m)


def split_by(B: csr_array, labels: np.ndarray) -> tuple[csr_array, np.ndarray]:
    """Split each row into one for each label of its columns; return them, and the row of each."""
    m, n = B.shape
    row = np.repeat(np.arange(m, dtype=np.int64), np.diff(B.indptr))
    blocks = int(labels.max(initial=0)) + 1
    key, which = np.unique(row * blocks + labels[B.indices], return_inverse=True)
    parts = csr_array((B.data, (which, B.indices)), shape=(key.size, n))
    return parts, key // blocks
