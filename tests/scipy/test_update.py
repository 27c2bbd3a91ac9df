"""Low-rank changes of a factor, and rows that leave or come back, against fresh dense algebra."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import LinAlgWarning

import sparsechol as sc
from sparsechol._core.numeric.dense import instruction_set
from sparsechol.models import grid_laplacian
from support.helpers import DTYPES, KINDS, ORDERS, SETTINGS, eps, random_spd


def numbers(rng, shape, dtype):
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return x.astype(dtype)


def clique(rng, A, most=6):
    """Rows of which each two have an entry in A."""
    found = [int(rng.integers(len(A)))]
    for row in rng.permutation(len(A)):
        if row not in found and np.all(A[row, found] != 0) and len(found) < most:
            found.append(int(row))
    return np.array(found)


def columns(rng, A, k, dtype, scale=1.0):
    """Dense (n, k) array whose columns fit every factor of A."""
    C = np.zeros((len(A), k), dtype)
    for c in range(k):
        rows = clique(rng, A)
        C[rows, c] = scale * numbers(rng, rows.size, dtype)
    return C


def check(F, A, signed=False):
    """A factor against the matrix that it should be of."""
    n, dtype = len(A), F.dtype
    wide = A.astype(np.result_type(dtype, float))
    eigenvalues = np.linalg.eigvalsh(wide)
    size = np.abs(eigenvalues)
    tolerance = 1000 * n * eps(dtype) * size.max() / size.min()
    b = np.arange(1.0, n + 1)
    x = np.linalg.solve(wide, b)
    assert np.abs(F.solve(b) - x).max() <= tolerance * np.abs(x).max()
    assert abs((F.logabsdet() if signed else F.logdet()) - np.log(size).sum()) <= tolerance
    L = F.L.toarray()
    S = np.sign(np.diag(L).real)
    rebuilt = (L * S) @ L.conj().T
    bound = 200 * n * eps(dtype) * np.abs(A).max()
    if not signed:
        assert np.abs(rebuilt - A[np.ix_(F.perm, F.perm)]).max() <= bound
    packed = A[F.pattern.indices, np.repeat(np.arange(n), np.diff(F.pattern.indptr))]
    assert np.abs(F._known_values[0] - packed).max() <= bound


cases = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(1, 45), st.sampled_from(DTYPES), st.sampled_from(KINDS),
    st.sampled_from(ORDERS), st.integers(1, 11),
)  # fmt: skip


@SETTINGS
@given(cases)
def test_updates_and_downdates(case):
    seed, n, dtype, kind, order, k = case
    rng = np.random.default_rng(seed)
    A = random_spd(rng, n, kind, dtype)
    F = sc.cholesky(A, ordering=order)
    C = columns(rng, A, k, dtype)
    assert F.update(C) is F
    B = A + C @ C.conj().T
    check(F, B)
    F.update(sp.csr_array(C[:, : k // 2]), downdate=True)
    check(F, B - C[:, : k // 2] @ C[:, : k // 2].conj().T)


@SETTINGS
@given(cases)
def test_any_sequence_of_changes(case):
    seed, n, dtype, kind, order, k = case
    rng = np.random.default_rng(seed)
    A = random_spd(rng, n, kind, dtype)
    F, B, deleted = sc.cholesky(A, ordering=order), A.copy(), []
    for _ in range(8):
        what = rng.integers(4)
        if what == 0:
            C = columns(rng, A, int(rng.integers(1, k + 1)), dtype)
            C[deleted] = 0
            F.update(C)
            B = B + C @ C.conj().T
        elif what == 1:
            C = columns(rng, A, 1, dtype, 0.1)
            C[deleted] = 0
            changed = B - C @ C.conj().T
            try:
                F.update(C, downdate=True)
                B = changed
            except sc.NotPositiveDefiniteError:
                assert np.linalg.eigvalsh(changed).min() < 1e-3 * np.abs(B).max()
        elif what == 2:
            row = int(rng.integers(n))
            F.delete_rows(row)
            B[row] = B[:, row] = 0
            B[row, row] = 1
            deleted.append(row)
        elif deleted:
            row = deleted.pop()
            deleted = [other for other in deleted if other != row]
            a = A[:, row].copy()
            a[deleted] = 0
            a[row] = np.abs(B).sum()
            F.add_row(row, a)
            B[:, row], B[row] = a, a.conj()
        check(F, B)


@SETTINGS
@given(cases)
def test_signed_factors(case):
    seed, n, _, kind, order, k = case
    rng = np.random.default_rng(seed)
    A = random_spd(rng, n, kind, np.float64)
    F, C = sc.ldl(A, ordering=order), columns(rng, A, k, np.float64, 3.0)
    try:
        F.update(C, downdate=True)
    except sc.PivotError:
        check(F, A, signed=True)
        return
    B = A - C @ C.T
    eigenvalues = np.linalg.eigvalsh(B)
    pivots = np.diag(F.L.toarray())
    if np.abs(eigenvalues).min() > 1e-6 * np.abs(eigenvalues).max() and np.ptp(pivots) < 1e3:
        assert F.inertia == ((eigenvalues > 0).sum(), (eigenvalues < 0).sum())
        x = np.arange(1.0, n + 1)
        np.testing.assert_allclose(F.solve(B @ x, refine=3), x, rtol=1e-6, atol=1e-6)
    F.update(C)
    assert F.inertia == (n, 0)


@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_instruction_set(isa, dtype):
    before = instruction_set()
    try:
        instruction_set(isa)
    except ValueError as missing:
        pytest.skip(str(missing))
    try:
        rng = np.random.default_rng(3)
        A = random_spd(rng, 37, "dense", dtype)
        for k in (1, 2, 3, 5, 8, 9):
            F, C = sc.cholesky(A), numbers(rng, (37, k), dtype)
            check(F.update(C), A + C @ C.conj().T)
            check(F.update(C, downdate=True), A)
    finally:
        instruction_set(before)


def test_a_downdate_that_fails_changes_nothing():
    rng = np.random.default_rng(0)
    A = grid_laplacian((9, 8)).toarray()
    F = sc.cholesky(A)
    C = columns(rng, A, 12, float)
    C[:, 9] *= 100
    panels, values = F._panels.copy(), F._values.copy()
    with pytest.raises(sc.NotPositiveDefiniteError, match="the factor is as it was") as caught:
        F.update(C, downdate=True)
    assert caught.value.pivot <= 0
    assert 0 <= caught.value.row < 72
    np.testing.assert_array_equal(F._panels, panels)
    np.testing.assert_array_equal(F._values, values)


def test_a_singular_downdate_is_refused_and_a_weak_one_warned_of():
    A = np.diag([1.0, 4.0, 9.0])
    F = sc.cholesky(A)
    with pytest.raises(sc.NotPositiveDefiniteError, match="row and column 1"):
        F.update([0.0, 2.0, 0.0], downdate=True)
    with pytest.warns(LinAlgWarning, match="refactorize where it matters"):
        F.update([0.0, 2.0 * (1 - 1e-10), 0.0], downdate=True)


def test_signs_that_were_promised():
    F = sc.ldl(np.diag([2.0, -3.0]), signs=[1, -1])
    with pytest.raises(sc.PivotError, match="row and column 1"):
        F.update([0.0, 3.0])
    assert F.inertia == (1, 1)
    assert F.update([0.0, 1.0]).solve([2.0, -2.0]).tolist() == pytest.approx([1, 1])


def test_entries_outside_the_pattern():
    A = grid_laplacian((5, 5))
    C = np.zeros((25, 2))
    C[[3, 4], 0] = C[[0, 24], 1] = 1
    F = sc.cholesky(A)
    with pytest.raises(
        sc.PatternMismatchError, match="a column of C has nonzeros in rows"
    ) as caught:
        F.update(C)
    assert {caught.value.row, caught.value.column} == {0, 24}
    for reserve in (C, sp.csc_array(C), C[:, 1]):
        F = sc.analyze(A, reserve=reserve).factorize(A)
        check(F.update(C), A.toarray() + C @ C.T)


def test_fill_of_the_factor_has_room_too():
    A = grid_laplacian((6, 6))
    F = sc.cholesky(A, ordering="natural")
    C = np.zeros(36)
    C[[1, 6]] = 1  # an entry of L, not of A
    x = np.arange(36.0)
    b = A @ x + C * (C @ x)
    np.testing.assert_allclose(F.update(C).solve(b), x, atol=1e-12)
    with pytest.raises(np.linalg.LinAlgError, match="reserve"):
        _ = F.rcond
    with pytest.raises(np.linalg.LinAlgError, match="reserve"):
        F.condest()
    assert F.refactorize(A).rcond > 0


def test_others_keep_their_matrix():
    A = np.diag([1.0, 2.0, 3.0])
    packed = sc.analyze(A).values(A)
    F = sc.analyze(A).factorize(packed)
    G = F.copy()
    F.update([1.0, 0.0, 0.0])
    H = F.copy()
    F.update([0.0, 1.0, 0.0])
    assert packed.tolist() == [1, 2, 3]
    assert [K._values[0].tolist() for K in (G, H, F)] == [[1, 2, 3], [2, 2, 3], [2, 3, 3]]
    again = pickle.loads(pickle.dumps(F))
    assert again.update([1.0, 0, 0]).solve([3.0, 3.0, 3.0]).round(12).tolist() == [1, 1, 1]
    assert F.solve([2.0, 3.0, 3.0]).round(12).tolist() == [1, 1, 1]


def test_repeated_entries_are_summed_and_zeros_are_none():
    A = grid_laplacian((4, 4))
    doubled = sp.csc_array(([1.0, 2.0, 0.0], [5, 5, 10], [0, 3]), shape=(16, 1))
    C = np.zeros(16)
    C[5] = 3
    check(sc.cholesky(A).update(doubled), A.toarray() + np.outer(C, C))
    row = sc.cholesky(A).delete_rows(5)
    a = sp.coo_array(([4.0, 1.0, -2.0, 0.0], ([5, 6, 6, 15], [0] * 4)), shape=(16, 1))
    B = A.toarray()
    B[5] = B[:, 5] = 0
    B[5, 5], B[5, 6], B[6, 5] = 4, -1, -1
    check(row.add_row(5, a), B)


@pytest.mark.parametrize("C", [np.zeros(3), np.zeros((3, 0)), sp.csc_array((3, 2)), [0, 0, 0]])
def test_nothing_to_do(C):
    F = sc.cholesky(np.diag([1.0, 2.0, 3.0]))
    assert F.update(C).logdet() == pytest.approx(np.log(6))


def test_empty_matrix():
    F = sc.cholesky(np.zeros((0, 0)))
    assert F.update(np.zeros((0, 2))).logdet() == 0
    assert F.delete_rows([]).logdet() == 0


@pytest.mark.parametrize(
    ("C", "error", "match"),
    [
        (np.zeros(4), ValueError, "C, \\(4,\\), do not fit"),
        (np.zeros((3, 1, 1)), ValueError, "do not fit"),
        ([0.0, np.nan, 0.0], ValueError, "C must not hold"),
        (sp.csc_array([[0.0], [np.inf], [0.0]]), ValueError, "C must not hold"),
        ([0, 1j, 0], TypeError, "C is complex"),
        (["a", "b", "c"], TypeError, "U1"),
    ],
)
def test_mistakes(C, error, match):
    F = sc.cholesky(np.diag([1.0, 2.0, 3.0]))
    with pytest.raises(error, match=match):
        F.update(C)
    assert F.logdet() == pytest.approx(np.log(6))


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_vectors_that_are_too_large(dtype):
    F = sc.cholesky(np.eye(3, dtype=dtype))
    large = np.finfo(dtype).max ** 0.75
    with pytest.raises(OverflowError, match="scale A and C"):
        F.update([0, large, 0])
    assert F.logdet() == 0
    small = np.array([0, np.finfo(dtype).tiny, 0], dtype=dtype)
    assert F.update(small).logdet() == 0
    F = sc.cholesky(np.eye(3, dtype=dtype) * np.finfo(dtype).max ** 0.9)
    wide = np.array([0, np.finfo(dtype).max ** 0.45, 0], dtype=dtype)
    expected = 3 * 0.9 * np.log(float(np.finfo(dtype).max)) + np.log(2)
    np.testing.assert_allclose(F.update(wide).logdet(), expected, rtol=1e-6)


def held(indptr, indices, data):
    """Return a sparse (36, k) array that holds these very arrays."""
    C = sp.csc_array((36, len(indptr) - 1))
    C.indptr, C.indices, C.data = indptr, indices, data
    return C


@pytest.mark.parametrize(
    ("indptr", "indices", "data", "match"),
    [
        ([0, 2], [14, 99], [1.0, 1.0], r"C.indices\[1\] = 99"),
        ([0, 2], [14, -1], [1.0, 1.0], r"C.indices\[1\] = -1"),
        ([0, 9], [14, 15], [1.0, 1.0], r"C.indptr\[1\] = 9"),
        ([1, 2], [14, 15], [1.0, 1.0], r"C.indptr\[0\] = 1"),
        ([0, 2, 1, 2], [14, 15], [1.0, 1.0], r"C.indptr\[2\] = 1"),
        ([0.0, 2.0], [14.0, 15.0], [1.0, 1.0], "integers"),
        ([0, 2], [14, 15], [[1.0], [1.0]], "C.data must be 1-D"),
        ([0, 2], [14, 15], [1.0, np.nan], r"C\[15, 0\]"),
    ],
)
@pytest.mark.parametrize("factorize", [sc.cholesky, sc.ldl])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_corrupt_vectors_are_refused(factorize, index, indptr, indices, data, match):
    A = grid_laplacian((6, 6), shift=0.5)
    F = factorize(A)
    kind = index if isinstance(indptr[0], int) else float
    with pytest.raises(ValueError, match=match):
        F.update(held(np.array(indptr, kind), np.array(indices, kind), np.array(data)))
    check(F, A.toarray(), factorize is sc.ldl)


@pytest.mark.parametrize("index", [np.int32, np.int64, np.uint32, ">i4"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, ">f8", np.int16])
def test_vectors_of_every_type(index, dtype):
    A = grid_laplacian((6, 6), shift=0.5)
    unsorted = np.array([15, 14, 15, 3, 35], index), np.array([1, 2, 3, 0, 9], dtype)
    F = sc.cholesky(A).update(held(np.array([0, 4], index), *unsorted))  # more than indptr says
    C = np.zeros(36)
    C[[14, 15]] = 2, 4
    check(F, A.toarray() + np.outer(C, C))


def test_mistakes_with_rows():
    A = grid_laplacian((3, 3)).toarray()
    F = sc.cholesky(A)
    with pytest.raises(IndexError):
        F.delete_rows(9)
    with pytest.raises(ValueError, match=r"row 4 is not one of the identity: delete_rows\(4\)"):
        F.add_row(4, A[:, 4])
    F.delete_rows([-5])
    with pytest.raises(ValueError, match="one column"):
        F.add_row(4, A[:, :2])
    with pytest.raises(sc.PatternMismatchError, match=r"row 0, and .* \(0, 4\)"):
        F.add_row(4, np.ones(9))
    with pytest.raises(sc.NotPositiveDefiniteError, match="row and column 4"):
        F.add_row(4, 2 * A[:, 4] - np.eye(9)[4] * 7)
    check(F.add_row(4, A[:, 4]), A)


def test_drift_of_a_thousand_changes():
    rng = np.random.default_rng(5)
    A = grid_laplacian((12, 12), shift=0.1).toarray()
    F, B = sc.cholesky(A), A.copy()
    kept = []
    for step in range(1000):
        if step % 2 == 0 or len(kept) < 5:
            C = columns(rng, A, 1, float)
            kept.append(C)
            F.update(C)
            B += C @ C.T
        else:
            C = kept.pop(int(rng.integers(len(kept))))
            F.update(C, downdate=True)
            B -= C @ C.T
    b = rng.standard_normal(144)
    x = np.linalg.solve(B, b)
    assert np.abs(F.solve(b) - x).max() <= 1e-11 * np.linalg.cond(B) * np.abs(x).max()


# ---- corrections beside a factor ----


@SETTINGS
@given(cases)
def test_low_rank_beside_a_factor(case):
    seed, n, dtype, kind, order, k = case
    rng = np.random.default_rng(seed)
    A = random_spd(rng, n, kind, dtype)
    C, D = numbers(rng, (n, k), dtype), random_spd(rng, k, "dense", dtype)
    F = sc.cholesky(A, ordering=order)
    for weights, full in ((None, np.eye(k)), (np.arange(1.0, k + 1), None), (D, D)):
        full = np.diag(np.arange(1.0, k + 1)) if full is None else full
        B = (A + C @ full @ C.conj().T).astype(np.result_type(dtype, float))
        G = F.with_low_rank(C, weights)
        tolerance = 500 * n * eps(dtype) * np.linalg.cond(A) * G.condition**0.5
        inverse = np.linalg.inv(B)
        b = numbers(rng, (n, 2), dtype)
        size = np.abs(np.linalg.inv(A)).max()
        assert np.abs(G.solve(b) - inverse @ b).max() <= tolerance * size * np.abs(b).sum()
        assert np.abs(G.diag_inverse() - np.diag(inverse).real).max() <= tolerance * size
        assert abs(G.inverse_entries(0, n - 1) - inverse[0, n - 1]) <= tolerance * size
        rows = np.eye(n)[:2] - np.eye(n)[-1]
        wanted = np.einsum("ri,ij,rj->r", rows, inverse, rows).real
        assert np.abs(G.inverse_quadratic(rows) - wanted).max() <= 4 * tolerance * size
        assert abs(G.logdet() - np.linalg.slogdet(B)[1]) <= tolerance * n
        assert G.slogdet() == (1.0, G.logdet())


def test_low_rank_draws_have_the_covariance():
    rng = np.random.default_rng(1)
    A, C = grid_laplacian((3, 3)), rng.standard_normal((9, 2))
    G = sc.cholesky(A).with_low_rank(C, [1.0, -0.05])
    x = G.sample(200_000, rng=0)
    inverse = np.linalg.inv(A.toarray() + (C * [1.0, -0.05]) @ C.T)
    np.testing.assert_allclose(np.cov(x.T), inverse, atol=0.006)
    np.testing.assert_allclose(G.diag_inverse(), np.diag(inverse), rtol=1e-10)
    assert G.sample(rng=0).shape == (9,)
    assert G.sample((2, 3), rng=0).shape == (2, 3, 9)


def test_low_rank_that_is_not_definite():
    F = sc.cholesky(np.diag([1.0, 2.0, 3.0]))
    with pytest.raises(sc.NotPositiveDefiniteError, match="row 1") as caught:
        F.with_low_rank([0.0, 2.0, 0.0], [-1.0])
    assert caught.value.row == 1
    with pytest.raises(sc.NotPositiveDefiniteError):
        F.with_low_rank([0.0, np.sqrt(2.0), 0.0], [-1.0])


@pytest.mark.parametrize(
    ("C", "D", "error", "match"),
    [
        (np.ones(2), None, ValueError, "C, \\(2,\\), do not fit"),
        (np.ones(3), np.ones(2), ValueError, "D has shape"),
        (np.ones((3, 2)), [[1.0, 2.0], [3.0, 1.0]], ValueError, r"D must be symmetric .*\(0, 1\)"),
        ([1.0, np.nan, 1.0], None, ValueError, "C must not hold"),
        (np.ones(3), [np.inf], ValueError, "D must not hold"),
        (np.ones(3), [1j], TypeError, "D is complex"),
        (1j * np.ones(3), None, TypeError, "C is complex"),
    ],
)
def test_low_rank_mistakes(C, D, error, match):
    with pytest.raises(error, match=match):
        sc.cholesky(np.diag([1.0, 2.0, 3.0])).with_low_rank(C, D)


@pytest.mark.parametrize("change", [
    lambda F: F.update([1.0, 0, 0]), lambda F: F.delete_rows(1), lambda F: F.refactorize(np.eye(3)),
])  # fmt: skip
def test_what_was_made_of_the_factor_before_it_changed(change):
    F = sc.cholesky(np.diag([1.0, 2.0, 3.0])).update([0, 0, 1.0])
    low_rank, conditioned = F.with_low_rank(np.ones(3)), F.condition(np.ones(3), 1.0)
    assert np.isfinite(low_rank.logdet() + conditioned.mean().sum())
    change(F)
    for use in (low_rank.logdet, lambda: low_rank.solve(np.ones(3)), conditioned.mean):
        with pytest.raises(ValueError, match="call its method"):
            use()
    assert np.isfinite(F.with_low_rank(np.ones(3)).logdet() + F.condition(np.ones(3)).mean().sum())


def test_low_rank_of_no_columns():
    F = sc.cholesky(np.diag([1.0, 2.0, 3.0]))
    G = F.with_low_rank(np.zeros((3, 0)))
    assert G.logdet() == F.logdet()
    assert G.condition == 1
    with pytest.raises(TypeError, match="dense"):
        G.solve(sp.csc_array(np.eye(3)))


# ---- merged columns ----------------------------------------------------------------------------


@pytest.mark.parametrize("factorize", [sc.cholesky, sc.ldl])
@pytest.mark.parametrize("seed", range(40))
def test_vectors_fit_where_elimination_leaves_an_entry(factorize, seed):
    """Panels have more room, where columns of several branches were merged."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 25))
    A = random_spd(rng, n, ["tree", "random", "arrow", "banded"][seed % 4])
    F = factorize(sp.csc_array(A), ordering=rng.permutation(n))
    L, place = F.L.toarray(), np.argsort(F.perm)
    c = np.zeros(n)
    c[rng.choice(n, 3, replace=False)] = 1.0
    rows = np.sort(place[c != 0])
    if (L[rows, rows[0]] != 0).all():
        L = F.update(c).L.toarray()
        np.testing.assert_allclose(L @ L.T, (A + np.outer(c, c))[F.perm][:, F.perm], atol=1e-10)
    else:
        with pytest.raises(sc.PatternMismatchError, match="L has no entry for these two rows"):
            F.update(c)
        np.testing.assert_array_equal(F.L.toarray(), L)
