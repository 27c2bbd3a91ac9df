"""Fill-reducing orderings: minimum degree, nested dissection, METIS; `find_ordering` chooses one.

The table `ORDERINGS` has them all. Minimum degree and nested dissection work on a graph in which
rows with the same neighbors are one vertex (`compressed`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..._cached import cached_property
from ..symbolic.analysis import Tree, elimination
from ..symbolic.patterns import symmetric_pattern
from .amd import amd
from .compressed import Compressed
from .dissection import nested_dissection
from .metis import have_metis, metis

# Times that "auto" weighs, in nanoseconds: of nested dissection for an entry of the compressed
# graph (measured: 0.2 to 0.8 us), and of a whole factorization for each of its flops. `FLOP` in
# symbolic/supernodes.pyx is less: it is the arithmetic of a front alone, beside overheads that are
# terms of their own there and are spread over the flops here.
DISSECTION_ENTRY = 500.0
FACTORIZATION_FLOP = 0.035
# The part of the flops of minimum degree that dissection is hoped to save (measured: up to 0.7).
SAVED = 0.4
# Factorizations that an analysis is made for, unless it is for one.
REUSES = 500


class Ordering(NamedTuple):
    """An ordering that was chosen, and why.

    Attributes
    ----------
    method : str
        'amd', 'nested_dissection', 'metis', 'natural', or 'given' for a user's permutation.
    reason : str
        Why the method was chosen.
    tried : dict
        For each method that was tried the entries of L and its flops, the sum of its squared column
        counts.
    """

    method: str
    reason: str
    tried: dict[str, tuple[int, float]]


class Candidates:
    """The orderings of a lower pattern, each computed when it is asked for.

    Parameters
    ----------
    indptr, indices : lower triangle by column, sorted, with the diagonal.
    threads : most threads that an ordering uses.
    """

    def __init__(self, indptr, indices, threads):
        self.indptr, self.indices, self.threads = indptr, indices, threads
        self.trees: dict[str, Tree] = {}

    @cached_property
    def compressed(self) -> Compressed:
        """The graph without twins and dense rows."""
        return Compressed(self.indptr, self.indices)

    def adjacency(self) -> tuple[np.ndarray, np.ndarray]:
        """Return both triangles without the diagonal, by column, sorted."""
        starts, members, _ = symmetric_pattern(self.indptr, self.indices)
        n = starts.shape[0] - 1
        off_diagonal = members != np.repeat(np.arange(n, dtype=np.int32), np.diff(starts))
        return starts - np.arange(n + 1), members[off_diagonal]

    def permutation(self, name: str) -> np.ndarray:
        """Return the permutation of an ordering."""
        return ORDERINGS[name].permute(self)

    def tree(self, name: str) -> Tree:
        """Return elimination tree and column counts of an ordering, in postorder."""
        if name not in self.trees:
            perm = self.permutation(name)
            if ORDERINGS[name].keeps_vertices and self.compressed.complete:
                self.trees[name] = Tree(*self.compressed.tree(perm))
            else:
                self.trees[name] = elimination(self.indptr, self.indices, perm)
        return self.trees[name]

    def choose(self, name: str, reason: str) -> tuple[Tree, Ordering]:
        """Return the tree of an ordering, and the reason why it was chosen."""
        tree = self.tree(name)
        tried = {name: (tree.nnz, tree.flops) for name, tree in self.trees.items()}
        return tree, Ordering(name, reason, tried)

    def best_of(self, *names: str) -> tuple[Tree, Ordering]:
        """Return the tree with the fewest flops."""
        return self.choose(min(names, key=lambda name: self.tree(name).flops), "fewest flops")


@dataclass(frozen=True)
class Method:
    """How to compute an ordering.

    Attributes
    ----------
    permute : callable
        ``permute(candidates)`` returns the permutation.
    keeps_vertices : bool
        Whether the rows of each vertex of the compressed graph follow one another in the result.
    available : callable
        ``available()`` says whether "best" can try it here.
    """

    permute: Callable[[Candidates], np.ndarray]
    keeps_vertices: bool = False
    available: Callable[[], bool] = lambda: True


ORDERINGS = {
    "amd": Method(lambda c: amd(c.compressed), keeps_vertices=True),
    "nested_dissection": Method(
        lambda c: nested_dissection(c.compressed, c.threads), keeps_vertices=True
    ),
    "metis": Method(lambda c: metis(*c.adjacency()), available=have_metis),
    "natural": Method(lambda c: np.arange(c.indptr.shape[0] - 1, dtype=np.int32)),
}


def methods() -> tuple[str, ...]:
    """Return the names that ``ordering=`` may have."""
    return ("auto", "best", *ORDERINGS)


def find_ordering(indptr, indices, ordering, reuse=True, threads=1) -> tuple[Tree, Ordering]:
    """Order a lower pattern.

    Parameters
    ----------
    indptr, indices : lower triangle by column, sorted, with the diagonal.
    ordering : str or array_like
        One of `methods`, or a permutation.
    reuse : bool, optional
        Whether 'auto' may expect many factorizations, or one.
    threads : int, optional
        Most threads that nested dissection uses. The result does not depend on them.

    Returns
    -------
    tree : Tree
        Elimination tree and column counts in postorder.
    ordering : Ordering
        The method that was chosen, and why.
    """
    n = indptr.shape[0] - 1
    if not isinstance(ordering, str):
        tree = elimination(indptr, indices, checked_permutation(ordering, n))
        return tree, Ordering("given", "permutation given", {"given": (tree.nnz, tree.flops)})
    if ordering not in ("auto", *ORDERINGS, "best"):
        raise ValueError(f"ordering must be one of {methods()} or a permutation, not {ordering!r}")
    candidates = Candidates(indptr, indices, threads)
    if ordering == "auto":
        return automatic(candidates, REUSES if reuse else 1)
    if ordering == "best":
        return candidates.best_of(
            *(name for name, method in ORDERINGS.items() if method.available())
        )
    return candidates.choose(ordering, "asked for")


def automatic(candidates: Candidates, uses: int) -> tuple[Tree, Ordering]:
    """Choose minimum degree, or nested dissection if it may pay for itself and is better.

    METIS is not tried: it takes longer than nested dissection here and leaves as many flops or
    more.
    """
    flops = candidates.tree("amd").flops
    hoped = SAVED * flops * FACTORIZATION_FLOP * uses
    if hoped < DISSECTION_ENTRY * candidates.compressed.entries:
        return candidates.choose("amd", "too few flops for nested dissection to pay")
    return candidates.best_of("amd", "nested_dissection")


def checked_permutation(perm, n: int) -> np.ndarray:
    """Return a user's permutation; raise ValueError unless it is one of n rows."""
    if np.ma.is_masked(perm):
        raise ValueError("ordering has masked elements: they are not supported")
    try:
        perm = np.asarray(perm)
    except ValueError:
        raise ValueError("ordering is no array: its parts have different lengths") from None
    if perm.shape != (n,) or (n and perm.dtype.kind not in "iu"):
        raise ValueError(
            f"ordering must be a permutation of {n} integers, not {perm.dtype} of shape"
            f" {perm.shape}"
        )
    outside = np.flatnonzero((perm < 0) | (perm >= n))
    if outside.size:
        raise ValueError(f"ordering[{outside[0]}] = {perm[outside[0]]} is outside 0 .. {n - 1}")
    twice = np.flatnonzero(np.bincount(perm.astype(np.intp), minlength=n) > 1)
    if twice.size:
        raise ValueError(f"ordering is not a permutation: {twice[0]} stands in it more than once")
    return perm.astype(np.int32)
