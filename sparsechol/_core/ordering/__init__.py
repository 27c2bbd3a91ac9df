"""Fill-reducing orderings: minimum degree, nested dissection, METIS; `order` picks one.

All work on a graph in which rows with the same neighbors are one vertex (`compressed`).
"""

from typing import NamedTuple

import numpy as np

from ..symbolic.analysis import Tree, elimination
from ..symbolic.patterns import symmetric_pattern
from .amd import amd
from .compressed import Compressed
from .dissection import nested_dissection
from .metis import have_metis, metis

METHODS = ("auto", "best", "amd", "nested_dissection", "metis", "natural")

# Those that order the vertices of the compressed graph.
OF_VERTICES = ("amd", "nested_dissection")

# What "auto" counts with, in nanoseconds: nested dissection takes so much for an entry of the
# compressed graph (measured: 0.2 to 0.8 us), and a factorization so much for a flop.
DISSECTION_ENTRY = 500.0
FLOP = 0.035
# The part of the flops of minimum degree that dissection is hoped to save (measured: up to 0.7).
SAVED = 0.4
# Factorizations that an analysis is made for, unless it is for one.
REUSES = 500


class Ordering(NamedTuple):
    """What was chosen, and why.

    Attributes
    ----------
    method : str
        'amd', 'nested_dissection', 'metis', 'natural' or 'given'.
    reason : str
        Why it was chosen.
    tried : dict
        (entries of L, sum of squared column counts) of each ordering that was tried.
    """

    method: str
    reason: str
    tried: dict[str, tuple[int, float]]


class Orders:
    """The orderings of a lower pattern, each made when it is asked for."""

    def __init__(self, indptr, indices, threads):
        self.indptr, self.indices, self.threads = indptr, indices, threads
        self.graph = None
        self.trees: dict[str, Tree] = {}

    def compressed(self) -> Compressed:
        if self.graph is None:
            self.graph = Compressed(self.indptr, self.indices)
        return self.graph

    def permutation(self, method):
        """The permutation of a method."""
        if method == "natural":
            return np.arange(self.indptr.shape[0] - 1, dtype=np.int32)
        if method == "metis":
            return metis(*adjacency(self.indptr, self.indices))
        if method == "amd":
            return amd(self.compressed())
        return nested_dissection(self.compressed(), self.threads)

    def tree(self, method) -> Tree:
        """Elimination tree and counts of a method, in postorder."""
        if method not in self.trees:
            perm = self.permutation(method)
            if method in OF_VERTICES and self.compressed().complete:
                self.trees[method] = Tree(*self.compressed().tree(perm))
            else:
                self.trees[method] = elimination(self.indptr, self.indices, perm)
        return self.trees[method]

    def pick(self, method, reason) -> tuple[Tree, Ordering]:
        """The tree of a method, as the one that was chosen."""
        tree = self.tree(method)
        tried = {name: (tree.nnz, tree.flops) for name, tree in self.trees.items()}
        return tree, Ordering(method, reason, tried)

    def least(self, *methods) -> tuple[Tree, Ordering]:
        """The tree with the fewest flops."""
        return self.pick(min(methods, key=lambda name: self.tree(name).flops), "fewest flops")


def order(indptr, indices, method, reuse=True, threads=1) -> tuple[Tree, Ordering]:
    """Order a lower pattern.

    Parameters
    ----------
    indptr, indices : lower triangle by column, sorted, with the diagonal.
    method : str or array_like
        One of `METHODS`, or a permutation.
    reuse : bool, optional
        Whether 'auto' may expect many factorizations, or one.
    threads : int, optional
        Most threads that nested dissection uses; the order does not depend on them.

    Returns
    -------
    tree : Tree
        Elimination tree and counts in postorder.
    ordering : Ordering
    """
    n = indptr.shape[0] - 1
    if not isinstance(method, str):
        tree = elimination(indptr, indices, given_permutation(method, n))
        return tree, Ordering("given", "permutation given", {"given": (tree.nnz, tree.flops)})
    if method not in METHODS:
        raise ValueError(f"order must be one of {METHODS} or a permutation, not {method!r}")
    orders = Orders(indptr, indices, threads)
    if method == "auto":
        return automatic(orders, REUSES if reuse else 1)
    if method == "best":
        metis_too = ("metis",) if have_metis() else ()
        return orders.least("amd", "nested_dissection", "natural", *metis_too)
    return orders.pick(method, "asked for")


def automatic(orders, uses) -> tuple[Tree, Ordering]:
    """Minimum degree, or nested dissection where it may pay for itself and is better.

    METIS is not tried: it takes longer than dissection here and leaves as many flops or more.
    """
    flops = orders.tree("amd").flops
    if SAVED * flops * FLOP * uses < DISSECTION_ENTRY * orders.compressed().entries:
        return orders.pick("amd", "too few flops for nested dissection to pay")
    return orders.least("amd", "nested_dissection")


def adjacency(indptr, indices):
    """Both triangles of a lower pattern without the diagonal, by column, sorted."""
    starts, members, _ = symmetric_pattern(indptr, indices)
    n = starts.shape[0] - 1
    off_diagonal = members != np.repeat(np.arange(n, dtype=np.int32), np.diff(starts))
    return starts - np.arange(n + 1), members[off_diagonal]


def given_permutation(perm, n):
    """A user's permutation, checked."""
    perm = np.asarray(perm)
    if perm.shape != (n,) or (n and perm.dtype.kind not in "iu"):
        raise ValueError(
            f"order must be a permutation of {n} integers, not {perm.dtype} of shape {perm.shape}"
        )
    outside = np.flatnonzero((perm < 0) | (perm >= n))
    if outside.size:
        raise ValueError(f"order[{outside[0]}] = {perm[outside[0]]} is outside 0 .. {n - 1}")
    twice = np.flatnonzero(np.bincount(perm.astype(np.intp), minlength=n) > 1)
    if twice.size:
        raise ValueError(f"order is not a permutation: {twice[0]} stands in it more than once")
    return perm.astype(np.int32)
