"""The analysis of congruences: every row once, every entry once, groups of equal rows."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from sparsechol._core.symbolic import congruence
from sparsechol._core.symbolic.congruence import plan_congruence, ranges
from support.helpers import SETTINGS


def columns_of(plan, u):
    return plan.unit_columns[plan.column_start[u] : plan.column_start[u + 1]]


@SETTINGS
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]), st.booleans())
def test_plan(seed, block, repeated):
    rng = np.random.default_rng(seed)
    m, n = block * int(rng.integers(0, 9)), int(rng.integers(0, 9))
    dense = rng.random((m, n)) < rng.random()
    if repeated and m:
        dense = dense[rng.integers(0, min(m, 3), m)]
    A = sp.csr_array(dense.astype(float))
    plan = plan_congruence(A.indptr, A.indices, n, block)
    assert np.array_equal(np.sort(plan.row_order), np.arange(m))
    assert plan.unit_task[0] == 0
    assert plan.unit_task[-1] == len(plan.unit_start) - 1
    assert plan.column_task[-1] == n
    found = []
    for u in range(len(plan.unit_start) - 1):
        rows = plan.row_order[plan.unit_start[u] : plan.unit_start[u + 1]]
        assert len(rows) % block == 0
        columns = columns_of(plan, u)
        for first in range(0, len(rows), block):
            union = np.flatnonzero(dense[rows[first : first + block]].any(axis=0))
            assert np.array_equal(union, columns)
        size = plan.square_start[u + 1] - plan.square_start[u]
        assert size in (0, len(columns) ** 2)
        assert size or len(rows) == 1 or not len(columns)
    for j in range(n):
        for q in range(plan.incidence_start[j], plan.incidence_start[j + 1]):
            place, before = plan.incidence_column[q], plan.incidence_local[q]
            tail = plan.incidence_tail[q]
            u = np.searchsorted(plan.column_start, place, side="right") - 1
            assert plan.unit_columns[place] == j
            assert place - before == plan.column_start[u]
            assert before + (tail if tail > 0 else ~tail) == len(columns_of(plan, u))
            at = plan.square_start[u] + before * (len(columns_of(plan, u)) + 1)
            if tail > 0:
                at = plan.row_start[plan.row_order[plan.unit_start[u]]] + before
                assert A.indices[at] == j
            assert plan.incidence_at[q] == at
            found.append((u, j))
    assert len(set(found)) == len(found) == len(plan.unit_columns)


def test_long_groups_are_cut(monkeypatch):
    monkeypatch.setattr(congruence, "CHUNK", 4)
    A = sp.csr_array(np.ones((10, 3)))
    plan = plan_congruence(A.indptr, A.indices, 3, 2)
    assert plan.unit_start.tolist() == [0, 4, 8, 10]


def test_equal_sums_of_scrambled_columns_are_compared(monkeypatch):
    """Rows whose columns only seem the same stay apart."""
    A = sp.csr_array(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    real = np.cumsum

    def collide(x, *args, **kwargs):
        return real(np.ones_like(x) if x.dtype == np.uint64 else x, *args, **kwargs)

    monkeypatch.setattr(np, "cumsum", collide)
    plan = plan_congruence(A.indptr, A.indices, 2, 1)
    for u in range(len(plan.unit_start) - 1):
        for row in plan.row_order[plan.unit_start[u] : plan.unit_start[u + 1]]:
            assert columns_of(plan, u).tolist() == [row % 2]


@pytest.mark.parametrize(
    ("starts", "counts", "wanted"), [([5, 0], [2, 3], [5, 6, 0, 1, 2]), ([], [], [])]
)
def test_ranges(starts, counts, wanted):
    assert ranges(np.array(starts, int), np.array(counts, int)).tolist() == wanted
