"""Orderings are permutations, with the fill that the literature and METIS have."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsechol as sc
from sparsechol._core.ordering import choose as orderings
from sparsechol._core.ordering.amd import amd
from sparsechol._core.ordering.choose import REUSES, Candidates, automatic, find_ordering
from sparsechol._core.ordering.compressed import Compressed
from sparsechol._core.ordering.dissection import nested_dissection
from sparsechol._core.ordering.metis import have_metis, metis
from sparsechol._core.symbolic.analysis import elimination
from sparsechol._core.symbolic.patterns import lower_pattern
from support import documents
from support.helpers import matrix_names, shared_matrix

OURS = {"amd": amd, "nested_dissection": nested_dissection}
methods = pytest.mark.parametrize("method", OURS)


def pattern(A):
    A = sp.csc_array(A)
    return lower_pattern(A.indptr.astype(np.int64), A.indices, True)


def permutation(A, method="amd", **options):
    return OURS[method](Compressed(*pattern(A)), **options)


def grid(*sides):
    A = sp.csc_array((1, 1))
    for side in sides:
        path = sp.diags_array([[1.0], [1.0]], offsets=[-1, 1], shape=(side, side))
        A = sp.kronsum(A, path, format="csc")
    return A


def flops(A, perm):
    return elimination(*pattern(A), perm).flops


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
def test_fill_is_that_of_the_literature_or_less(name):
    """Less where rows are twins: they are told from the start what AMD finds out late."""
    if name not in matrix_names():
        pytest.skip("no folder of shared matrices")
    A = shared_matrix(name)
    counts = column_counts(A, permutation(A))
    entries, flops = PUBLISHED[name]
    assert 0.9 * entries < counts.sum() < 1.01 * entries
    assert 0.8 * flops < (counts**2).sum() < 1.02 * flops


@methods
@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    n=st.integers(0, 60),
    density=st.sampled_from([0.0, 0.02, 0.1, 0.3, 1.0]),
    hubs=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
def test_random_graphs_give_permutations(method, n, density, hubs, seed):
    rng = np.random.default_rng(seed)
    A = rng.random((n, n)) < density
    A[: min(hubs, n)] = True
    assert is_permutation(permutation(A | A.T, method), n)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    n=st.integers(201, 1200),
    neighbors=st.floats(0.1, 12),
    copies=st.integers(1, 4),
    hubs=st.integers(0, 3),
    power=st.sampled_from([0.0, 1.0, 3.0]),
    seed=st.integers(0, 2**31),
)
def test_larger_graphs_are_dissected(n, neighbors, copies, hubs, power, seed):
    """Sparse, clustered and skew graphs, with twins and hubs; counts as Python sets count them."""
    rng = np.random.default_rng(seed)
    ends = (n * rng.random((2, int(n * neighbors))) ** (1 + power)).astype(int)
    A = sp.coo_array((np.ones(ends.shape[1]), ends), shape=(n, n)).tolil()
    A[:hubs, :] = 1
    A = sp.kron(sp.csc_array(A + A.T + sp.eye_array(n)), np.ones((copies, copies)), format="csc")
    perm = permutation(A, "nested_dissection", seed=seed)
    assert is_permutation(perm, n * copies)
    assert np.array_equal(perm, permutation(A, "nested_dissection", seed=seed, threads=3))
    if n * copies < 500:
        tree = elimination(*pattern(A), perm)
        assert np.array_equal(tree.counts, column_counts(A, tree.perm))


@methods
@settings(max_examples=60, derandomize=True, deadline=None)
@given(n=st.integers(1, 40), density=st.floats(0, 0.5), seed=st.integers(0, 2**31))
def test_counts_are_those_of_dense_symbolic_elimination(method, n, density, seed):
    A = np.random.default_rng(seed).random((n, n)) < density
    A |= A.T
    tree = elimination(*pattern(A), permutation(A, method))
    filled = A[np.ix_(tree.perm, tree.perm)] | np.eye(n, dtype=bool)
    for k in range(n):
        below = np.flatnonzero(filled[k + 1 :, k]) + k + 1
        filled[np.ix_(below, below)] = True
    assert np.array_equal(tree.counts, np.tril(filled).sum(axis=0))


@methods
@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    n=st.integers(1, 60),
    density=st.floats(0, 0.3),
    copies=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_the_tree_of_the_compressed_graph_is_that_of_the_matrix(method, n, density, copies, seed):
    A = np.random.default_rng(seed).random((n, n)) < density
    A = np.kron(A | A.T | np.eye(n, dtype=bool), np.ones((copies, copies)))
    graph = Compressed(*pattern(A))
    perm = OURS[method](graph)
    whole = elimination(*pattern(A), perm)
    if graph.complete:
        rows, parent, counts = graph.tree(perm)
        assert np.array_equal(counts, column_counts(A, rows))
        assert np.array_equal(parent, whole.parent)
        assert np.array_equal(rows, whole.perm)
    tree, ordering = find_ordering(*pattern(A), method)
    assert (tree.nnz, tree.flops) == (whole.nnz, whole.flops) == ordering.tried[method]


def test_a_graph_without_its_dense_rows_has_no_tree():
    graph = Compressed(*pattern(star(400)))
    assert not graph.complete
    with pytest.raises(ValueError, match="complete graph"):
        graph.tree(amd(graph))
    whole = Compressed(*pattern(grid(5, 5)))
    with pytest.raises(ValueError, match="order of all rows"):
        whole.tree(np.arange(24, dtype=np.int32))
    blocks = np.kron((grid(5, 5) + sp.eye_array(25)).toarray(), np.ones((2, 2)))
    pairs = Compressed(*pattern(blocks))
    assert pairs.vertices == 25
    for perm in (np.arange(50)[::-1] + 1, np.roll(np.arange(50), 1), np.zeros(50)):
        with pytest.raises(ValueError, match="must follow one another"):
            pairs.tree(perm.astype(np.int32))


@methods
@pytest.mark.parametrize("n", [0, 1, 2, 500])
def test_no_edges(method, n):
    assert is_permutation(permutation(sp.eye_array(n), method), n)


@pytest.mark.parametrize("n", [3, 40, 2000])
def test_a_tree_has_no_fill(n):
    for A in (sp.diags_array([[1.0], [1.0]], offsets=[-1, 1], shape=(n, n)), star(n)):
        perm = permutation(A)
        assert is_permutation(perm, n)
        assert column_counts(A, perm).sum() == 2 * n - 1


@pytest.mark.parametrize("copies", [1, 3])
def test_trees_that_hang_from_a_graph_have_no_fill(copies):
    """A row of a tree and its copies, which are twins, have each other below them and a parent."""
    rng, core, n = np.random.default_rng(5), 100, 400
    above = np.array([rng.integers(v) for v in range(core, n)])
    A = sp.lil_array((n, n))
    A[:core, :core] = grid(10, 10)
    A[np.arange(core, n), above] = A[above, np.arange(core, n)] = 1
    A = sp.kron(A + sp.eye_array(n), np.ones((copies, copies)), format="csc")
    perm = permutation(A)
    assert is_permutation(perm, n * copies)
    counts = column_counts(A, perm)[perm >= core * copies]
    expected = np.arange(copies) + 1 + copies
    assert np.array_equal(np.sort(counts), np.repeat(expected, n - core))


@methods
def test_a_long_path(method):
    """A million vertices, no recursion; a piece between two separators has one more entry a row."""
    n = 10**6
    A = sp.diags_array([[1.0], [1.0]], offsets=[-1, 1], shape=(n, n))
    tree = elimination(*pattern(A), permutation(A, method))
    assert is_permutation(tree.perm, n)
    assert tree.nnz <= (2 if method == "amd" else 3) * n


@methods
@pytest.mark.parametrize("n", [70, 1500])
def test_complete_graph(method, n):
    """All rows are twins, or more than 10 sqrt(n) neighbors make them dense."""
    assert is_permutation(permutation(np.ones((n, n)), method), n)


def test_a_graph_without_a_good_separator():
    A = np.random.default_rng(1).random((900, 900)) < 0.2
    A |= A.T
    perm = permutation(A, "nested_dissection")
    assert is_permutation(perm, 900)
    assert flops(A, perm) < 1.1 * flops(A, permutation(A))


@methods
def test_dense_rows_come_last(method):
    n, dense = 2000, [5, 700, 1999]
    A = sp.diags_array([[1.0], [1.0]], offsets=[-1, 1], shape=(n, n)).tolil()
    for row in dense:
        A[row, :] = A[:, row] = 1
    perm = permutation(A, method)
    assert sorted(perm[-3:]) == dense
    assert column_counts(A, perm).sum() <= (2 if method == "amd" else 3) * n + 3 * n


@methods
def test_disconnected_pieces(method):
    A = sp.block_diag([sp.coo_array(np.ones((5, 5))), sp.eye_array(3), star(30)])
    perm = permutation(A, method)
    assert is_permutation(perm, 38)
    assert column_counts(A, perm).sum() == 15 + 3 + 59


def test_pieces_are_not_joined():
    """Many grids are ordered as well as one alone."""
    one = grid(25, 25)
    many = sp.block_diag([one] * 20, format="csc")
    alone = flops(one, permutation(one, "nested_dissection"))
    assert flops(many, permutation(many, "nested_dissection")) < 1.15 * 20 * alone


@methods
def test_grid_fill_stays_near_the_known_growth(method):
    """31 n log2(n) / 4 bounds nested dissection's fill (George 1973); both do better."""
    A = grid(60, 60)
    n = 3600
    assert column_counts(A, permutation(A, method)).sum() < 31 / 4 * n * np.log2(n)


def test_dissection_beats_that_of_george():
    """Cuts through the middle of the longer side, down to single vertices."""

    def middle(block):
        if min(block.shape) <= 1:
            return list(block.ravel())
        if block.shape[0] < block.shape[1]:
            block = block.T
        half = block.shape[0] // 2
        return middle(block[:half]) + middle(block[half + 1 :]) + list(block[half])

    A = grid(100, 100)
    known = np.array(middle(np.arange(10**4).reshape(100, 100)), dtype=np.int32)
    assert flops(A, permutation(A, "nested_dissection")) < 0.75 * flops(A, known)


def test_three_dimensions():
    """A separator of a cube has side^2 vertices; minimum degree is known to do much worse."""
    A = grid(22, 22, 22)
    assert flops(A, permutation(A, "nested_dissection")) < 0.85 * flops(A, permutation(A))


@pytest.mark.slow
@pytest.mark.skipif(not have_metis(), reason="pymetis is not installed")
def test_flops_next_to_those_of_metis():
    """The median of three seeds; METIS has no more luck than that either."""
    problems = {f"grid {sides}": grid(*sides) for sides in ((150, 150), (25, 25, 25), (400, 9))}
    names = [name for name in matrix_names() if shared_matrix(name).shape[0] >= 1000]
    problems |= {name: shared_matrix(name) for name in names}
    ratios = {}
    for name, A in problems.items():
        other = Candidates(*pattern(A), 1).tree("metis").flops
        graph = Compressed(*pattern(A))
        ours = [flops(A, nested_dissection(graph, 2, seed)) for seed in range(3)]
        ratios[name] = np.median(ours) / other
    assert np.exp(np.mean(np.log(list(ratios.values())))) < 1.05, ratios
    assert max(ratios.values()) < 1.25, ratios


def test_the_same_graph_gives_the_same_order():
    A = np.random.default_rng(0).random((300, 300)) < 0.02
    assert np.array_equal(permutation(A | A.T), permutation(A | A.T))
    A = grid(80, 80)
    orders = [permutation(A, "nested_dissection", threads=t) for t in (1, 2, 4)]
    assert np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], orders[2])
    assert not np.array_equal(orders[0], permutation(A, "nested_dissection", seed=1))


def test_analyses_do_not_depend_on_threads():
    A = grid(60, 60)
    assert sc.analyze(A, ordering="nested_dissection", threads=1) == sc.analyze(
        A, ordering="nested_dissection"
    )
    with pytest.raises(ValueError, match="threads"):
        sc.analyze(A, threads=0)


def test_twins_are_one_vertex():
    graph = Compressed(*pattern(sp.kron(grid(30, 30) + sp.eye_array(900), np.ones((3, 3)))))
    assert graph.vertices == 900
    assert graph.entries == 2 * 2 * 30 * 29
    with pytest.raises(ValueError, match="one pattern"):
        graph.__init__(*pattern(np.eye(2)))


def test_best_is_the_least_of_all():
    A = grid(40, 40) + sp.eye_array(1600)
    ordering = sc.analyze(A, ordering="best").ordering
    wanted = {"amd", "nested_dissection", "natural"} | ({"metis"} if have_metis() else set())
    assert set(ordering.tried) == wanted
    least = min(count for _, count in ordering.tried.values())
    assert ordering.tried[ordering.method][1] == least
    for name in OURS:
        S = sc.analyze(A, ordering=name)
        assert ordering.tried[name] == (S.nnz, S.flops)


def test_auto_weighs_what_dissection_costs():
    """One factorization of a small grid does not pay for it, many of them do; a band never."""
    A = grid(100, 100) + 5 * sp.eye_array(10**4)
    assert sc.cholesky(A).pattern.ordering.method == "amd"
    many = sc.analyze(A).ordering
    assert many.method == "nested_dissection"
    assert many.reason == "fewest flops"
    assert set(many.tried) == {"amd", "nested_dissection"}
    band = sp.diags_array([[1.0], [4.0], [1.0]], offsets=[-1, 0, 1], shape=(10**4, 10**4))
    few = sc.analyze(band).ordering
    assert few.method == "amd"
    assert "too few flops" in few.reason
    assert set(few.tried) == {"amd"}


@pytest.mark.parametrize("name", matrix_names())
def test_auto_for_many_is_near_the_best(name):
    """Where another order of ours would leave far fewer flops, there are too few to matter."""
    candidates = Candidates(*pattern(shared_matrix(name)), 1)
    _, chosen = automatic(candidates, REUSES)
    least = min(candidates.tree(method).flops for method in OURS)
    flops = candidates.tree(chosen.method).flops
    assert flops <= least or flops < 200 * max(1, candidates.compressed.entries)


@pytest.mark.parametrize("A", [grid(1), grid(2), np.zeros((3, 3)), star(400)])
@pytest.mark.parametrize("method", ["auto", "best", "amd", "nested_dissection"])
def test_small_and_odd_graphs_through_the_front_door(A, method):
    tree, ordering = find_ordering(*pattern(A), method)
    assert is_permutation(tree.perm, A.shape[0])
    assert ordering.method in ordering.tried


def test_the_graph_that_metis_gets():
    """Both triangles, no diagonal."""
    starts, members = Candidates(*pattern(grid(3) + sp.eye_array(3)), 1).adjacency()
    assert starts.tolist() == [0, 1, 3, 4]
    assert members.tolist() == [1, 0, 2, 1]


def test_a_name_that_is_registered_is_used_and_another_one_refused(monkeypatch):
    """Nothing falls through to another ordering."""
    A = grid(12, 12) + 5 * sp.eye_array(144)
    backwards = np.arange(143, -1, -1, dtype=np.int32)
    method = orderings.Method(lambda candidates: backwards)
    monkeypatch.setitem(orderings.ORDERINGS, "backwards", method)
    S = sc.analyze(A, ordering="backwards")
    assert S.ordering.method == "backwards"
    assert S.flops == elimination(*pattern(A), backwards).flops
    assert sc.analyze(A, ordering=backwards) == S
    assert "backwards" in orderings.methods()
    assert "backwards" in sc.analyze(A, ordering="best").ordering.tried
    monkeypatch.delitem(orderings.ORDERINGS, "backwards")
    with pytest.raises(ValueError, match="ordering must be one of"):
        sc.analyze(A, ordering="backwards")
    with pytest.raises(KeyError):
        Candidates(*pattern(A), 1).permutation("backwards")


@pytest.mark.parametrize("name", orderings.ORDERINGS)
def test_every_registered_name_is_its_own_ordering(name):
    """The table leads from each name to the function of that name."""
    if not orderings.ORDERINGS[name].available():
        pytest.skip("pymetis is not installed")
    A = grid(20, 20)
    candidates = Candidates(*pattern(A), 1)
    known = {
        **{name: permute(candidates.compressed) for name, permute in OURS.items()},
        "natural": np.arange(400),
    }
    if have_metis():
        known["metis"] = metis(*candidates.adjacency())
    assert np.array_equal(candidates.permutation(name), known[name])


def test_the_document_says_what_is_printed():
    assert documents.run(documents.blocks_of("orderings.md")) == 1
