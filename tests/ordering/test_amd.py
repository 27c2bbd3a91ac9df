"""The ordering is a permutation with the fill that AMD has in the literature."""

import numpy as np
import pytest
import scipy.sparse as sp
from helpers import matrix_names, shared_matrix
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsechol.ordering import adjacency
from sparsechol.ordering.amd import amd
from sparsechol.symbolic.patterns import lower_pattern


def order(A):
    A = sp.csc_array(A)
    indptr, indices = lower_pattern(A.indptr.astype(np.int64), A.indices, True)
    return amd(*adjacency(indptr, indices))


def is_permutation(perm, n):
    return np.array_equal(np.sort(perm), np.arange(n))


def column_counts(A, perm):
    """Entries in the columns of L by elimination with Python sets."""
    A = sp.csr_array(A)
    place = np.empty_like(perm)
    place[perm] = np.arange(len(perm))
    below = [set() for _ in perm]
    for i in range(len(perm)):
        for j in A.indices[A.indptr[i] : A.indptr[i + 1]]:
            low, high = sorted((place[i], place[j]))
            if low != high:
                below[low].add(high)
    for rows in below:
        if rows:
            parent = min(rows)
            below[parent] |= rows - {parent}
    return np.array([len(rows) + 1 for rows in below], dtype=float)


def star(n):
    A = sp.lil_array((n, n))
    A[0, :] = A[:, 0] = 1
    return A


# Entries of L and sum of squared column counts with AMD, from the SuiteSparse matrix index.
PUBLISHED = {
    "1138_bus": (3265, 10949),
    "bcsstk01": (489, 6009),
    "bcsstk04": (3293, 90567),
    "bcsstk14": (109078, 9139240),
    "bcsstk16": (812183, 186418497),
    "bloweybq": (39996, 159968),
    "nos4": (632, 4438),
    "s3rmt3m3": (438361, 56971971),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_fill_is_that_of_the_literature(name):
    if name not in matrix_names():
        pytest.skip("no folder of shared matrices")
    A = shared_matrix(name)
    counts = column_counts(A, order(A))
    entries, flops = PUBLISHED[name]
    assert counts.sum() == pytest.approx(entries, rel=0.02)
    assert (counts**2).sum() == pytest.approx(flops, rel=0.05)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(
    n=st.integers(0, 60),
    density=st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]),
    hubs=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
def test_random_graphs_give_permutations(n, density, hubs, seed):
    rng = np.random.default_rng(seed)
    A = rng.random((n, n)) < density
    A[: min(hubs, n)] = True
    assert is_permutation(order(A | A.T), n)


@pytest.mark.parametrize("n", [0, 1, 2, 500])
def test_no_edges(n):
    assert is_permutation(order(sp.eye_array(n)), n)


@pytest.mark.parametrize("n", [3, 40, 2000])
def test_a_tree_has_no_fill(n):
    for A in (sp.diags_array([[1.0], [1.0]], offsets=[-1, 1], shape=(n, n)), star(n)):
        perm = order(A)
        assert is_permutation(perm, n)
        assert column_counts(A, perm).sum() == 2 * n - 1


def test_complete_graph():
    assert is_permutation(order(np.ones((70, 70))), 70)


def test_dense_rows_come_last():
    n, dense = 2000, [5, 700, 1999]
    A = sp.diags_array([[1.0], [1.0]], offsets=[-1, 1], shape=(n, n)).tolil()
    for row in dense:
        A[row, :] = A[:, row] = 1
    perm = order(A)
    assert sorted(perm[-3:]) == dense
    assert column_counts(A, perm).sum() <= 2 * n + 3 * n


def test_disconnected_pieces():
    A = sp.block_diag([sp.coo_array(np.ones((5, 5))), sp.eye_array(3), star(30)])
    perm = order(A)
    assert is_permutation(perm, 38)
    assert column_counts(A, perm).sum() == 15 + 3 + 59


def test_grid_fill_stays_near_the_known_growth():
    """31 n log2(n) / 4 bounds nested dissection's fill; AMD does better on a small grid."""
    k = 60
    path = sp.diags_array([[1.0], [1.0]], offsets=[-1, 1], shape=(k, k))
    A = sp.kronsum(path, path)
    n = k * k
    assert column_counts(A, order(A)).sum() < 31 / 4 * n * np.log2(n)


def test_the_same_graph_gives_the_same_order():
    A = np.random.default_rng(0).random((300, 300)) < 0.02
    assert np.array_equal(order(A | A.T), order(A | A.T))
