"""SymbolicFactor and analyze: packed values, counts, orderings, identity, refusals."""

import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import sparsechol as sc
from support.helpers import (
    DTYPES,
    HAVE_METIS,
    ORDERS,
    SETTINGS,
    eliminate,
    laplacian,
    orders,
    packed_pattern,
    patterns,
    random_pattern,
    random_spd,
    random_values,
)

FORMATS = ["csc", "csr", "coo", "bsr", "dia", "lil", "dok"]
SQUARE = np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])


def packed(A):
    """Lower triangle by column of a dense matrix, on its own pattern."""
    indptr, indices = packed_pattern((A != 0) | np.eye(len(A), dtype=bool))
    columns = np.repeat(np.arange(len(A)), np.diff(indptr))
    return A[indices, columns]


# ---- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("container", ["array", "matrix"])
@pytest.mark.parametrize("format", FORMATS)
def test_values_of_every_format(format, container, lower, dtype):
    A = random_spd(np.random.default_rng(7), 12, "random", dtype)
    S = sc.analyze(A)
    # The triangle that is not named holds something else: it must not be read.
    other = np.triu(np.full(A.shape, 99), 1) if lower else np.tril(np.full(A.shape, 99), -1)
    M = getattr(sp, f"{format}_{container}")((np.tril(A) if lower else np.triu(A)) + other)
    values = S.values(M.astype(dtype), lower=lower)
    assert values.dtype == dtype
    assert np.array_equal(values, packed(A))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("format", ["csc", "csr"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("arrangement", ["sorted", "unsorted", "duplicated"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_unsorted_and_repeated_entries(format, index, arrangement, lower, dtype):
    rng = np.random.default_rng(3)
    A = random_spd(rng, 15, "random", dtype)
    row, column = np.nonzero(A)
    data = A[row, column]
    if arrangement == "duplicated":
        # Quarters and three quarters are exact, so that sums are exact too.
        row, column = np.tile(row, 2), np.tile(column, 2)
        data = np.concatenate([data / 4, data - data / 4])
    major, minor = (column, row) if format == "csc" else (row, column)
    shuffle = rng.permutation(len(row)) if arrangement != "sorted" else np.arange(len(row))
    by_major = shuffle[np.argsort(major[shuffle], kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(major, minlength=15))]).astype(index)
    arrays = (data[by_major].astype(dtype), minor[by_major].astype(index), indptr)
    M = getattr(sp, f"{format}_array")(arrays, shape=A.shape)
    M.indices, M.indptr = arrays[1], arrays[2]  # SciPy shortens int64 where it can
    assert M.indices.dtype == index
    before = [array.copy() for array in arrays]
    S = sc.analyze(M, lower=lower)
    values = S.values(M, lower=lower)
    assert np.array_equal(S.indptr, packed_pattern(A != 0)[0])
    assert np.array_equal(S.indices, packed_pattern(A != 0)[1])
    np.testing.assert_allclose(values, packed(A), rtol=4 * np.finfo(dtype).eps)
    sc.analyze(M, lower=lower, check_symmetric=arrangement != "duplicated")
    for array, copy in zip((M.data, M.indices, M.indptr), before, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.parametrize(
    ("given_", "result"),
    [
        (np.int8, np.float64),
        (np.int64, np.float64),
        (np.uint64, np.float64),
        (bool, np.float64),
        (np.float16, np.float32),
        (np.longdouble, np.float64),
        (np.clongdouble, np.complex128),
    ],
)
def test_other_numbers_become_the_nearest_of_the_four_types(given_, result):
    A = np.eye(3).astype(given_)
    values = sc.analyze(A).values(A)
    assert values.dtype == result
    assert values.tolist() == [1, 1, 1]
    assert sc.cholesky(A).dtype == result


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_of_an_asked_dtype(dtype):
    values = sc.analyze(SQUARE).values(SQUARE, dtype=dtype)
    assert values.dtype == dtype
    assert sc.analyze(SQUARE).factorize(values).dtype == dtype


def test_complex_values_are_never_cut_down_to_real_ones():
    S = sc.analyze(SQUARE)
    with pytest.raises(TypeError):
        S.values(SQUARE + 0j, dtype=np.float64)
    with pytest.raises(TypeError):
        S.factorize(SQUARE).refactorize(S.values(SQUARE) + 0j)


@pytest.mark.parametrize("A", [np.eye(2).astype(object), np.array([["a", "b"], ["c", "d"]])])
def test_what_is_not_numeric_is_refused(A):
    with pytest.raises(TypeError):
        sc.analyze(A)
    with pytest.raises(TypeError):
        sc.analyze(np.eye(2)).values(A)
    with pytest.raises(TypeError):
        sc.analyze(np.eye(2)).factorize(A.ravel()[:2])


@pytest.mark.parametrize(
    "A",
    [
        SQUARE.tolist(),
        np.asfortranarray(SQUARE),
        SQUARE[::-1, ::-1][::-1, ::-1],
        SQUARE.view(np.matrix),
        np.ma.masked_array(SQUARE),
        SQUARE.astype(">f8"),
    ],
    ids=["list", "fortran", "strided", "matrix", "masked", "big endian"],
)
def test_dense_inputs(A):
    assert sc.analyze(A).values(A).tolist() == [4.0, 1.0, 5.0, 2.0, 6.0]


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("format", ["csc", "csr", "coo"])
def test_nonzero_outside_the_pattern_is_named(format, lower):
    S = sc.analyze(SQUARE)
    A = SQUARE.copy()
    A[2, 0] = A[0, 2] = 7
    with pytest.raises(sc.PatternMismatchError) as caught:
        S.values(getattr(sp, f"{format}_array")(A), lower=lower)
    place = (2, 0) if lower else (0, 2)
    assert (caught.value.row, caught.value.column) == place
    assert str(place) in str(caught.value)
    assert isinstance(caught.value, ValueError)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.row, copy.column, str(copy)) == (*place, str(caught.value))


@SETTINGS
@given(patterns(), st.integers(0, 2**20), st.booleans(), st.sampled_from(["csc", "csr"]))
def test_any_nonzero_outside_the_pattern_is_found_and_never_put_elsewhere(B, seed, lower, format):
    """Also where its row stands in an earlier column of the pattern, or its column in another."""
    absent = np.argwhere(np.tril(~B))
    rng = np.random.default_rng(seed)
    A = random_values(rng, B)
    S = sc.analyze(A, ordering="natural")
    if len(absent) == 0:
        assert np.array_equal(S.values(A), packed(A))
        return
    row, column = rng.choice(absent)
    A[row, column] = A[column, row] = 1
    with pytest.raises(sc.PatternMismatchError) as caught:
        S.values(getattr(sp, f"{format}_array")(A), lower=lower)
    place = (row, column) if lower else (column, row)
    assert (caught.value.row, caught.value.column) == place


@pytest.mark.parametrize(("format", "place"), [("csc", (4, 0)), ("csr", (3, 1))])
def test_the_first_stray_entry_is_the_first_as_stored(format, place):
    A = np.eye(5)
    A[4, 0] = A[3, 1] = A[4, 3] = 1
    with pytest.raises(sc.PatternMismatchError) as caught:
        sc.analyze(np.eye(5)).values(getattr(sp, f"{format}_array")(A))
    assert (caught.value.row, caught.value.column) == place


def test_explicit_zeros_outside_the_pattern_are_no_entries():
    S = sc.analyze(SQUARE)
    A = sp.csc_array(SQUARE + np.full((3, 3), 1.0))
    A.data[:] = 0
    A.setdiag(SQUARE.diagonal())
    A[2, 0] = -0.0
    assert A.nnz == 9
    assert S.values(A).tolist() == [4, 0, 5, 0, 6]


def test_missing_entries_are_zero():
    assert sc.analyze(SQUARE).values(np.diag([1.0, 2, 3])).tolist() == [1, 0, 2, 0, 3]


def test_explicit_zeros_belong_to_the_analyzed_pattern():
    A = sp.csc_array(SQUARE)
    A.data[A.data == 1] = 0
    assert sc.analyze(A).indices.tolist() == [0, 1, 1, 2, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("lower", [True, False])
def test_nan_and_infinity_are_named_in_the_triangle_that_is_read(bad, lower):
    A = SQUARE.copy()
    place = (2, 1) if lower else (1, 2)
    A[place] = bad
    S = sc.analyze(SQUARE)
    with pytest.raises(ValueError, match=rf"infinities or NaNs: entry \({place[0]}, {place[1]}\)"):
        S.values(A, lower=lower)
    assert S.values(A, lower=not lower).tolist() == [4, 1, 5, 2, 6]


def test_imaginary_nan_is_found():
    A = SQUARE.astype(complex)
    A[1, 0] = complex(1, np.nan)
    with pytest.raises(ValueError, match=r"entry \(1, 0\)"):
        sc.cholesky(A)


def test_sums_that_overflow_are_found():
    big = np.finfo(float).max
    A = sp.coo_array(([big, big, 1.0], ([0, 0, 1], [0, 0, 1])), shape=(2, 2))
    C = sp.csc_array((np.array([big, big, 1.0]), np.array([0, 0, 1]), np.array([0, 2, 3])))
    for M in (A, C):
        with pytest.raises(ValueError, match=r"entry \(0, 0\) is inf"):
            sc.cholesky(M)


def test_double_too_large_for_single_is_refused():
    with pytest.raises(ValueError, match=r"entry \(0, 0\) is inf"):
        sc.analyze(np.eye(2)).values(1e300 * np.eye(2), dtype=np.float32)


@pytest.mark.parametrize("shape", [(2, 2), (4, 4), (3, 4), (4, 3), (3,), (3, 3, 1), ()])
def test_wrong_shapes(shape):
    S = sc.analyze(SQUARE)
    with pytest.raises(ValueError, match="shape"):
        S.values(np.ones(shape))
    if len(shape) != 2 or shape[0] != shape[1]:
        with pytest.raises(ValueError, match="shape"):
            sc.analyze(np.ones(shape))


@pytest.mark.parametrize("length", [0, 4, 6])
def test_packed_values_of_wrong_length(length):
    with pytest.raises(ValueError, match="packed values have shape"):
        sc.analyze(SQUARE).factorize(np.ones(length))


def test_packed_values_with_nan_are_refused():
    with pytest.raises(ValueError, match=r"entry \(1, 0\)"):
        sc.analyze(SQUARE).factorize([4.0, np.nan, 5, 2, 6])


def test_packed_values_are_copied():
    S = sc.analyze(SQUARE)
    values = S.values(SQUARE)
    F = S.factorize(values)
    values[:] = -1
    assert F.condest() == S.factorize(SQUARE).condest()


# ---- corrupt index arrays ---------------------------------------------------------------------


def corrupted(format, how):
    A = getattr(sp, f"{format}_array")(laplacian(4, 5))
    big = np.int64(2**62)
    if how == "short indptr":
        A.indptr = A.indptr[:-3]
    elif how == "long indptr":
        A.indptr = np.append(A.indptr, A.indptr[-1])
    elif how == "huge indptr":
        A.indptr = A.indptr.astype(np.int64)
        A.indptr[-1] = big
    elif how == "falling indptr":
        A.indptr[3] = A.indptr[5] + 1
    elif how == "negative indptr":
        A.indptr[0] = -1
    elif how == "indptr starts late":
        A.indptr[0] = 1
    elif how == "index beyond":
        A.indices[7] = 20
    elif how == "huge index":
        A.indices = A.indices.astype(np.int64)
        A.indices[7] = big
    elif how == "index just above 32 bits":
        A.indices = A.indices.astype(np.int64)
        A.indices[7] += 2**32
    elif how == "negative index":
        A.indices[7] = -1
    elif how == "short data":
        A.data = A.data[:-4]
    elif how == "short indices":
        A.indices = A.indices[:-4]
    elif how == "float indices":
        A.indices = A.indices.astype(float)
    elif how == "two-dimensional data":
        A.data = np.ones((len(A.data), 2))
    return A


HOWS = ["short indptr", "long indptr", "huge indptr", "falling indptr", "negative indptr",
        "indptr starts late", "index beyond", "huge index", "index just above 32 bits",
        "negative index", "short data", "short indices", "float indices",
        "two-dimensional data"]  # fmt: skip


@pytest.mark.parametrize("format", ["csc", "csr"])
@pytest.mark.parametrize("how", HOWS)
def test_corrupt_arrays_are_refused(format, how):
    S = sc.analyze(laplacian(4, 5))
    F = S.factorize(laplacian(4, 5))
    for function in (sc.analyze, sc.cholesky, S.values, S.factorize, F.refactorize):
        for lower in (True, False):
            with pytest.raises(ValueError):  # noqa: PT011 (messages differ with the fault)
                function(corrupted(format, how), lower=lower)
    # What is refused before the factorization leaves the factor as it was.
    assert np.isfinite(F.logdet())


@SETTINGS
@given(st.data())
def test_random_index_arrays_never_crash(data):
    n = data.draw(st.integers(0, 6))
    wild = st.integers(-3, 9) | st.sampled_from([2**31 - 1, -(2**31)])
    indptr = data.draw(st.lists(wild, min_size=0, max_size=n + 2))
    indices = data.draw(st.lists(wild, max_size=12))
    A = getattr(sp, data.draw(st.sampled_from(["csc_array", "csr_array"])))((n, n))
    A.indptr = np.array(indptr, dtype=np.int32)
    A.indices = np.array(indices, dtype=np.int32)
    A.data = np.ones(data.draw(st.integers(0, 12)))
    valid = (
        len(indptr) == n + 1
        and indptr[0] == 0
        and all(a <= b for a, b in pairwise(indptr))
        and indptr[-1] <= len(indices) == len(A.data)
        and all(0 <= i < n for i in indices[: indptr[-1]])
    )
    if valid:
        sc.analyze(A, ordering="natural").values(A)
    else:
        with pytest.raises(ValueError):  # noqa: PT011
            sc.analyze(A, ordering="natural")


def test_memory_of_a_dense_front():
    S = sc.analyze(np.ones((300, 300)))
    assert S.nnz == 300 * 301 // 2
    assert S.memory.factor == 8 * 300**2


# ---- symmetry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("format", FORMATS)
def test_symmetric_matrices_pass_the_check(dtype, format):
    A = random_spd(np.random.default_rng(0), 9, "random", dtype)
    sc.analyze(getattr(sp, f"{format}_array")(A), check_symmetric=True)


def test_asymmetry_is_named():
    A = SQUARE.copy()
    A[0, 1] = 1.5
    sc.analyze(A)
    with pytest.raises(ValueError, match=r"entries \((0, 1|1, 0)\) and \((0, 1|1, 0)\) differ"):
        sc.analyze(A, check_symmetric=True)
    sc.analyze(np.tril(SQUARE), check_symmetric=True)  # one triangle stands for both


def test_complex_symmetric_is_not_hermitian():
    A = np.array([[2, 1j], [1j, 2]])
    with pytest.raises(ValueError, match="complex symmetric, not Hermitian"):
        sc.analyze(A, check_symmetric=True)
    with pytest.raises(ValueError, match=r"\(0, 0\)"):
        sc.analyze(np.array([[2 + 1j]]), check_symmetric=True)


# ---- counts and orderings ---------------------------------------------------------------------


@SETTINGS
@given(patterns(), st.data())
def test_counts_equal_those_of_dense_elimination(B, data):
    order = data.draw(orders(B.shape[0]))
    S = sc.analyze(B, ordering=order)
    L = eliminate(B[np.ix_(S.perm, S.perm)])
    assert S.nnz == L.sum()
    assert S.flops == (L.sum(axis=0) ** 2).sum()
    assert sorted(S.perm) == list(range(B.shape[0]))
    assert S.perm.dtype == np.int32
    name = order if isinstance(order, str) else "given"
    assert S.ordering.method == name
    assert S.ordering.tried[name] == (S.nnz, S.flops)
    assert S.ordering.reason
    assert S.shape == B.shape
    assert np.array_equal(S.indptr, packed_pattern(B)[0])
    assert np.array_equal(S.indices, packed_pattern(B)[1])


@pytest.mark.parametrize("convert", [list, tuple, np.array, lambda p: np.array(p, np.int64),
                                     lambda p: np.array(p, np.uint8)])  # fmt: skip
def test_given_permutation_is_kept_exactly(convert):
    A = laplacian(5, 6)
    perm = np.random.default_rng(0).permutation(30)
    given_ = convert(perm.tolist())
    S = sc.analyze(A, ordering=given_)
    assert np.array_equal(S.perm, perm)
    assert S.ordering.method == "given"
    if isinstance(given_, np.ndarray):
        assert given_.flags.writeable  # the user's own array is not frozen
        assert not np.shares_memory(given_, S.perm)
    F = S.factorize(A)
    L = F.L.toarray()
    np.testing.assert_allclose(L @ L.T, A.toarray()[np.ix_(perm, perm)], atol=1e-12)


@pytest.mark.parametrize(
    "order",
    [
        [0, 1],
        [0, 1, 2, 3],
        [0, 1, 3],
        [0, 1, -1],
        [0, 1, 1],
        [[0, 1, 2]],
        [0.0, 1.0, 2.0],
        [True, False, True],
        [0, 1, 2**63],
        [0, 1, 2**40],
        ["0", "1", "2"],
        [],
        None,
        3,
        "colamd",
        "AMD",
        "",
    ],
)
def test_bad_orders_are_refused(order):
    with pytest.raises(ValueError, match="order"):
        sc.analyze(SQUARE, ordering=order)


def test_auto_says_what_it_did():
    S = sc.analyze(laplacian(6, 6))
    reason = "too few flops for nested dissection to pay"
    assert (S.ordering.method, S.ordering.reason) == ("amd", reason)
    assert set(S.ordering.tried) == {"amd"}


def test_auto_takes_the_ordering_with_fewest_flops(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)  # it is not needed
    S = sc.analyze(laplacian(20, 20, 20))
    tried = S.ordering.tried
    assert set(tried) == {"amd", "nested_dissection"}
    assert S.flops == min(flops for _, flops in tried.values())
    assert tried[S.ordering.method] == (S.nnz, S.flops)
    assert S.ordering.reason == "fewest flops"


def test_metis_without_pymetis_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    with pytest.raises(ImportError, match=r"pip install 'sparsechol\[metis\]'"):
        sc.analyze(SQUARE, ordering="metis")


@pytest.mark.skipif(not HAVE_METIS, reason="pymetis is not installed")
@pytest.mark.parametrize("A", [np.empty((0, 0)), np.eye(1), np.eye(5), np.ones((4, 4)), SQUARE])
def test_metis_of_matrices_that_metis_itself_does_not_survive(A):
    S = sc.analyze(A, ordering="metis")
    assert sorted(S.perm) == list(range(len(A)))


@pytest.mark.skipif(not HAVE_METIS, reason="pymetis is not installed")
def test_metis_beats_the_natural_order_on_a_grid():
    A = laplacian(30, 30)
    assert sc.analyze(A, ordering="metis").flops < sc.analyze(A, ordering="natural").flops / 2


@pytest.mark.parametrize("order", [*ORDERS, "auto"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_tiny_orders(order, n):
    S = sc.analyze(np.eye(n), ordering=order)
    assert (S.shape, S.nnz, S.flops) == ((n, n), n, n)
    F = S.factorize(np.eye(n))
    assert F.L.toarray().tolist() == np.eye(n).tolist()


@pytest.mark.parametrize("order", ORDERS)
def test_deep_chains_and_stars(order):
    n = 200_000 if order != "metis" else 20_000
    path = sp.diags_array(
        [np.full(n - 1, -1.0), np.full(n, 2.5), np.full(n - 1, -1.0)], offsets=[-1, 0, 1]
    )
    F = sc.cholesky(path, ordering=order)
    b = path @ np.arange(n)
    np.testing.assert_allclose(F.solve(b), np.arange(n), rtol=1e-12, atol=1e-9)


def test_memory_counts_what_a_factor_holds():
    A = laplacian(20, 20)
    S = sc.analyze(A)
    F = S.factorize(A)
    assert S.memory.factor == F._panels.nbytes
    assert S.memory.workspace == F._work.nbytes
    assert S.memory.factor >= 8 * S.nnz
    assert S.memory.symbolic > S.indices.nbytes + S.indptr.nbytes


def test_stored_rectangles_are_at_most_half_larger_than_the_factor():
    """The design's bound on storage, which the triangle of each diagonal block counts against."""
    S = sc.analyze(laplacian(60, 60), ordering="amd")
    assert S.memory.factor <= 1.5 * 8 * S.nnz


# ---- identity ---------------------------------------------------------------------------------


def test_equal_analyses_are_equal_and_hash_alike():
    A = laplacian(5, 5)
    S, T = sc.analyze(A), sc.analyze(sp.coo_matrix(2 * A))
    assert S is not T
    assert S == T
    assert hash(S) == hash(T)
    assert S.digest == T.digest
    assert len({S, T}) == 1


@pytest.mark.parametrize("other", ["pattern", "order", "shape"])
def test_different_analyses_differ(other):
    A = laplacian(5, 5)
    S = sc.analyze(A, ordering="natural")
    if other == "pattern":
        A = A.tolil()
        A[24, 0] = 1
        T = sc.analyze(A, ordering="natural")
    elif other == "order":
        T = sc.analyze(A, ordering=np.arange(25)[::-1])
    else:
        T = sc.analyze(laplacian(5, 6), ordering="natural")
    assert S != T
    assert S.digest != T.digest


def test_other_types_are_not_equal():
    assert sc.analyze(SQUARE) != "SymbolicFactor"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_round_trip(protocol):
    A = laplacian(6, 5)
    S = sc.analyze(A)
    T = pickle.loads(pickle.dumps(S, protocol))
    assert T == S
    assert T.ordering == S.ordering
    assert (T.nnz, T.flops) == (S.nnz, S.flops)
    assert np.array_equal(T.factorize(A).solve(np.ones(30)), S.factorize(A).solve(np.ones(30)))


def test_digest_and_results_are_the_same_in_another_process(tmp_path):
    A = laplacian(6, 5)
    S = sc.analyze(A)
    file = tmp_path / "analysis"
    file.write_bytes(pickle.dumps((S, A)))
    code = (
        "import pickle, sys\n"
        "S, A = pickle.load(open(sys.argv[1], 'rb'))\n"
        "import sparsechol\n"
        "assert S == sparsechol.analyze(A)\n"
        "print(S.digest, S.factorize(A).logdet().hex())"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    assert run.stdout.split()[-2:] == [S.digest, S.factorize(A).logdet().hex()]


def test_arrays_cannot_be_written():
    S = sc.analyze(SQUARE)
    for array in (S.perm, S.indptr, S.indices):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize("name", ["perm", "indptr", "indices", "nnz", "flops", "ordering", "shape"])
def test_attributes_cannot_be_replaced(name):
    S = sc.analyze(SQUARE)
    with pytest.raises(AttributeError):
        setattr(S, name, None)
    with pytest.raises(AttributeError):
        delattr(S, name)


def test_results_do_not_share_memory_with_the_analysis():
    S = sc.analyze(SQUARE)
    F = S.factorize(SQUARE)
    Z, L = F.partial_inverse(), F.L
    for matrix in (Z, L):
        matrix.indices[:] = 0
        matrix.indptr[:] = 0
        matrix.data[:] = 0
    np.testing.assert_allclose(
        F.partial_inverse().toarray(), np.linalg.inv(SQUARE) * (SQUARE != 0), atol=1e-14
    )
    assert F.L.nnz == 5


def test_repr_tells_the_size():
    text = repr(sc.analyze(SQUARE, ordering="natural"))
    assert "(3, 3)" in text
    assert "5 entries" in text
    assert "natural" in text


def test_upper_and_lower_analyses_of_a_hermitian_matrix_agree():
    A = random_values(
        np.random.default_rng(1), random_pattern(np.random.default_rng(1), 20), complex
    )
    S, T = sc.analyze(np.tril(A)), sc.analyze(np.triu(A), lower=False)
    assert S == T
    assert np.array_equal(S.values(np.tril(A)), T.values(np.triu(A), lower=False))
