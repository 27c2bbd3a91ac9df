"""Which products `mode="auto"` takes, against the costs of all colorings."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsechol.coloring import _modes as modes
from sparsechol.coloring import color
from sparsechol.coloring._modes import STRUCTURES, cheapest_first, colored_for, cost
from sparsechol.coloring._pattern import entries_of, symmetrized


def forward_products(C):
    """Count products and runs of the function, one and a half for each reverse one."""
    if C.structure == "column":
        return 1 + len(np.unique(C.colors))
    if C.structure == "row":
        return 1.5 * (1 + len(np.unique(C.colors)))
    columns, rows = (len(np.unique(colors[colors >= 0])) for colors in C.colors)
    return 1 + columns + 1.5 * (1 + rows)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    density=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_all_colorings_come_once_and_the_cheapest_first(shape, density, seed):
    A = entries_of(np.random.default_rng(seed).random(shape) < density)
    found = list(cheapest_first(A))
    assert sorted(C.structure for C in found) == ["bidirectional", "column", "row"]
    costs = [forward_products(C) for C in found]
    assert costs == sorted(costs) == [cost(C) for C in found]
    for C in found:
        C.check()
        assert (C.sparsity != A).nnz == 0


@pytest.mark.parametrize(
    ("A", "structure"),
    [
        (np.eye(50), "column"),
        (np.ones((40, 3)), "column"),
        (np.ones((3, 40)), "row"),
        (np.pad(np.eye(49), ((1, 0), (1, 0)), constant_values=1), "bidirectional"),
    ],
)
def test_the_mode_of_known_patterns(A, structure):
    assert next(cheapest_first(entries_of(A))).structure == structure


def test_nothing_is_computed_that_is_not_needed(monkeypatch):
    """A column coloring below the bound of the others ends the search."""
    asked = []
    monkeypatch.setattr(modes, "color", lambda A, s, **k: asked.append(s) or color(A, s, **k))
    diagonal = entries_of(np.eye(50))

    def find_reverse():
        asked.append("reverse pattern")
        return diagonal

    colorings = cheapest_first(diagonal, find_reverse)
    assert next(colorings).structure == "column"
    assert asked == ["column"]
    assert len(list(colorings)) == 2
    assert asked == ["column", "reverse pattern", "row", "bidirectional"]


def test_patterns_of_the_two_directions():
    """Rows are colored by their own pattern, both directions by the union."""
    dense_row = np.ones((1, 30))
    forward, reverse = entries_of(dense_row), entries_of(np.triu(dense_row, 10))
    found = {C.structure: C.sparsity.nnz for C in cheapest_first(forward, lambda: reverse)}
    assert found == {"column": 30, "row": 20, "bidirectional": 30}


def test_without_reverse_products():
    [coloring] = cheapest_first(entries_of(np.ones((1, 30))), lambda: None)
    assert coloring.structure == "column"


@pytest.mark.parametrize("mode", STRUCTURES)
def test_a_mode_that_is_asked_for(mode):
    C = colored_for(mode, entries_of(np.tri(5)))
    assert C.structure == STRUCTURES[mode]
    C.check()


def test_symmetrized_patterns():
    A = sp.random_array((30, 30), density=0.1, random_state=np.random.default_rng(0), format="csc")
    both = symmetrized(entries_of(A))
    np.testing.assert_array_equal(both.toarray(), (A + A.T).toarray() != 0)
    assert both.has_sorted_indices
    assert both.dtype == np.int8
