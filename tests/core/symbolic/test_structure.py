"""Supernodal structure: rows, relative indices and offsets against elimination and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparsechol as sc
from sparsechol._core.symbolic.analysis import elimination, supernodal_order
from sparsechol._core.symbolic.structure import Structure
from support.helpers import SETTINGS, eliminate, laplacian, packed_pattern, patterns


def structure_of(B, seed):
    perm = np.random.default_rng(seed).permutation(B.shape[0]).astype(np.int32)
    indptr, indices = packed_pattern(B)
    places, *supernodes = supernodal_order(elimination(indptr, indices, perm))
    return Structure(indptr, indices, places, *supernodes)


def fronts(structure):
    """Columns and rows below of each supernode."""
    a = structure.arrays
    return [
        (
            np.arange(a["first"][s], a["first"][s + 1]),
            a["rows"][a["row_start"][s] : a["row_start"][s + 1]],
        )
        for s in range(len(a["parent"]))
    ]


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_rows_of_each_supernode_are_the_union_of_its_columns(B, seed):
    structure = structure_of(B, seed)
    perm = structure.arrays["perm"]
    L = eliminate(B[np.ix_(perm, perm)])
    for columns, rows in fronts(structure):
        end = columns[-1] + 1
        expected = end + np.flatnonzero(L[end:, columns].any(axis=1))
        assert rows.tolist() == expected.tolist()


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_relative_indices_find_each_row_in_the_front_of_the_parent(B, seed):
    structure = structure_of(B, seed)
    a = structure.arrays
    front = [np.concatenate(parts) for parts in fronts(structure)]
    for s, (_, rows) in enumerate(fronts(structure)):
        parent = a["parent"][s]
        assert (parent == -1) == (rows.size == 0)
        places = a["relative"][a["place_start"][s] : a["place_start"][s + 1]]
        if a["simplicial_root"][s] not in (-1, s):
            assert places.size == 0  # its products find their own way
        elif rows.size:
            assert front[parent][places].tolist() == rows.tolist()
        if rows.size:
            # The parent is the supernode of the first row below.
            assert rows[0] in fronts(structure)[parent][0]


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_every_entry_of_the_matrix_has_its_place(B, seed):
    structure = structure_of(B, seed)
    a = structure.arrays
    indptr, indices = packed_pattern(B)
    column_of = np.repeat(np.arange(B.shape[0]), np.diff(indptr))
    place = np.argsort(a["perm"])
    used = []
    for columns, rows in fronts(structure):
        front = np.concatenate([columns, rows])
        for j in columns:
            begin, end = a["entry_start"][j], a["entry_start"][j + 1]
            for q in range(begin, end):
                source = a["entry_source"][q]
                p = source if source >= 0 else ~source
                used.append(p)
                i, k = place[indices[p]], place[column_of[p]]
                assert (front[a["entry_row"][q]], j) == (max(i, k), min(i, k))
                assert (source < 0) == (i < k)
            assert front[a["entry_row"][begin]] == j
    assert sorted(used) == list(range(len(indices)))
    assert structure.nnz == len(indices)


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_panels_follow_one_another_and_sizes_add_up(B, seed):
    structure = structure_of(B, seed)
    sizes = [len(columns) * (len(columns) + len(rows)) for columns, rows in fronts(structure)]
    panel = structure.arrays["panel"]
    assert panel.tolist() == np.cumsum([0, *sizes]).tolist()
    assert structure.size == sum(sizes)
    orders = [len(columns) + len(rows) for columns, rows in fronts(structure)]
    assert structure.tallest == max(orders, default=0)
    assert structure.nbytes >= sum(array.nbytes for array in structure.arrays.values())


def simulate(structure, plan, heights):
    """Spans [begin, end) of square matrices as the factorization opens and closes them."""
    a = structure.arrays | plan
    starts, workspace = plan["update"], plan["updates"]
    alive = {}
    peak = 0

    def open_(s):
        span = (int(starts[s]), int(starts[s]) + heights[s] ** 2)
        assert span[1] <= workspace
        if heights[s]:
            for other, (begin, end) in alive.items():
                assert span[1] <= begin or end <= span[0], f"{s} overlaps {other}"
        alive[s] = span

    for s in range(len(a["parent"])):
        if a["simplicial_root"][s] not in (-1, s):
            continue
        if a["leaf"][s]:
            open_(s)
        assert s in alive
        parent = a["parent"][s]
        if a["opens"][s]:
            assert parent not in alive
            open_(parent)
        peak = max(peak, sum(end - begin for begin, end in alive.values()))
        if parent >= 0:
            assert parent in alive
        del alive[s]
    assert not alive
    return peak


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_matrices_alive_at_the_same_time_never_overlap(B, seed):
    structure = structure_of(B, seed)
    updates = [len(rows) for _, rows in fronts(structure)]
    peak = simulate(structure, structure.serial_plan, updates)
    # Two stacks, each no higher than all that is alive at once.
    assert peak <= structure.serial_plan["updates"] <= 2 * peak


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_leaf_and_opens_mark_children(B, seed):
    structure = structure_of(B, seed)
    a = structure.arrays | structure.serial_plan
    children = [np.flatnonzero(a["parent"] == s).tolist() for s in range(len(a["parent"]))]
    front = a["simplicial_root"] == -1
    root = a["simplicial_root"] == np.arange(len(front))
    assert a["leaf"].tolist() == [
        int(root[s] or (front[s] and not children[s])) for s in range(len(front))
    ]
    openers = [c[0] for s, c in enumerate(children) if front[s] and c]
    assert np.flatnonzero(a["opens"]).tolist() == sorted(openers)


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_regions_are_whole_subtrees_of_single_columns(B, seed):
    a = structure_of(B, seed).arrays
    simplicial_root, parent, width = a["simplicial_root"], a["parent"], np.diff(a["first"])
    for s, root in enumerate(simplicial_root):
        if root == -1:
            continue
        assert width[s] == 1
        assert (simplicial_root[s : root + 1] == root).all()
        assert (parent[s] in range(s + 1, root + 1)) == (s != root)
        for child in np.flatnonzero(parent == s):
            assert simplicial_root[child] == root


@SETTINGS
@given(patterns(), st.integers(0, 1000))
def test_every_product_of_a_region_has_its_place(B, seed):
    structure = structure_of(B, seed)
    a = structure.arrays
    simplicial_root, start = a["simplicial_root"], a["target_start"]
    everything = fronts(structure)
    for s, root in enumerate(simplicial_root):
        targets = iter(a["target"][start[s] : start[s + 1]])
        if root >= 0:
            rows = everything[s][1].tolist()
            base = a["panel"][np.flatnonzero(simplicial_root == root)[0]]
            outside = everything[root][1].tolist()
            for j, column in enumerate(rows):
                for row in rows[j:]:
                    if column in outside:
                        place = outside.index(row) + outside.index(column) * len(outside)
                    else:
                        # Columns of a simplicial subtree are supernodes of their own.
                        owner = int(np.searchsorted(a["first"], column))
                        below = [column, *everything[owner][1].tolist()]
                        place = a["panel"][owner] - base + below.index(row)
                    assert next(targets) == place
        assert next(targets, None) is None


def test_tasks_know_the_tasks_below_and_the_rows_beyond():
    structure = sc.analyze(laplacian(90, 90), ordering="amd")._structure
    plan, rows = structure.parallel_plan, [rows for _, rows in fronts(structure)]
    assert structure.tasks > 5
    for t in range(structure.tasks):
        steps = plan["steps"][plan["task_start"][t] : plan["task_start"][t + 1]]
        expected = set().union(*(rows[s].tolist() for s in steps if plan["shared"][s]))
        beyond = plan["beyond"][plan["beyond_start"][t] : plan["beyond_start"][t + 1]]
        assert beyond.tolist() == sorted(expected)
        below, child = [], plan["task_child"][t]
        while child != -1:
            below.append(child)
            child = plan["next_task"][child]
        assert below == np.flatnonzero(plan["task_parent"] == t).tolist()


def test_arrays_are_read_only():
    structure = structure_of(np.ones((4, 4), dtype=bool), 0)
    for array in structure.arrays.values():
        assert not array.flags.writeable


@pytest.mark.parametrize("n", [0, 1])
def test_orders_zero_and_one(n):
    structure = structure_of(np.ones((n, n), dtype=bool), 0)
    assert (structure.nnz, structure.size, structure.tallest) == (n, n, n)
    assert structure.serial_plan["updates"] == 0


def test_deep_path():
    n = 200_000
    indptr = np.minimum(2 * np.arange(n + 1, dtype=np.int64), 2 * n - 1)
    indices = np.repeat(np.arange(n, dtype=np.int32), 2)[1:]
    natural = np.arange(n, dtype=np.int32)
    places, *supernodes = supernodal_order(elimination(indptr, indices, natural))
    structure = Structure(indptr, indices, places, *supernodes)
    # A path is one simplicial subtree: no update matrix, and nothing stored but L.
    assert (structure.arrays["simplicial_root"] == n - 1).all()
    assert structure.serial_plan["updates"] == 0
    assert structure.tallest == 2
    assert structure.size == 2 * n - 1


def test_factor_beyond_64_bits_is_refused_before_anything_is_allocated():
    nothing, places = np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int32)
    first, root = np.array([0, 2**30], dtype=np.int32), np.array([-1], dtype=np.int32)
    below = np.array([2**31 - 1], dtype=np.int64)
    with pytest.raises(OverflowError, match="beyond 64-bit addressing"):
        Structure(nothing, places, places, first, root, below)


@pytest.mark.parametrize("change", [-1, 1])
def test_numbers_of_rows_that_are_not_those_of_the_pattern_are_refused(change):
    indptr, indices = packed_pattern(laplacian(5, 5).toarray() != 0)
    order = np.arange(25, dtype=np.int32)
    places, first, simplicial_root, below = supernodal_order(elimination(indptr, indices, order))
    below = below.copy()
    below[0] += change
    with pytest.raises(ValueError, match="do not belong to this pattern"):
        Structure(indptr, indices, places, first, simplicial_root, below)
