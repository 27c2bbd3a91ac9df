"""Patterns made from patterns, against dense boolean arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsechol._core.symbolic.analysis import pattern_of_factor
from sparsechol._core.symbolic.etree import permuted_triangle
from sparsechol._core.symbolic.patterns import factor_pattern, lower_pattern, symmetric_pattern
from support.helpers import SETTINGS, eliminate, lists, naive_etree, packed_pattern, patterns


def compressed_with_noise(rng, B, index, repeat):
    """Columns of B with their rows shuffled and some of them repeated."""
    columns = []
    for j in range(B.shape[0]):
        rows = np.flatnonzero(B[:, j])
        if repeat and rows.size:
            rows = np.concatenate([rows, rng.choice(rows, rows.size)])
        columns.append(rng.permutation(rows))
    starts = np.cumsum([0, *map(len, columns)]).astype(np.int64)
    return starts, np.concatenate([*columns, []]).astype(index)


@SETTINGS
@given(patterns(), st.integers(0, 1000), st.sampled_from([np.int32, np.int64]), st.booleans(),
       st.booleans(), st.booleans())  # fmt: skip
def test_lower_pattern_sorts_merges_and_completes_the_diagonal(
    B, seed, index, repeat, major_is_column, keep_diagonal
):
    rng = np.random.default_rng(seed)
    # An unsymmetric pattern: only the lower triangle may count.
    B = B & (rng.random(B.shape) < 0.7)
    if not keep_diagonal:
        np.fill_diagonal(B, False)
    starts, minors = compressed_with_noise(rng, B if major_is_column else B.T, index, repeat)
    indptr, indices = lower_pattern(starts, minors, major_is_column)
    expected = packed_pattern(B | np.eye(B.shape[0], dtype=bool))
    assert indptr.dtype == np.int64
    assert indices.dtype == np.int32
    assert np.array_equal(indptr, expected[0])
    assert np.array_equal(indices, expected[1])


@SETTINGS
@given(patterns())
def test_symmetric_pattern_mirrors_every_entry(B):
    indptr, indices = packed_pattern(B)
    starts, members, sources = symmetric_pattern(indptr, indices)
    columns = np.repeat(np.arange(B.shape[0]), np.diff(indptr))
    for j, rows in enumerate(lists(starts, members)):
        assert rows == np.flatnonzero(B[:, j]).tolist()
        for row, source in zip(rows, sources[starts[j] : starts[j + 1]], strict=True):
            assert (source < 0) == (row < j)
            p = source if source >= 0 else ~source
            assert (indices[p], columns[p]) == (max(row, j), min(row, j))


@SETTINGS
@given(patterns())
def test_factor_pattern_equals_dense_elimination(B):
    L = eliminate(B)
    identity = np.arange(B.shape[0], dtype=np.int32)
    starts, members, _ = permuted_triangle(*packed_pattern(B), identity)
    indptr, indices = factor_pattern(
        naive_etree(L).astype(np.int32), starts, members, L.sum(axis=0).astype(np.int64)
    )
    expected = packed_pattern(L)
    assert np.array_equal(indptr, expected[0])
    assert np.array_equal(indices, expected[1])


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_factor_pattern_is_that_of_the_given_permutation_not_of_its_postorder(B, seed):
    perm = np.random.default_rng(seed).permutation(B.shape[0]).astype(np.int32)
    indptr, indices = pattern_of_factor(*packed_pattern(B), perm)
    expected = packed_pattern(eliminate(B[np.ix_(perm, perm)]))
    assert np.array_equal(indptr, expected[0])
    assert np.array_equal(indices, expected[1])


@pytest.mark.parametrize("n", [0, 1])
def test_orders_zero_and_one(n):
    starts, minors = np.zeros(n + 1, dtype=np.int64), np.empty(0, dtype=np.int32)
    indptr, indices = lower_pattern(starts, minors, True)
    assert indptr.tolist() == list(range(n + 1))
    assert indices.tolist() == list(range(n))
    starts, members, sources = symmetric_pattern(indptr, indices)
    assert starts.tolist() == list(range(n + 1))
    assert members.tolist() == sources.tolist() == list(range(n))
