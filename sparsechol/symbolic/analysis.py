"""From a permutation to supernodes in the order they are visited, with exact counts."""

from typing import NamedTuple

import numpy as np

from sparsechol.symbolic.etree import (
    below_diagonal,
    column_counts,
    elimination_tree,
    permuted_triangle,
    postorder,
)
from sparsechol.symbolic.patterns import factor_pattern
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
    starts, members, _ = permuted_triangle(indptr, indices, inverse_permutation(perm), upper=True)
    parent = elimination_tree(starts, members)
    post = postorder(parent)
    place = inverse_permutation(post)
    parent = renumber(parent, post, place)
    starts, members = below_diagonal(starts, members, post, place)
    return Tree(perm[post], parent, column_counts(parent, starts, members))


def renumber(parent, order, inverse):
    """Parents of a forest whose node `order[k]` becomes node k."""
    above = parent[order]
    return np.where(above >= 0, inverse[above], np.int32(-1))


def supernodal_order(tree: Tree):
    """Permutation, first columns of relaxed supernodes and their regions (see supernodes)."""
    first = fundamental_supernodes(tree.parent, tree.counts)
    into, above = amalgamate(first, tree.parent, tree.counts)
    simple = find_regions(first, into, above, tree.counts)
    order, boundaries, region = visiting_order(first, into, above, tree.counts, simple)
    return tree.perm[order], boundaries, region


def pattern_of_factor(indptr, indices, perm):
    """Exact pattern of L by column (indptr, indices) for the given permutation itself."""
    inverse = inverse_permutation(perm)
    tree = elimination(indptr, indices, perm)
    counts = np.empty_like(tree.counts)
    counts[inverse[tree.perm]] = tree.counts
    starts, members, _ = permuted_triangle(indptr, indices, inverse, upper=True)
    return factor_pattern(elimination_tree(starts, members), starts, members, counts)
