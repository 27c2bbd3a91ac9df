"""Colorings against their definitions, known numbers of colors, and wrong input."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsechol as sc
from sparsechol.coloring import Coloring, color
from sparsechol.coloring._acyclic import acyclic_coloring, substitute
from sparsechol.coloring._distance2 import distance2_coloring
from sparsechol.coloring._graphs import ORDERS, Columns, Vertices
from sparsechol.coloring._star import star_coloring
from support import coloring_reference as reference
from support.helpers import matrix_names, shared_matrix

KINDS = [
    ("column", "direct"),
    ("row", "direct"),
    ("symmetric", "direct"),
    ("symmetric", "substitution"),
    ("bidirectional", "direct"),
    ("bidirectional", "substitution"),
]
SIZES = st.tuples(st.integers(0, 9), st.integers(0, 9))


def pattern(shape, density, seed, symmetric=False):
    """A dense random matrix with few entries."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal(shape) * (rng.random(shape) < density)
    return np.tril(A) + np.tril(A, -1).T if symmetric else A


def stencil(*shape, diagonal=True):
    """The pattern of differences on a grid."""
    lines = [sp.diags_array([np.ones(k - 1)] * 2, offsets=[-1, 1], shape=(k, k)) for k in shape]
    A = sp.csc_array((1, 1))
    for line in lines:
        A = sp.kron(A, sp.eye_array(line.shape[0])) + sp.kron(sp.eye_array(A.shape[0]), line)
    A = sp.csc_array(A + diagonal * sp.eye_array(A.shape[0]))
    A.eliminate_zeros()
    return A


def band(n, half):
    offsets = range(-half, half + 1)
    return sp.diags_array([np.ones(n - abs(k)) for k in offsets], offsets=list(offsets))


def with_values(P, seed=0, symmetric=False):
    """Random values on a pattern."""
    A = sp.csc_array(P, copy=True).astype(float)
    A.data = np.random.default_rng(seed).standard_normal(A.nnz)
    return sp.csc_array(sp.tril(A) + sp.tril(A, -1).T) if symmetric else A


def error_of(C, A):
    """Largest error of the decompressed products."""
    C.check()
    D = C.decompress(reference.products(C, A))
    assert D.nnz == C.sparsity.nnz
    return np.max(abs((D - A).toarray() if sp.issparse(A) else D.toarray() - A), initial=0)


# ---- all kinds, small patterns ----


@settings(max_examples=150, deadline=None)
@given(
    shape=SIZES,
    density=st.floats(0, 0.9),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(KINDS),
    order=st.sampled_from(["auto", *ORDERS]),
)
def test_products_determine_the_matrix(shape, density, seed, kind, order):
    structure, method = kind
    is_symmetric = structure == "symmetric"
    shape = (shape[0], shape[0]) if is_symmetric else shape
    A = pattern(shape, density, seed, is_symmetric)
    C = color(A, structure, method=method, order=order, budget=0.01)
    tolerance = 0 if method == "direct" else 1e-11
    assert error_of(C, A) <= tolerance
    assert reference.determines(C, A)
    assert C.num_colors >= C.lower_bound
    m, n = shape
    assert C.num_colors <= {"row": m, "bidirectional": m + n}.get(structure, n)


@settings(max_examples=30, deadline=None)
@given(shape=SIZES, density=st.floats(0, 0.9), seed=st.integers(0, 10**6))
def test_two_directions_are_no_worse_than_one(shape, density, seed):
    A = pattern(shape, density, seed)
    both = color(A, "bidirectional", budget=1.0).num_colors
    assert both <= color(A, order="natural").num_colors
    assert both <= color(A, "row", order="natural").num_colors


@settings(max_examples=60, deadline=None)
@given(shape=SIZES, density=st.floats(0, 0.9), seed=st.integers(0, 10**6))
def test_greedy_colors_of_columns(shape, density, seed):
    A = pattern(shape, density, seed)
    order = np.random.default_rng(seed).permutation(shape[1])
    wanted = reference.greedy(reference.near(A != 0), order)
    np.testing.assert_array_equal(color(A, order=order).colors, wanted)
    np.testing.assert_array_equal(color(A.T, "row", order=order).colors, wanted)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 9), density=st.floats(0, 0.9), seed=st.integers(0, 10**6))
@pytest.mark.parametrize(
    ("method", "valid"), [("direct", reference.is_star), ("substitution", reference.is_acyclic)]
)
def test_greedy_colors_of_symmetric_matrices(method, valid, n, density, seed):
    """The smallest color that the definition allows; a whole diagonal needs all colors."""
    A = pattern((n, n), density, seed, True)
    np.fill_diagonal(A, 1)
    adjacent = (A != 0) & ~np.eye(n, dtype=bool)
    order = np.random.default_rng(seed).permutation(n)
    C = color(A, "symmetric", method=method, order=order)
    np.testing.assert_array_equal(C.colors, reference.smallest_valid(adjacent, order, valid))


RING = np.roll(np.eye(4, dtype=bool), 1, 1) | np.roll(np.eye(4, dtype=bool), -1, 1)
DIAGONAL = np.eye(6, dtype=bool)
STAR = np.eye(6, dtype=bool)[0] | np.eye(6, dtype=bool)[:, :1]


@pytest.mark.parametrize(
    ("A", "colors"), [(RING, 2), (STAR, 1), (STAR & ~DIAGONAL, 1), (STAR | DIAGONAL, 2)]
)
def test_columns_whose_entries_are_found_in_others(A, colors):
    """Without a diagonal entry a column need not be in any product."""
    M = with_values(A, symmetric=True)
    C = color(A, "symmetric")
    assert error_of(C, M) == 0
    assert reference.determines(C, M)
    assert C.num_colors == colors
    assert (np.asarray(C.colors) < 0).any() or A.diagonal().all()


@pytest.mark.parametrize(
    ("m", "n", "dense", "density"),
    [(40, 300, 1, 0.02), (60, 200, 3, 0.02), (5, 1500, 2, 0.02), (150, 250, 0, 0.15)],
)
def test_more_than_64_colors(m, n, dense, density):
    """Rows of which the kernel keeps the colors as sets, and rows that it looks through."""
    rng = np.random.default_rng(1)
    for _ in range(3):
        A = rng.random((m, n)) < density
        A[:dense] = rng.random((dense, n)) < 0.8
        order = rng.permutation(n)
        wanted = reference.greedy(reference.near(A), order)
        assert wanted.max() >= 64
        np.testing.assert_array_equal(color(A, order=order).colors, wanted)


# ---- orders ----


@settings(max_examples=60, deadline=None)
@given(shape=SIZES, density=st.floats(0, 0.9), seed=st.integers(0, 10**6), two=st.booleans())
def test_orders(shape, density, seed, two):
    """Each vertex has the degree that its order asks for, among those left or taken."""
    if two:
        A = pattern(shape, density, seed)
        graph, adjacent = Columns(sp.csc_array(A)), reference.near(A != 0)
    else:
        A = pattern((shape[0], shape[0]), density, seed, True)
        np.fill_diagonal(A, 0)
        graph, adjacent = Vertices(sp.csc_array(A), "direct"), A != 0
    rng = np.random.default_rng(0)
    found = {name: graph.order(name, rng) for name in ORDERS}
    for order in found.values():
        np.testing.assert_array_equal(np.sort(order), np.arange(graph.n))
    degrees = adjacent.sum(axis=1)
    wanted = sorted(range(graph.n), key=lambda v: -degrees[v])
    np.testing.assert_array_equal(found["largest_first"], wanted)
    for t in range(graph.n):
        v, before = found["smallest_last"][t], found["smallest_last"][: t + 1]
        within = adjacent[np.ix_(before, before)].sum(axis=1)
        assert adjacent[v, before].sum() == within.min()
        v, left = found["dynamic_largest_first"][t], found["dynamic_largest_first"][t:]
        assert adjacent[v, left].sum() == adjacent[np.ix_(left, left)].sum(axis=1).max()
        for name in ("incidence_degree", "perfect_elimination"):
            taken, left = found[name][:t], found[name][t:]
            most = adjacent[np.ix_(left, taken)].sum(axis=1).max()
            assert adjacent[found[name][t], taken].sum() == most


def test_perfect_elimination_is_optimal_on_chordal_graphs():
    """Rows that are intervals: as many colors as the longest has columns."""
    rng = np.random.default_rng(2)
    for _ in range(20):
        A = np.zeros((40, 50))
        for row in A:
            start = rng.integers(0, 45)
            row[start : start + rng.integers(1, 9)] = 1
        shuffled = A[:, rng.permutation(50)]
        C = color(shuffled, order="perfect_elimination")
        assert C.num_colors == C.lower_bound


def test_random_orders_are_seeded():
    A = with_values(stencil(9, 9))
    first, again = (color(A, order="random", seed=5) for _ in range(2))
    assert first == again
    assert first != color(A, order="random", seed=6)
    assert color(A, budget=100) == color(A, budget=100)


# ---- numbers of colors ----


@pytest.mark.parametrize("half", [1, 2, 5, 10])
@pytest.mark.parametrize("n", [50, 1000])
def test_bands(half, n):
    """2 rho + 1 and rho + 1 colors for rho bands on each side (Coleman and More, 1984)."""
    P = band(n, half)
    for order in ("natural", "auto"):
        assert color(P, "symmetric", order=order, budget=0.1).num_colors == 2 * half + 1
        assert color(P, "symmetric", method="substitution", order=order).num_colors == half + 1
        assert color(P, order=order).num_colors == 2 * half + 1


def brusselator(N):
    """Two species in turn, on a periodic grid."""
    line = sp.diags_array([np.ones(N - 1)] * 2, offsets=[-1, 1]).tolil()
    line[0, N - 1] = line[N - 1, 0] = 1
    eye = sp.eye_array(N)
    A = sp.kron(sp.kron(line, eye) + sp.kron(eye, line), sp.eye_array(2))
    A = sp.csc_array(A + sp.kron(sp.eye_array(N * N), np.ones((2, 2))))
    A.eliminate_zeros()
    return A


@pytest.mark.fast_cases(r"Brusselator 10")
@pytest.mark.parametrize(
    ("P", "most"),
    [
        (stencil(100, 100), 5),
        (brusselator(70), 7),
        (brusselator(10), 10),
        (stencil(22, 22, 22), 8),
        (sp.kron(band(100, 1), band(100, 1)), 9),
    ],
    ids=["Bratu", "Brusselator 70", "Brusselator 10", "7 points", "9 points"],
)
def test_grids(P, most):
    C = color(P)
    assert C.num_colors <= most
    assert error_of(C, with_values(P)) == 0


def test_two_dense_rows_and_columns():
    A = np.zeros((10, 20))
    A[:2] = A[:, :2] = 1
    arrow = np.eye(200)
    arrow[0] = arrow[:, 0] = 1
    for method in ("direct", "substitution"):
        assert color(A, "bidirectional", method=method).num_colors == 4
        assert color(arrow, "bidirectional", method=method).num_colors <= 4
        assert color(arrow, "symmetric", method=method).num_colors == 2


def test_dense_borders_take_no_quadratic_time():
    """Each of n neighbors looks at the colors around a border, not at its n neighbors."""
    n = 100_000
    wide = sp.csc_array((np.ones(5 * n), (np.tile(np.arange(n), 5), np.repeat(np.arange(5), n))))
    wide = sp.hstack([sp.csc_array((n, n - 5)), wide])
    P = sp.csc_array(band(n, 2) + wide + wide.T)
    C = color(P, "symmetric", order="natural")
    assert C.num_colors <= 16
    other = color(P, "symmetric", method="substitution", order="natural")
    assert other.num_colors <= C.num_colors
    x = np.random.default_rng(0).standard_normal(n)
    P.data = x[P.indices] * np.repeat(x, np.diff(P.indptr))
    assert (C.decompress(P @ C.seed()) != P).nnz == 0


@pytest.mark.skipif("bcsstk01" not in matrix_names(), reason="the folder of matrices is not there")
def test_numbers_of_colpack():
    A = shared_matrix("bcsstk01")
    assert color(A, order="natural").num_colors == 15
    assert color(A, order="largest_first").num_colors == 17
    assert color(A, "symmetric", order="natural").num_colors == 12


@pytest.mark.fast_cases(r"ani4|bar|g_power")
@pytest.mark.parametrize("name", [n for n in matrix_names() if shared_matrix(n).nnz < 100_000])
def test_real_matrices(name):
    A = shared_matrix(name)
    for structure, method in KINDS:
        all_candidates = A.nnz < 4000
        C = color(A, structure, method=method, budget=60 if all_candidates else 0.05)
        M = with_values(A, symmetric=structure == "symmetric")
        scale = 1e-9 if method == "substitution" else 0
        assert error_of_sparse(C, M) <= scale * abs(M).max()
        if all_candidates:
            for order in ("natural", "largest_first", "smallest_last"):
                assert C.num_colors <= color(A, structure, method=method, order=order).num_colors


def error_of_sparse(C, M):
    C.check()
    return abs(C.decompress(reference.products(C, M)) - M).max()


def test_rounding_of_substitution():
    """Errors grow with the length of chains at most: those of a path are sums of n terms."""
    M = with_values(band(3000, 1), symmetric=True)
    C = color(M, "symmetric", method="substitution")
    assert C.num_colors == 2
    assert error_of_sparse(C, M) < 1e-12 * 3000


# ---- Coloring ----


def test_formats():
    A = pattern((7, 5), 0.5, 3)
    C = color(A)
    B = A @ C.seed()
    for format in ("csc", "csr", "coo"):
        D = C.decompress(B, format=format)
        assert D.format == format
        np.testing.assert_array_equal(D.toarray(), A)
    for dtype in (np.float32, np.complex64, np.complex128, int):
        D = C.decompress((10 * B).astype(dtype))
        assert D.dtype == (np.float64 if dtype is int else dtype)
        np.testing.assert_array_equal(D.toarray(), (10 * A).astype(dtype))
    assert C.seed(np.float32).dtype == np.float32


@pytest.mark.parametrize("method", ["direct", "substitution"])
def test_values_for_a_factorization(method):
    A = sp.csc_array(stencil(12, 12) * -1.0 + 6 * sp.eye_array(144))
    S = sc.analyze(stencil(12, 12) @ stencil(12, 12))  # has more entries
    C = color(A, "symmetric", method=method)
    for _ in range(2):
        values = C.decompress(A @ C.seed(), format=S)
        np.testing.assert_array_equal(values, S.values(A))
    np.testing.assert_allclose(S.factorize(values).logdet(), sc.logdet(A), rtol=1e-12)
    other = sc.analyze(A)
    np.testing.assert_array_equal(C.decompress(A @ C.seed(), format=other), other.values(A))
    with pytest.raises(sc.PatternMismatchError, match="not on the pattern analyzed"):
        C.decompress(A @ C.seed(), format=sc.analyze(sp.eye_array(144)))
    with pytest.raises(ValueError, match="differ"):
        C.decompress(A @ C.seed(), format=sc.analyze(sp.eye_array(3)))


@pytest.mark.parametrize("kind", KINDS)
def test_files_pickles_and_equality(kind, tmp_path):
    structure, method = kind
    A = pattern((8, 8), 0.4, 5, structure == "symmetric")
    C = color(A, structure, method=method)
    C.save(tmp_path / "coloring.npz")
    for other in (Coloring.load(tmp_path / "coloring.npz"), pickle.loads(pickle.dumps(C))):
        assert other == C
        assert hash(other) == hash(C)
        assert other.lower_bound == C.lower_bound
        assert error_of(other, A) < 1e-12
    assert color(np.eye(8), structure, method=method) != C
    assert C != "coloring"
    assert f"{C.num_colors} colors" in repr(C)


def test_a_file_with_other_colors_is_refused(tmp_path):
    C = color(np.ones((2, 2)))
    Coloring(C.sparsity, "column", "direct", np.zeros(2, np.int32), 1).save(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="is not determined"):
        Coloring.load(tmp_path / "c.npz")


@pytest.mark.parametrize("kind", KINDS)
def test_check_finds_wrong_colors(kind):
    structure, method = kind
    C = color(np.ones((4, 4)), structure, method=method)
    one = np.zeros(4, np.int32)
    none = np.full(4, -1, np.int32)
    for wrong in (one, none, one[:2]):
        colors = (wrong, none[: len(wrong)]) if structure == "bidirectional" else wrong
        with pytest.raises(ValueError, match=r"not determined|color"):
            Coloring(C.sparsity, structure, method, colors, 1).check()


# ---- wrong input ----


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 3), (1, 6), (6, 1), (0, 4), (4, 0)])
@pytest.mark.parametrize("value", [0, 1])
def test_shapes(kind, shape, value):
    structure, method = kind
    if structure == "symmetric" and shape[0] != shape[1]:
        with pytest.raises(ValueError, match="square"):
            color(np.full(shape, value), structure, method=method)
        return
    A = np.full(shape, float(value))
    C = color(A, structure, method=method)
    assert error_of(C, A) < 1e-14
    m, n = shape
    if value and m and n:  # full: every column, or every row, needs a product
        assert C.num_colors == {"row": m, "bidirectional": min(m, n)}.get(structure, n)
    elif structure == "bidirectional":
        assert C.num_colors == 0


def test_explicit_zeros_and_repeated_entries_count_once():
    A = sp.coo_array((np.zeros(4), ([0, 0, 0, 1], [0, 1, 1, 0])), shape=(2, 2))
    C = color(A)
    assert C.sparsity.nnz == 3
    assert C.num_colors == 2


@pytest.mark.parametrize("container", [sp.csr_array, sp.coo_matrix, sp.lil_array, np.asarray])
@pytest.mark.parametrize("dtype", [bool, int, np.float32, complex])
def test_types_of_patterns(container, dtype):
    A = (pattern((6, 6), 0.4, 1) != 0).astype(dtype)
    given = container(A) if container is not np.asarray else A
    assert color(given) == color(A != 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: color(np.eye(3), "diagonal"), "structure must be one of"),
        (lambda: color(np.eye(3), method="substitution"), "'direct' for structure 'column'"),
        (lambda: color(np.eye(3), "symmetric", method="magic"), "method must be one of"),
        (lambda: color(np.eye(3), order="best"), "order must be one of"),
        (lambda: color(np.eye(3), order=[0, 1, 1]), "each of the 3 vertices"),
        (lambda: color(np.eye(3), order=[0, 1]), "each of the 3 vertices"),
        (lambda: color(np.ones(3)), "two dimensions"),
        (lambda: color(np.triu(np.ones((3, 3))), "symmetric"), r"\(1, 0\) and \(0, 1\)"),
        (lambda: color(np.eye(3)).decompress(np.ones((3, 2))), r"\(3, 1\) is needed"),
        (lambda: color(np.eye(3)).decompress(np.ones(3)), r"\(3, 1\) is needed"),
        (lambda: color(np.eye(3), "row").decompress(np.ones((2, 3))), r"\(1, 3\) is needed"),
        (lambda: color(np.eye(3), "bidirectional").decompress([np.ones((3, 1))]), "two arrays"),
        (
            lambda: color(np.eye(3)).decompress(np.ones((3, 1)), format="dense"),
            "format must be one of",
        ),
    ],
)
def test_wrong_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_kernels_refuse_arrays_that_do_not_fit():
    starts, members = np.array([0, 1, 2]), np.array([1, 0], np.int32)
    order, side = np.zeros(1, np.int32), np.zeros(2, np.int8)
    for kernel in (star_coloring, acyclic_coloring):
        with pytest.raises(ValueError, match="one element for each vertex"):
            kernel(starts, members, order, side, 1, 2, False)
    with pytest.raises(ValueError, match="each vertex once"):
        distance2_coloring(starts, members, starts, members, order, 2)
    one, far = np.zeros(1, np.int64), np.full(1, 7)
    x, sums = np.zeros(1), np.zeros(2)
    for place, source, target in [(far, one, one), (one, far, one), (one, one, -far)]:
        with pytest.raises(IndexError):
            substitute(x, place, source, target, x, sums)
    with pytest.raises(ValueError, match="for each edge"):
        substitute(x, one, one, np.zeros(2, np.int64), x, sums)
