"""Elimination tree, postorder and column counts against elimination on dense boolean arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsechol._core.symbolic.analysis import elimination, tree_in_order
from sparsechol._core.symbolic.etree import (
    inverse_permutation,
    permuted_triangle,
    postorder,
    vertex_tree,
)
from support.helpers import SETTINGS, eliminate, lists, naive_etree, packed_pattern, patterns


def natural(n):
    return np.arange(n, dtype=np.int32)


def tree_of(B):
    return tree_in_order(*packed_pattern(B), natural(len(B)))[0]


def path_lists(n):
    """Neighbors in a path graph: vertices j - 1 and j + 1 of vertex j."""
    starts = np.clip(2 * np.arange(n + 1, dtype=np.int64) - 1, 0, 2 * n - 2)
    members = np.stack([np.arange(1, n), np.arange(n - 1)], axis=1).ravel()
    return starts, members.astype(np.int32)


@SETTINGS
@given(patterns())
def test_etree_is_the_first_row_below_each_diagonal_of_the_eliminated_pattern(B):
    parent = tree_of(B)
    assert parent.dtype == np.int32
    assert parent.tolist() == naive_etree(eliminate(B)).tolist()


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_permuted_triangle_lists_each_entry_of_the_permuted_pattern_once(B, seed):
    n = B.shape[0]
    perm = np.random.default_rng(seed).permutation(n).astype(np.int32)
    indptr, indices = packed_pattern(B)
    starts, members, sources = permuted_triangle(indptr, indices, inverse_permutation(perm))
    triangle = np.triu(B[np.ix_(perm, perm)], 1)
    columns = np.repeat(np.arange(n), np.diff(indptr))
    for j, rows in enumerate(lists(starts, members)):
        assert sorted(rows) == np.flatnonzero(triangle[:, j]).tolist()
        for row, source in zip(rows, sources[starts[j] : starts[j + 1]], strict=True):
            # The lower entry (i, k) of the original must be the one that landed at (row, j);
            # it is complemented where its row has become the smaller place.
            p = source if source >= 0 else ~source
            assert {indices[p], columns[p]} == {perm[row], perm[j]}
            place = inverse_permutation(perm)
            assert (source < 0) == (place[indices[p]] < place[columns[p]])


@SETTINGS
@given(patterns())
def test_postorder_puts_children_before_parents_and_keeps_subtrees_together(B):
    parent = naive_etree(eliminate(B)).astype(np.int32)
    n = len(parent)
    order = postorder(parent)
    assert sorted(order) == list(range(n))
    place = np.empty(n, dtype=int)
    place[order] = np.arange(n)
    size = np.ones(n, dtype=int)
    first = place.copy()
    for j in range(n):
        if parent[j] >= 0:
            assert place[parent[j]] > place[j]
            size[parent[j]] += size[j]
            first[parent[j]] = min(first[parent[j]], first[j])
    # A subtree of k nodes fills k consecutive places that end with its root.
    assert np.array_equal(place - first + 1, size)


def test_postorder_visits_children_and_roots_in_ascending_order():
    #        5        6
    #      / | \
    #     0  3  4
    #       / \
    #      1   2
    parent = np.array([5, 3, 3, 5, 5, -1, -1], dtype=np.int32)
    assert postorder(parent).tolist() == [0, 1, 2, 3, 4, 5, 6]
    parent = np.array([4, 3, 4, 5, 5, -1], dtype=np.int32)
    assert postorder(parent).tolist() == [1, 3, 0, 2, 4, 5]


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_column_counts_of_any_permutation_equal_those_of_elimination(B, seed):
    perm = np.random.default_rng(seed).permutation(B.shape[0]).astype(np.int32)
    tree = elimination(*packed_pattern(B), perm)
    P = tree.perm
    L = eliminate(B[np.ix_(P, P)])
    assert tree.counts.tolist() == L.sum(axis=0).tolist()
    assert tree.parent.tolist() == naive_etree(L).tolist()
    assert tree.nnz == L.sum()
    assert tree.flops == (L.sum(axis=0) ** 2).sum()
    # A postorder changes neither fill nor arithmetic of the permutation that was asked for.
    asked = eliminate(B[np.ix_(perm, perm)])
    assert (tree.nnz, tree.flops) == (asked.sum(), (asked.sum(axis=0) ** 2).sum())


@pytest.mark.parametrize("n", [0, 1])
def test_orders_zero_and_one(n):
    starts, members = np.zeros(n + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    weight = np.full(n, 3, dtype=np.int32)
    post, parent, counts, weight = vertex_tree(starts, members, weight, natural(n))
    assert post.tolist() == list(range(n))
    assert parent.tolist() == [-1] * n
    assert counts.tolist() == weight.tolist() == [3] * n


def test_deep_path_needs_no_recursion():
    n = 200_000
    starts, members = path_lists(n)
    post, parent, counts, _ = vertex_tree(starts, members, np.ones(n, dtype=np.int32), natural(n))
    assert np.array_equal(post, np.arange(n))
    assert np.array_equal(parent, np.append(np.arange(1, n), -1))
    assert np.array_equal(counts, np.append(np.full(n - 1, 2), 1))


def test_star_with_its_centre_last_has_no_fill_and_with_its_centre_first_is_dense():
    n = 50
    B = np.eye(n, dtype=bool)
    B[-1] = B[:, -1] = True
    natural = elimination(*packed_pattern(B), np.arange(n, dtype=np.int32))
    assert natural.nnz == 2 * n - 1
    backwards = elimination(*packed_pattern(B), np.arange(n, dtype=np.int32)[::-1].copy())
    assert backwards.nnz == n * (n + 1) // 2


def test_forest_keeps_every_root():
    B = np.zeros((9, 9), dtype=bool)
    for k in range(0, 9, 3):
        B[k : k + 3, k : k + 3] = True
    parent = tree_of(B)
    assert parent.tolist() == [1, 2, -1, 4, 5, -1, 7, 8, -1]
