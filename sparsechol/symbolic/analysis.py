"""From a permutation to supernodes in the order they are visited, with exact counts."""

from typing import NamedTuple

import numpy as np

from sparsechol.symbolic.etree import (
    column_counts,
    columns_of,
    elimination_tree,
    permuted_triangle,
    postorder,
)
from sparsechol.symbolic.patterns import factor_pattern, symmetric_pattern
from sparsechol.symbolic.supernodes import (
    amalgamate,
    find_regions,
    fundamental_supernodes,
    visiting_order,
)


class Tree(NamedTuple):
    """Elimination tree of a permuted pattern, numbered in postorder."""

    perm: np.ndarray  # original row at each place
    parent: np.ndarray
    counts: np.ndarray  # entries in each column of L, diagonal included

    @property
    def nnz(self) -> int:
        """Entries of L."""
        return int(self.counts.sum())

    @property
    def flops(self) -> float:
        """Sum of the squared column counts."""
        return float(np.sum(self.counts.astype(np.float64) ** 2))


def inverse_permutation(perm):
    inverse = np.empty_like(perm)
    inverse[perm] = np.arange(perm.shape[0], dtype=perm.dtype)
    return inverse


def elimination(indptr, indices, perm) -> Tree:
    """Elimination tree and column counts of a lower pattern under a permutation, postordered."""
    starts, members, _ = symmetric_pattern(indptr, indices)
    order, parent, counts = vertex_tree(starts, members, np.ones_like(perm), perm)
    return Tree(order, parent, counts)


def vertex_tree(starts, members, weight, order):
    """Order, parents and counts of a graph's vertices that are eliminated in `order`, postordered.

    Each vertex stands for `weight` rows; the counts are those of the first.
    """
    inverse = inverse_permutation(order)
    parent = elimination_tree(starts, members, order, inverse)
    post = postorder(parent)
    place = inverse_permutation(post)
    parent = renumber(parent, post, place)
    order = order[post]
    inverse = inverse_permutation(order)
    return order, parent, column_counts(parent, starts, members, weight, order, inverse)


def renumber(parent, order, inverse):
    """Parents of a forest whose node `order[k]` becomes node k."""
    above = parent[order]
    return np.where(above >= 0, inverse[above], np.int32(-1))


def supernodal_order(tree: Tree):
    """Permutation, and of relaxed supernodes the first columns, regions (see supernodes), and
    numbers of rows below."""
    first = fundamental_supernodes(tree.parent, tree.counts)
    into, above = amalgamate(first, tree.parent, tree.counts)
    simple = find_regions(first, into, above, tree.counts)
    order, boundaries, region = visiting_order(first, into, above, tree.counts, simple)
    below = tree.counts[order[boundaries[1:] - 1]] - 1
    return tree.perm[order], boundaries, region, below


def pattern_of_factor(indptr, indices, perm):
    """Exact pattern of L by column (indptr, indices) for the given permutation itself."""
    inverse = inverse_permutation(perm)
    tree = elimination(indptr, indices, perm)
    counts = np.empty_like(tree.counts)
    counts[inverse[tree.perm]] = tree.counts
    starts, members, _ = permuted_triangle(indptr, indices, inverse)
    itself = np.arange(perm.shape[0], dtype=np.int32)
    parent = elimination_tree(starts, members, itself, itself)
    return factor_pattern(parent, starts, members, counts)
