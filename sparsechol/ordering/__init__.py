"""Fill-reducing orderings: `order` picks one."""

from typing import NamedTuple

import numpy as np

from ..symbolic.analysis import Tree, elimination
from ..symbolic.patterns import symmetric_pattern
from .amd import amd
from .metis import have_metis, metis

METHODS = ("auto", "amd", "metis", "natural")

# METIS takes about 1.5 us for an entry of A; at best it halves the flops that AMD leaves. With
# more flops than this for an entry of A, some 25 factorisations at 20 GF/s pay for it.
METIS_FLOPS_PER_ENTRY = 2500


class Ordering(NamedTuple):
    """What was chosen, and why.

    Attributes
    ----------
    method : str
        'amd', 'metis', 'natural' or 'given'.
    reason : str
        Why it was chosen.
    tried : dict
        (entries of L, sum of squared column counts) of each ordering that was tried.
    """

    method: str
    reason: str
    tried: dict[str, tuple[int, float]]


def order(indptr, indices, method) -> tuple[Tree, Ordering]:
    """Order a lower pattern.

    Parameters
    ----------
    indptr, indices : lower triangle by column, sorted, with the diagonal.
    method : str or array_like
        One of `METHODS`, or a permutation.

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
    if method != "auto":
        tree = elimination(indptr, indices, PERMUTATIONS[method](indptr, indices))
        return tree, Ordering(method, "asked for", {method: (tree.nnz, tree.flops)})
    tree = elimination(indptr, indices, PERMUTATIONS["amd"](indptr, indices))
    tried = {"amd": (tree.nnz, tree.flops)}
    entries = 2 * indices.shape[0] - n
    if tree.flops < METIS_FLOPS_PER_ENTRY * entries:
        return tree, Ordering("amd", "too few flops for METIS to pay", tried)
    if not have_metis():
        return tree, Ordering("amd", "pymetis is not installed", tried)
    other = elimination(indptr, indices, PERMUTATIONS["metis"](indptr, indices))
    tried["metis"] = (other.nnz, other.flops)
    if other.flops < tree.flops:
        return other, Ordering("metis", "fewest flops", tried)
    return tree, Ordering("amd", "fewest flops", tried)


def adjacency(indptr, indices):
    """Both triangles of a lower pattern without the diagonal, by column, sorted."""
    starts, members, _ = symmetric_pattern(indptr, indices)
    n = starts.shape[0] - 1
    off_diagonal = members != np.repeat(np.arange(n, dtype=np.int32), np.diff(starts))
    return starts - np.arange(n + 1), members[off_diagonal]


def natural(indptr, indices):
    """The identity."""
    return np.arange(indptr.shape[0] - 1, dtype=np.int32)


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


PERMUTATIONS = {
    "natural": natural,
    "amd": lambda indptr, indices: amd(*adjacency(indptr, indices)),
    "metis": lambda indptr, indices: metis(*adjacency(indptr, indices)),
}
