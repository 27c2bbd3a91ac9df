"""Decompression: the entries of a matrix from its compressed products, by gather or substitution.

The products are one flat array: the products with columns, row by row, and behind them the products
with rows. Entries are in the order of the pattern, by column.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import block_array, csc_array

from ._acyclic import elimination, substitute
from ._pattern import coordinates, count


@dataclass
class Direct:
    """Decompression by a gather: each entry is one element of the products.

    Attributes
    ----------
    place : (nnz,) ndarray of int64
        Position of each entry in the products; -1 if the entry is not found.
    mirrored : (nnz,) ndarray of bool
        Whether the entry (i, j) of a symmetric matrix is found as (j, i).
    """

    place: np.ndarray
    mirrored: np.ndarray

    @property
    def missing(self):
        """Whether each entry is not found."""
        return self.place < 0

    def values(self, flat):
        """Return the entries from the flat products."""
        return flat[self.place]


@dataclass
class Substitution:
    """Decompression by substitution: a product holds an entry and entries found before it.

    Attributes
    ----------
    place, source, target : (edges,) ndarray of int64
        Position of the product of each edge, and the sums of `_acyclic.elimination`.
    diagonal : ndarray of int64
        Positions of the products that hold one diagonal entry each.
    found : (nnz,) ndarray of int64
        Number of each entry among the edges and, behind them, the diagonal entries; -1 if the
        entry is not found.
    sums : int
        Number of sums.
    """

    place: np.ndarray
    source: np.ndarray
    target: np.ndarray
    found: np.ndarray
    diagonal: np.ndarray
    sums: int

    @property
    def missing(self):
        """Whether each entry is not found."""
        return self.found < 0

    def values(self, flat):
        """Return the entries from the flat products."""
        x = np.empty(len(self.place), flat.dtype)
        sums = np.zeros(self.sums, flat.dtype)
        substitute(flat, self.place, self.source, self.target, x, sums)
        return np.concatenate([x, flat[self.diagonal]])[self.found]


def by_columns(A, colors):
    """Return the decompression of ``J @ S``."""
    i, j = coordinates(A)
    k = count(colors)
    return Direct(i * k + colors[j], np.zeros(A.nnz, bool))


def by_rows(A, colors):
    """Return the decompression of ``S.T @ J``."""
    i, j = coordinates(A)
    return Direct(colors[i].astype(np.int64) * A.shape[1] + j, np.zeros(A.nnz, bool))


def of_symmetric(A, colors):
    """Return the decompression of ``J @ S`` for a symmetric J with a star coloring.

    An entry is read where no other entry of its row has the color of its column. An entry and its
    mirror image are read from one place: from that of the lower entry, if both would do. Columns
    of color -1 are in no product.
    """
    i, j = coordinates(A)
    k = count(colors)
    here, there = i * k + colors[j], j * k + colors[i]
    alone = colors[j] >= 0
    alone[alone] = is_alone(here[alone], A.shape[0] * k)
    # The mirror image of entry q by column is entry q by row.
    alone_there = np.empty_like(alone)
    alone_there[np.lexsort((j, i))] = alone
    lower = i >= j
    mirrored = np.where(lower, ~alone, alone_there)
    place = np.where(mirrored, there, here)
    place[~(alone | alone_there)] = -1
    return Direct(place, mirrored)


def of_both(A, columns, rows):
    """Return the decompression of ``J @ S`` and ``R.T @ J`` with a star coloring of both sides."""
    by_column, by_row = recoverable(A, columns, rows)
    i, j = coordinates(A)
    kc = count(columns)
    other = A.shape[0] * kc + rows[i].astype(np.int64) * A.shape[1] + j
    place = np.where(by_column, i * kc + columns[j], np.where(by_row, other, -1))
    return Direct(place, np.zeros(A.nnz, bool))


def recoverable(A, columns, rows):
    """Return whether each entry is alone in a product with columns, and with rows."""
    i, j = coordinates(A)
    m, n = A.shape
    kc, kr = count(columns), count(rows)
    by_column, by_row = columns[j] >= 0, rows[i] >= 0
    by_column[by_column] = is_alone((i * kc + columns[j])[by_column], m * kc)
    by_row[by_row] = is_alone((rows[i].astype(np.int64) * n + j)[by_row], n * kr)
    return by_column, by_row


def substituted_symmetric(A, colors):
    """Return the decompression of ``J @ S`` for a symmetric J with an acyclic coloring."""
    i, j = coordinates(A)
    off = i != j
    off_diagonal = np.flatnonzero(off)
    edges = csc_array((np.ones(len(off_diagonal), np.int8), (i[off], j[off])), A.shape)
    starts, members, twin = edges_of(edges)
    entry, source, target = elimination(starts, members, twin, colors)
    k = count(colors)
    found = np.full(A.nnz, -1)
    found[off_diagonal[entry]] = found[off_diagonal[twin[entry]]] = np.arange(len(entry))
    found[~off] = len(entry) + np.arange(A.nnz - len(off_diagonal))
    place = j[off][entry] * k + colors[members[entry]]
    diagonal = i[~off] * k + colors[i[~off]]
    return Substitution(place, source, target, found, diagonal, len(members) + 1)


def substituted_both(A, columns, rows):
    """Return the decompression of ``J @ S`` and ``R.T @ J`` with an acyclic coloring."""
    m, n = A.shape
    starts, members, twin = edges_of(two_sided(A))
    colors = np.concatenate([columns, rows]).astype(np.int32)
    entry, source, target = elimination(starts, members, twin, colors)
    vertex = np.repeat(np.arange(m + n), np.diff(starts))[entry]
    color = colors[members[entry]].astype(np.int64)
    kc = count(columns)
    place = np.where(vertex < n, m * kc + color * n + vertex, (vertex - n) * kc + color)
    found = np.full(A.nnz, -1)
    # The lists of the columns come first, in the order of A.
    found[np.minimum(entry, twin[entry])] = np.arange(len(entry))
    return Substitution(place, source, target, found, np.empty(0, np.int64), len(members) + 1)


def edges_of(H):
    """Return the sorted lists of neighbors in a graph, and the mirror image of each entry."""
    members = H.indices.astype(np.int32)
    twin = np.empty(len(members), np.int64)
    twin[np.argsort(members, kind="stable")] = np.arange(len(members))
    return H.indptr.astype(np.int64), members, twin


def two_sided(A):
    """Return the graph of columns and, behind them, rows; the entries of A are its edges."""
    m, n = A.shape
    if not A.nnz:
        return csc_array((m + n, m + n), dtype=np.int8)
    H = csc_array(block_array([[None, A.T], [A, None]]))
    H.sort_indices()
    return H


def is_alone(keys, size):
    """Return whether each key, from 0 to `size` - 1, occurs once."""
    if size <= 16 * len(keys) + 1000:
        return np.bincount(keys, minlength=1)[keys] == 1 if len(keys) else np.empty(0, bool)
    _, inverse, times = np.unique(keys, return_inverse=True, return_counts=True)
    return times[inverse] == 1
