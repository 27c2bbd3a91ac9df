"""From a permutation to supernodes in the order they are visited, with exact counts."""

import numpy as np

from sparsechol._core.symbolic.etree import (
    inverse_permutation,
    permuted_triangle,
    renumber,
    totals,
    vertex_tree,
)
from sparsechol._core.symbolic.patterns import factor_pattern, symmetric_pattern
from sparsechol._core.symbolic.supernodes import order_supernodes


class Tree:
    """Elimination tree of a permuted pattern, numbered in postorder.

    Attributes
    ----------
    perm : original row at each place.
    parent : parents, -1 for a root.
    counts : entries in each column of L, diagonal included.
    nnz : entries of L.
    flops : sum of the squared column counts.
    """

    def __init__(self, perm: np.ndarray, parent: np.ndarray, counts: np.ndarray):
        self.perm, self.parent, self.counts = perm, parent, counts
        self.nnz, self.flops = totals(counts)


def elimination(indptr, indices, perm) -> Tree:
    """Elimination tree and column counts of a lower pattern under a permutation, postordered."""
    starts, members, _ = symmetric_pattern(indptr, indices)
    post, parent, counts, _ = vertex_tree(starts, members, np.ones_like(perm), perm)
    return Tree(perm[post], parent, counts)


def supernodal_order(tree: Tree):
    """Supernodes that are visited in the order of their columns.

    Returns
    -------
    perm : original row at each place.
    first, simplicial_root, below : of each supernode its first column, the root of the simplicial
        subtree that it is part of (see supernodes), and its number of rows below.
    """
    order, *supernodes = order_supernodes(tree.parent, tree.counts)
    return tree.perm[order], *supernodes


def tree_in_order(indptr, indices, perm):
    """Elimination tree of a lower pattern, numbered as the permutation itself.

    Returns
    -------
    parent, post, counts : parents, -1 for a root; the postorder; entries in each column of L.
    """
    starts, members, _ = symmetric_pattern(indptr, indices)
    post, above, in_postorder, _ = vertex_tree(starts, members, np.ones_like(perm), perm)
    counts = np.empty_like(in_postorder)
    counts[post] = in_postorder
    return renumber(above, inverse_permutation(post), post), post, counts


def pattern_of_factor(indptr, indices, perm):
    """Exact pattern of L by column (indptr, indices) for the given permutation itself."""
    parent, _, counts = tree_in_order(indptr, indices, perm)
    starts, members, _ = permuted_triangle(indptr, indices, inverse_permutation(perm))
    return factor_pattern(parent, starts, members, counts)
