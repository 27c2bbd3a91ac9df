"""Supernodes: the fundamental ones by definition, merged and reordered ones by invariants."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsechol._core.symbolic.analysis import elimination, supernodal_order
from sparsechol._core.symbolic.patterns import lower_pattern
from sparsechol._core.symbolic.supernodes import merged_supernodes, order_supernodes
from support.helpers import SETTINGS, eliminate, laplacian, naive_etree, packed_pattern, patterns


def postordered(B, seed):
    """Tree of a random permutation of B in postorder, and its eliminated pattern."""
    perm = np.random.default_rng(seed).permutation(B.shape[0]).astype(np.int32)
    tree = elimination(*packed_pattern(B), perm)
    return tree, eliminate(B[np.ix_(tree.perm, tree.perm)])


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_fundamental_supernodes_are_the_maximal_runs_of_nested_columns(B, seed):
    tree, L = postordered(B, seed)
    n = L.shape[0]
    first, *_ = merged_supernodes(tree.parent, tree.counts)
    starts = []
    for j in range(n):
        # Column j joins column j - 1 exactly when column j - 1 without its diagonal is column j.
        nested = j > 0 and np.array_equal(L[j:, j - 1], L[j:, j]) and L[j, j - 1]
        if not nested:
            starts.append(j)
    assert first.tolist() == [*starts, n]


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_amalgamation_merges_along_the_tree_only(B, seed):
    tree, _ = postordered(B, seed)
    first, into, above = merged_supernodes(tree.parent, tree.counts)
    supernode = np.repeat(np.arange(len(first) - 1), np.diff(first))
    for s in range(len(into)):
        last = first[s + 1] - 1
        parent = supernode[tree.parent[last]] if tree.parent[last] >= 0 else -1
        assert into[into[s]] == into[s]
        if into[s] == s:
            assert above[s] == (into[parent] if parent >= 0 else -1)
        else:
            # A merged supernode is in the same group as its parent.
            assert into[s] == into[parent]


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_amalgamation_stores_few_zeros(B, seed):
    tree, L = postordered(B, seed)
    places, boundaries, *_ = supernodal_order(tree)
    P = B[np.ix_(places, places)]
    L = eliminate(P)
    assert L.sum() == tree.nnz
    for begin, end in pairwise(boundaries):
        nc = end - begin
        below = np.flatnonzero(L[end:, begin:end].any(axis=1)).size
        stored = nc * (nc + 1) / 2 + nc * below
        # The limit of 35 % holds for each merge that adds zeros, merges that add none included.
        assert stored - L[begin:, begin:end].sum() <= 0.35 * stored + 1e-9


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_supernodal_order_is_an_equivalent_postorder_with_chained_supernodes(B, seed):
    tree, _ = postordered(B, seed)
    places, boundaries, simplicial_root, _ = supernodal_order(tree)
    n = B.shape[0]
    assert sorted(places) == list(range(n))
    assert boundaries[0] == 0
    assert boundaries[-1] == n
    assert (np.diff(boundaries) > 0).all()
    L = eliminate(B[np.ix_(places, places)])
    assert L.sum() == tree.nnz
    assert (L.sum(axis=0).astype(float) ** 2).sum() == tree.flops
    parent = naive_etree(L)
    supernode = np.repeat(np.arange(len(boundaries) - 1), np.diff(boundaries))
    for begin, end in pairwise(boundaries):
        # Whatever leaves the supernode upwards leaves it where the last column does, or higher:
        # all columns but the last have their parent inside.
        for j in range(begin, end - 1):
            assert parent[j] < end
    # Fronts and simplicial subtrees are in postorder: subtrees are contiguous.
    ns = len(boundaries) - 1
    above = [supernode[parent[e - 1]] if parent[e - 1] >= 0 else -1 for e in boundaries[1:]]
    lowest = list(range(ns))
    size = [1] * ns
    for s in range(ns):
        if simplicial_root[s] in (-1, s):
            assert s - lowest[s] + 1 == size[s]
        if above[s] >= 0:
            assert above[s] > s
            lowest[above[s]] = min(lowest[above[s]], lowest[s])
            size[above[s]] += size[s]


def test_dense_matrix_is_one_supernode():
    B = np.ones((30, 30), dtype=bool)
    tree = elimination(*packed_pattern(B), np.arange(30, dtype=np.int32))
    assert merged_supernodes(tree.parent, tree.counts)[0].tolist() == [0, 30]


def test_diagonal_matrix_is_all_roots():
    tree = elimination(*packed_pattern(np.eye(7, dtype=bool)), np.arange(7, dtype=np.int32))
    first, into, above = merged_supernodes(tree.parent, tree.counts)
    assert first.tolist() == list(range(8))
    assert into.tolist() == list(range(7))
    assert above.tolist() == [-1] * 7


@pytest.mark.parametrize("n", [0, 1])
def test_orders_zero_and_one(n):
    parent, counts = np.full(n, -1, dtype=np.int32), np.ones(n, dtype=np.int64)
    assert merged_supernodes(parent, counts)[0].tolist() == list(range(n + 1))
    order, boundaries, simplicial_root, below = order_supernodes(parent, counts)
    assert below.tolist() == [0] * n
    assert len(simplicial_root) == n
    assert order.tolist() == list(range(n))
    assert boundaries.tolist() == list(range(n + 1))


def test_deep_path_and_wide_star_need_no_recursion():
    n = 200_000
    indptr = np.minimum(2 * np.arange(n + 1, dtype=np.int64), 2 * n - 1)
    path = np.repeat(np.arange(n, dtype=np.int32), 2)[1:] if n else None
    tree = elimination(indptr, path, np.arange(n, dtype=np.int32))
    places, boundaries, *_ = supernodal_order(tree)
    assert np.array_equal(np.sort(places), np.arange(n))
    assert boundaries[-1] == n
    star = np.empty(2 * n - 1, dtype=np.int32)
    star[0::2] = np.arange(n)
    star[1::2] = n - 1
    tree = elimination(indptr, star, np.arange(n, dtype=np.int32))
    places, boundaries, *_ = supernodal_order(tree)
    assert np.array_equal(np.sort(places), np.arange(n))
    assert tree.nnz == 2 * n - 1


def test_amalgamation_pays_on_a_grid():
    A = laplacian(20, 20)
    indptr, indices = lower_pattern(A.indptr.astype(np.int64), A.indices, True)
    tree = elimination(indptr, indices, np.arange(400, dtype=np.int32))
    fundamental, *_ = merged_supernodes(tree.parent, tree.counts)
    _, relaxed, *_ = supernodal_order(tree)
    assert len(relaxed) < len(fundamental)


def test_many_small_leaves_under_a_small_block_stand_alone():
    leaves, block = 2000, 20
    rng = np.random.default_rng(4)
    n = leaves + block
    B = np.zeros((n, n), dtype=bool)
    for j in range(leaves):
        B[leaves + rng.choice(block, 3, replace=False), j] = True
    B[leaves:, leaves:] = True
    indptr, indices = packed_pattern(B | B.T | np.eye(n, dtype=bool))
    tree = elimination(indptr, indices, np.arange(n, dtype=np.int32))
    _, boundaries, simplicial_root, _ = supernodal_order(tree)
    # An update matrix for each leaf would take longer than the block without a front.
    assert len(boundaries) == n + 1
    assert (simplicial_root == n - 1).all()
