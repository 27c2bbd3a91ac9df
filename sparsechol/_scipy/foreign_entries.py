"""EntryMap: from the entries of a symmetric matrix of another library to packed values."""

import numpy as np
from scipy.sparse import coo_array

from .symbolic_factor import SymbolicFactor, analyze


class EntryMap:
    """Map the entries of a symmetric matrix, rows and columns in any order, to packed values.

    Where both triangles are given, each entry counts half. Entries beyond the shape are padding.

    Attributes
    ----------
    pattern : SymbolicFactor
    ordered : whether the entries are both triangles, row by row, each entry once.
    place : packed position of each entry, len(pattern.indices) for padding.
    above : whether each entry lies above the diagonal.
    weight : the weight of each entry.
    """

    def __init__(self, row, column, shape, ordering):
        inside = (row < shape[0]) & (column < shape[1])
        i, j = row[inside], column[inside]
        self.pattern = P = pattern_of(i, j, shape, ordering)
        n = shape[0]
        keys = np.repeat(np.arange(n), np.diff(P.indptr)) * n + P.indices
        lower, upper = np.maximum(i, j), np.minimum(i, j)
        self.place = np.full(row.shape[0], keys.shape[0])
        self.place[inside] = np.searchsorted(keys, upper * n + lower)
        self.above = row < column
        both = bool((i > j).any() and (i < j).any())
        if both:
            require_both(i, j, n)
        self.weight = np.where((row == column) | (not both), 1.0, 0.5)
        entry = i * n + j
        self.ordered = (
            both
            and bool(inside.all())
            and entry.shape[0] == 2 * keys.shape[0] - n
            and bool((np.diff(entry) > 0).all())
        )


def pattern_of(i, j, shape, ordering) -> SymbolicFactor:
    """Return the pattern with these entries and their mirror images, or `ordering` if it is one."""
    if isinstance(ordering, SymbolicFactor):
        A = coo_array((np.ones(i.shape[0]), (np.maximum(i, j), np.minimum(i, j))), shape=shape)
        ordering.values(A)  # refuses what is not on the pattern
        return ordering
    ones = np.ones(i.shape[0])
    A = coo_array((ones, (np.maximum(i, j), np.minimum(i, j))), shape=shape)
    return analyze(A, ordering=ordering)


def require_both(i, j, n):
    """Raise ValueError unless every entry stands in both triangles: each of them counts half."""
    below, above = np.unique((i * n + j)[i > j]), np.unique((j * n + i)[i < j])
    alone = np.setxor1d(below, above)
    if alone.size:
        row, column = divmod(int(alone[0]), n)
        raise ValueError(
            f"entries ({row}, {column}) and ({column}, {row}) are not both there: store both"
            " triangles, or one of them alone"
        )
