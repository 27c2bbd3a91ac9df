"""Sets of inputs against dense boolean matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sparsechol._sparsity import propagate
from sparsechol._sparsity.sets import Sets


def dense(sets, ids):
    """Boolean matrix of the elements by the inputs."""
    P = propagate.to_matrix(sets, ids)
    P.sort_indices()
    assert P.has_canonical_format
    return P.toarray().astype(bool)


def some(rng, sets, shape):
    """Random unions of a few inputs, and their boolean matrix."""
    count = int(np.prod(shape))
    table = rng.random((count, sets.n)) < rng.choice([0.0, 0.2, 0.7])
    ids = propagate.apply_matrix(sets, csr_array(table), sets.inputs(-1)).reshape(shape)
    assert np.array_equal(dense(sets, ids), table)
    return ids, table


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng, Sets(draw(st.integers(0, 12))), draw(st.integers(0, 5)), draw(st.integers(0, 6))


@given(cases())
def test_unions(case):
    rng, sets, m, k = case
    (a, A), (b, B) = some(rng, sets, (m, k)), some(rng, sets, (m, k))
    assert np.array_equal(dense(sets, propagate.union(sets, a, b)), A | B)
    row, R = some(rng, sets, (1, k))
    together = dense(sets, propagate.union(sets, a, row)).reshape(m, k, sets.n)
    assert np.array_equal(together, A.reshape(m, k, sets.n) | R.reshape(1, k, sets.n))


@given(cases())
def test_sums(case):
    rng, sets, m, k = case
    ids, A = some(rng, sets, (m, k))
    A = A.reshape(m, k, sets.n)
    assert np.array_equal(dense(sets, propagate.union_along(sets, ids, (1,))), A.any(axis=1))
    assert np.array_equal(dense(sets, propagate.union_along(sets, ids, (0,))), A.any(axis=0))
    for axis in (0, 1):
        ahead = np.logical_or.accumulate(A, axis).reshape(m * k, sets.n)
        assert np.array_equal(dense(sets, propagate.cumulative_union(sets, ids, axis)), ahead)
        back = np.flip(np.logical_or.accumulate(np.flip(A, axis), axis), axis)
        found = dense(sets, propagate.cumulative_union(sets, ids, axis, reverse=True))
        assert np.array_equal(found, back.reshape(m * k, sets.n))
    everything = dense(sets, propagate.union_all(sets, [ids], (2,)))
    assert np.array_equal(everything, np.repeat(A.any(axis=(0, 1))[None], 2, axis=0))


@given(cases())
def test_products(case):
    rng, sets, m, k = case
    ids, A = some(rng, sets, (k,))
    L = rng.random((m, k)) < 0.4
    assert np.array_equal(dense(sets, propagate.apply_matrix(sets, L, ids)), L @ A)
    x, X = some(rng, sets, (m, k))
    zeros = rng.random((k, 3)) < 0.5
    terms = propagate.product_terms(sets, x, None, None, zeros)
    found = dense(sets, propagate.union(sets, *terms, shape=(m, 3)))
    wanted = np.einsum("mkn,kj->mjn", X.reshape(m, k, sets.n), ~zeros)
    assert np.array_equal(found, wanted.reshape(3 * m, sets.n))


@given(cases())
def test_closure_and_components(case):
    rng, sets, _, k = case
    ids, A = some(rng, sets, (k,))
    L = rng.random((k, k)) < 0.3
    reached = np.eye(k, dtype=bool)
    for _ in range(k):
        reached = reached | (L @ reached)
    assert np.array_equal(dense(sets, propagate.closure(sets, L, ids)), reached @ A)
    labels = propagate.connected_components(L)
    same = labels[:, None] == labels
    assert np.array_equal(dense(sets, propagate.union_by_label(sets, labels, ids)), same @ A)


@given(cases(), st.booleans())
def test_loops(case, backwards):
    rng, sets, m, k = case
    carried, C = some(rng, sets, (k,))
    fixed, F = some(rng, sets, (2,))
    steps, S = some(rng, sets, (4, m))
    L = rng.random((k + 3, k + 2 + m)) < 0.4
    last, yields = sets.repeat(*propagate.row_lists(L), carried, fixed, steps, backwards)
    S = S.reshape(4, m, sets.n)
    out = np.zeros((4, 3, sets.n), bool)
    for t in range(4)[:: -1 if backwards else 1]:
        rows = L @ np.concatenate([C, F, S[t]])
        C, out[t] = rows[:k], rows[k:]
    assert np.array_equal(dense(sets, last), C)
    assert np.array_equal(dense(sets, yields), out.reshape(12, sets.n))
    # Loops of any length have at least those entries.
    last, yields = propagate.repeat_to_closure(sets, csr_array(L), carried, fixed, steps)
    assert not (C & ~dense(sets, last)).any()
    assert not (out.reshape(12, sets.n) & ~dense(sets, yields)).any()


@given(cases())
def test_substitution(case):
    rng, sets, _, k = case
    ids, A = some(rng, sets, (k,))
    L = np.tril(rng.random((k, k)) < 0.4, -1)
    solved = sets.substitute(*propagate.row_lists(L), ids)
    wanted = A.copy()
    for r in range(k):
        wanted[r] |= (L[r] @ wanted).astype(bool)
    assert np.array_equal(dense(sets, solved), wanted)


@given(st.integers(0, 2**32 - 1))
def test_substitution_of_sets(seed):
    """Values that depend on older ones, through the sets of another detection."""
    rng = np.random.default_rng(seed)
    sets, versions, more = Sets(5), int(rng.integers(0, 8)), int(rng.integers(0, 3))
    entering, E = some(rng, sets, (3,))
    count, inner = versions + more, Sets(versions + 4)
    columns = rng.permutation([*range(versions + 3), -1]).astype(np.int64)
    older = np.array(
        [rng.integers(-1, min(q, versions) or 1) if q else -1 for q in range(count)], int
    )
    older = np.where(older >= np.arange(count), -1, older)
    may = (columns < np.arange(count)[:, None]) | (columns >= versions)
    table = (rng.random((count, inner.n)) < 0.4) & may
    ids = propagate.apply_matrix(inner, csr_array(table), inner.inputs(-1))
    found = sets.substitute_sets(
        inner, ids, columns, np.arange(count + 1), older, entering, versions
    )
    wanted = np.zeros((count, sets.n), bool)
    for q in range(count):
        for k in [*columns[table[q]], older[q]]:
            if k >= 0:
                wanted[q] |= wanted[k] if k < versions else E[k - versions]
    assert np.array_equal(dense(sets, found), wanted)


def test_later_values_are_refused():
    sets, inner, nothing = Sets(2), Sets(2), np.zeros(0, np.int32)
    lists = (np.zeros(3, np.int64), np.zeros(0, np.int64))
    ids, columns = inner.inputs(-1), np.arange(2)
    with pytest.raises(ValueError, match="later"):
        sets.substitute_sets(inner, ids[::-1].copy(), columns, *lists, nothing, 2)
    with pytest.raises(ValueError, match="no such value"):
        sets.substitute_sets(inner, ids, columns + 1, *lists, nothing, 2)
    with pytest.raises(ValueError, match="columns"):
        sets.substitute_sets(inner, ids, columns[:1], *lists, nothing, 2)
    lists = (np.array([0, 1, 1]), lists[1])
    with pytest.raises(ValueError, match="lists"):
        sets.substitute_sets(inner, ids, columns, *lists, nothing, 2)


def test_rows_with_the_same_members_share_their_unions():
    sets = Sets(64)
    ids = propagate.apply_matrix(sets, np.ones((500, 64)), sets.inputs((64,)))
    assert len(np.unique(ids)) == 1
    assert len(sets) == 1 + 64 + 63


def test_many_sets():
    n = 3000
    sets = Sets(n)
    prefix = propagate.cumulative_union(sets, sets.inputs((n,)), 0)
    assert propagate.to_matrix(sets, prefix).nnz == n * (n + 1) // 2


@pytest.mark.slow
def test_too_many_entries_are_an_error_before_memory_is_full():
    n = 40_000
    sets = Sets(n)
    row = propagate.union_along(sets, sets.inputs((1, n)), (1,))
    column = propagate.union(sets, np.broadcast_to(row, n), sets.inputs((n,))[::-1])
    with pytest.raises(OverflowError, match="is not sparse"):
        propagate.to_matrix(sets, np.repeat(column[:1], n))


def test_what_is_no_set_is_refused():
    sets = Sets(3)
    good = sets.inputs((3,))
    for bad in (np.array([4], np.int32), np.array([-1], np.int32)):
        with pytest.raises(ValueError, match="no such set"):
            sets.union(bad, bad)
        with pytest.raises(ValueError, match="no such set"):
            sets.rows(bad)
    starts, members = np.array([0, 1]), np.array([3], np.int32)
    with pytest.raises(ValueError, match="3 columns"):
        sets.apply(starts, members, good[None])
    with pytest.raises(ValueError, match="3 columns"):
        sets.apply(np.array([0, 5]), np.array([1], np.int32), good[None])
    with pytest.raises(ValueError, match="arrays of"):
        sets.union(good, good[:2])
    with pytest.raises(ValueError, match="a row for each"):
        sets.substitute(np.array([0, 0]), members, good)
    with pytest.raises(ValueError, match="too many"):
        Sets(2**31)
