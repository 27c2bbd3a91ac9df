"""The signed factorization against dense eigenvalues, dense solves and mpmath."""

import pickle
import warnings
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import mmread
from scipy.linalg import LinAlgWarning

import sparsechol as sc
from sparsechol.models import grid_laplacian
from support.helpers import DTYPES, ORDERS, SETTINGS, eps, kkt_files, random_spd


def quasi_definite(rng, n, m, dtype=np.float64, kind="random"):
    """Dense [H G^H; G -C] with sparse positive definite H and C, and the signs of its rows."""
    H, C = random_spd(rng, n, kind, dtype), random_spd(rng, m, "banded", dtype)
    G = rng.standard_normal((m, n))
    if np.dtype(dtype).kind == "c":
        G = G + 1j * rng.standard_normal((m, n))
    G = np.where(rng.random((m, n)) < 0.2, G, 0).astype(dtype)
    return np.block([[H, G.conj().T], [G, -C]]), np.repeat([1, -1], [n, m])


def scrambled(rng, A, signs):
    p = rng.permutation(len(A))
    return A[np.ix_(p, p)], signs[p]


problems = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 25), st.sampled_from(DTYPES),
    st.sampled_from(["random", "dense", "arrow", "block"]), st.sampled_from(ORDERS),
)  # fmt: skip


def problem_of(case):
    seed, n, m, dtype, kind, order = case
    rng = np.random.default_rng(seed)
    A, signs = scrambled(rng, *quasi_definite(rng, n, m, dtype, kind))
    return rng, A, signs, order


@SETTINGS
@given(problems)
def test_every_result_is_that_of_dense_algebra(case):
    rng, A, signs, order = problem_of(case)
    N, dtype = len(A), A.dtype
    F = sc.ldl(A, signs=signs, ordering=order)
    tol = 100 * N * eps(dtype)
    size = abs(A).max()
    LDL = (F.L @ F.D @ F.L.conj().T).toarray()
    np.testing.assert_allclose(LDL, A[np.ix_(F.perm, F.perm)], rtol=0, atol=tol * size)
    assert (np.sign(F.L.diagonal().real) == F.D.diagonal()).all()
    assert (F.D.diagonal() == signs[F.perm]).all()
    eigenvalues = np.linalg.eigvalsh(A)
    assert F.inertia == ((eigenvalues > 0).sum(), (eigenvalues < 0).sum())
    sign, logabsdet = np.linalg.slogdet(A.astype(np.result_type(dtype, np.float64)))
    assert F.slogdet() == (np.real(sign).round(), F.logabsdet())
    np.testing.assert_allclose(F.logabsdet(), logabsdet, rtol=tol, atol=tol)
    Z = np.linalg.inv(A.astype(np.result_type(dtype, np.float64)))
    near = {"rtol": 0, "atol": 10 * tol * abs(Z).max() * np.linalg.cond(A)}
    np.testing.assert_allclose(F.partial_inverse().toarray(), np.where(A != 0, Z, 0), **near)
    np.testing.assert_allclose(F.diag_inverse(), np.diag(Z).real, **near)
    rows, columns = rng.integers(0, N, (2, 5))
    np.testing.assert_allclose(F.inverse_entries(rows, columns), Z[rows, columns], **near)
    B = rng.standard_normal((8, N)) * (rng.random((8, N)) < 2 / N)
    wanted = np.einsum("ri,ij,rj->r", B, Z, B).real
    far = {"rtol": 0, "atol": near["atol"] * (B**2).sum()}
    np.testing.assert_allclose(F.inverse_quadratic(sp.csr_array(B)), wanted, **far)
    for shape in [(N,), (N, 3)]:
        b = rng.standard_normal(shape).astype(dtype)
        np.testing.assert_allclose(F.solve(b), Z @ b, rtol=0, atol=near["atol"] * abs(b).sum())
        sparse = sp.coo_array(np.where(abs(b) > 1, b, 0))
        np.testing.assert_allclose(
            F.solve(sparse).toarray(), F.solve(sparse.toarray()), rtol=0, atol=near["atol"] * N
        )
        y = F.D.diagonal().reshape(-1, *[1] * (b.ndim - 1)) * F.solve_triangular(b)
        np.testing.assert_allclose(
            F.solve_triangular(y, trans="C"), F.solve(b),
            rtol=0, atol=near["atol"] * abs(b).sum(),
        )  # fmt: skip
        np.testing.assert_allclose(F.to_linear_operator() @ b, F.solve(b), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_positive_definite_matrix_has_its_cholesky_factor_to_the_bit(dtype):
    A = grid_laplacian((25, 25)).astype(dtype)
    for threads in (1, 2):
        F, G = sc.cholesky(A, threads=threads), sc.ldl(A, threads=threads)
        b = np.arange(A.shape[0], dtype=dtype)
        assert (F.L.data == G.L.data).all()
        assert (F.solve(b) == G.solve(b)).all()
        assert (F.partial_inverse().data == G.partial_inverse().data).all()
        assert F.logdet() == G.logabsdet()
        assert F.rcond == G.rcond
    assert (G.D.diagonal() == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(300, 200), (60, 500)])
def test_large_fronts_on_any_number_of_threads(dtype, size):
    """Products that are packed, and panels of several blocks; batches have the same bits."""
    rng = np.random.default_rng(5)
    A, signs = scrambled(rng, *quasi_definite(rng, *size, dtype, "dense"))
    S = sc.analyze(A)
    F = S.ldl(A, threads=1)
    residual = (F.L @ F.D @ F.L.conj().T).toarray() - A[np.ix_(F.perm, F.perm)]
    assert abs(residual).max() < 1000 * eps(dtype) * abs(A).max()
    assert F.inertia == ((signs > 0).sum(), (signs < 0).sum())
    assert (S.ldl(A, threads=2).L.data == F.L.data).all()
    batch = S.ldl_batch([S.values(A), -S.values(A)], signs=None)
    assert (batch[0].L.data == F.L.data).all()
    assert batch[1].inertia == F.inertia[::-1]


def backward_error(A, x, b):
    """Of a solution, by mpmath: max |b - A x| / (|A| max |x| + max |b|)."""
    A = sp.csr_array(A)
    worst = size = mpmath.mpf(0)
    with mpmath.workdps(50):
        for i, (begin, end) in enumerate(pairwise(A.indptr)):
            entries = [mpmath.mpf(float(v)) for v in A.data[begin:end]]
            row = [mpmath.mpf(float(x[j])) for j in A.indices[begin:end]]
            product = mpmath.fdot(entries, row)
            worst = max(worst, abs(mpmath.mpf(float(b[i])) - product))
            size = max(size, mpmath.fsum(map(abs, entries)))
        return float(worst / (size * float(abs(x).max()) + float(abs(b).max())))


@pytest.mark.parametrize("exponent", [4, 8, 12])
@pytest.mark.parametrize("seed", range(3))
def test_refinement_reaches_working_precision(exponent, seed):
    rng = np.random.default_rng(seed)
    A, signs = quasi_definite(rng, 40, 25)
    d = 10.0 ** rng.uniform(-exponent / 4, exponent / 4, 65)
    A = A * d * d[:, None]
    A, signs = scrambled(rng, A, signs)
    b = A @ rng.standard_normal(65)
    x = sc.ldl(A, signs=signs).solve(b, refine=10)
    assert backward_error(A, x, b) <= 1e-15


def kkt_with_zero_block(rng, n, m):
    H = random_spd(rng, n, "banded")
    G = np.where(rng.random((m, n)) < 0.3, rng.standard_normal((m, n)), 0) + np.eye(m, n)
    return np.block([[H, G.T], [G, np.zeros((m, m))]]), np.repeat([1, -1], [n, m])


@pytest.mark.parametrize("delta", [1e-6, 1e-8, 1e-10])
def test_shifted_diagonal_gives_the_solution_of_the_matrix_itself(delta):
    rng = np.random.default_rng(3)
    K, signs = scrambled(rng, *kkt_with_zero_block(rng, 30, 12))
    x = rng.standard_normal((42, 2))
    F = sc.ldl(K, signs=signs, regularize=delta)
    np.testing.assert_allclose(F.solve(K @ x), x, rtol=0, atol=1e-11)
    with np.errstate(all="raise"):
        np.testing.assert_allclose(F.solve(sp.csc_array(K @ x)).toarray(), x, rtol=0, atol=1e-11)
    assert abs(F.solve(K @ x, refine=0) - x).max() > delta / 1e3
    assert F.regularized.size == 0
    assert F.inertia == (30, 12)
    batch = F.pattern.ldl_batch([F.pattern.values(K)] * 2, signs=signs, regularize=delta)
    np.testing.assert_allclose(batch.solve(np.stack([K @ x] * 2))[1], x, rtol=0, atol=1e-11)


def test_pivots_of_the_wrong_sign_are_replaced_and_named():
    rng = np.random.default_rng(0)
    A, signs = quasi_definite(rng, 20, 10)
    A[4, :] = A[:, 4] = 0  # a zero pivot,
    A[7, :] = A[:, 7] = 0
    A[7, 7] = -3  # and one of the wrong sign
    with pytest.raises(sc.PivotError, match=r"row and column [47] is .*positive") as caught:
        sc.ldl(A, signs=signs)
    assert caught.value.row in (4, 7)
    F = sc.ldl(A, signs=signs, regularize=(1e-10, 2.0))
    assert F.regularized.tolist() == [4, 7]
    assert F.inertia == (20, 10)
    D = A + np.diag(np.where(np.arange(30) == 4, 2.0, np.where(np.arange(30) == 7, 5.0, 0)))
    LDL = (F.L @ F.D @ F.L.T).toarray()
    np.testing.assert_allclose(LDL, D[np.ix_(F.perm, F.perm)], atol=1e-11)
    G = pickle.loads(pickle.dumps(F))
    assert G.regularized.tolist() == [4, 7]
    batch = F.pattern.ldl_batch([F.pattern.values(A), F.pattern.values(D)], signs=signs,
                                regularize=(1e-10, 2.0))  # fmt: skip
    assert [rows.tolist() for rows in batch.regularized] == [[4, 7], []]
    assert batch[0].regularized.tolist() == [4, 7]


def test_a_replaced_pivot_leaves_the_solution_of_the_matrix_itself():
    """[1 1; 1 1.001] has a pivot of 1e-3 that becomes 1.5e-3: refinement brings it back."""
    rng = np.random.default_rng(1)
    A = np.diag(np.r_[rng.uniform(1, 2, 8), -rng.uniform(1, 2, 4)])
    A[0, 1] = A[1, 0] = 1
    A[0, 0], A[1, 1] = 1, 1 + 1e-3
    F = sc.ldl(A, signs=np.sign(np.diag(A)), regularize=(1.1e-3, 1.5e-3), ordering="natural")
    assert F.regularized.tolist() == [1]
    x = rng.standard_normal(12)
    np.testing.assert_allclose(F.solve(A @ x), x, rtol=0, atol=1e-8)


def test_a_factor_that_is_not_near_the_matrix_is_told():
    A = np.diag([1.0, 1e-12])
    F = sc.ldl(A, signs=[1, 1], regularize=(1e-9, 1.0))
    with pytest.warns(LinAlgWarning, match="backward error of the solution"):
        F.solve([1.0, 1.0])


def test_refactorize_copy_and_pickle_keep_the_rule():
    rng = np.random.default_rng(2)
    K, signs = kkt_with_zero_block(rng, 12, 5)
    F = sc.ldl(K, signs=signs, regularize=1e-8)
    b = rng.standard_normal(17)
    for G in (F.copy(), pickle.loads(pickle.dumps(F))):
        assert (G.solve(b) == F.solve(b)).all()
        G.refactorize(2 * K)
        np.testing.assert_allclose(G.solve(b), np.linalg.solve(2 * K, b), rtol=1e-9)
    with pytest.raises(sc.PivotError):
        F.refactorize(-K)
    with pytest.raises(np.linalg.LinAlgError, match="no factor"):
        F.solve(b)
    batch = F.pattern.ldl_batch([F.pattern.values(K)], signs=signs, regularize=1e-8)
    batch.refactorize([2 * F.pattern.values(K)])
    np.testing.assert_allclose(batch.solve(b[None])[0], np.linalg.solve(2 * K, b), rtol=1e-9)
    assert repr(batch).startswith("<LDLBatch of 1 factors")
    assert repr(batch[0]).startswith("<LDLFactor of shape (17, 17)")


def test_inertia_counts_the_eigenvalues_below_a_shift():
    A = grid_laplacian((9, 11))
    eigenvalues = np.linalg.eigvalsh(A.toarray())
    for shift in [eigenvalues[0] - 1, *(eigenvalues[20:40:5] + 1e-3), eigenvalues[-1] + 1]:
        F = sc.ldl(A - shift * sp.eye_array(99))
        assert F.inertia.negative == (eigenvalues < shift).sum()


def test_condition_number_is_estimated():
    rng = np.random.default_rng(9)
    A, _ = quasi_definite(rng, 30, 20)
    F = sc.ldl(A)
    exact = np.linalg.cond(A, 1)
    assert exact / 4 < F.condest() <= exact * (1 + 1e-9)
    d = np.sqrt(abs(A).max(axis=0))
    scaled = np.linalg.cond(A / d / d[:, None], 1)
    assert 1 / scaled * (1 - 1e-9) <= F.rcond < 4 / scaled
    assert np.isscalar(F.rcond)


@pytest.mark.parametrize("path", kkt_files(), ids=lambda path: path.name)
def test_real_matrices(path):
    A = sp.csc_array(mmread(path))
    signs = np.sign(A.diagonal())
    F = sc.ldl(A, signs=signs)
    assert F.inertia == ((signs > 0).sum(), (signs < 0).sum())
    b = A @ np.cos(np.arange(A.shape[0]))
    x = F.solve(b, refine=10)
    size = abs(A).sum(axis=0).max() * abs(x).max() + abs(b).max()
    residual = b.astype(np.longdouble) - A.astype(np.longdouble) @ x.astype(np.longdouble)
    assert abs(residual).max() <= 1e-15 * size


# ---- what is refused, or warned of ----


def test_zero_pivot_is_named():
    with pytest.raises(sc.PivotError, match="row and column 1 is 0; another ordering") as caught:
        sc.ldl(np.array([[2.0, 0, 0], [0, 0, 1], [0, 1, 0]]), ordering="natural")
    assert (caught.value.row, caught.value.pivot, caught.value.item) == (1, 0, None)
    S = sc.analyze(np.eye(2))
    with pytest.raises(sc.PivotError, match="matrix 1 of the batch") as caught:
        S.ldl_batch([[1.0, 1.0], [0.0, 1.0]])
    assert caught.value.item == 1


def test_a_pivot_that_is_rounding_is_refused_or_warned_of():
    rng = np.random.default_rng(4)
    G = rng.standard_normal((5, 3))
    G[2] = G[0] + G[1]
    G[4] = [0.1, 1, 0]
    A = G @ np.diag([1, -1, 1]) @ G.T
    A[3:, 3:] += np.eye(2)
    with pytest.raises(sc.PivotError, match="singular to working precision") as caught:
        sc.ldl(A, ordering=[0, 1, 3, 4, 2])
    assert (caught.value.row, sorted(caught.value.rows)) == (2, [0, 1, 2])
    assert abs(caught.value.pivot) < 1e-14
    with pytest.warns(LinAlgWarning, match="ill-conditioned.*rows 0, 1, 2"):
        sc.ldl(A, ordering=[0, 1, 3, 4, 2], weak_pivots="accept")


def test_an_ill_conditioned_matrix_is_warned_of_unless_signs_are_given():
    A = np.array([[1.0, 1, 0], [1, 1 + 20 * eps(float), 0], [0, 0, -1]])
    with pytest.warns(LinAlgWarning, match="ill-conditioned matrix.*rows 0, 1 are"):
        sc.ldl(A)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sc.ldl(A, signs=[1, 1, -1]).inertia == (2, 1)


def test_unstable_pivots_are_told():
    A = np.array([[1e-9, 1.0], [1.0, 1.0]])
    with pytest.warns(LinAlgWarning, match="2e.09 times as large as the matrix"):
        F = sc.ldl(A, ordering="natural")
    b = A @ [1.0, 2.0]
    np.testing.assert_allclose(F.solve(b, refine=5), [1, 2], rtol=1e-14)
    with pytest.raises(sc.PivotError, match="unstable"):
        sc.ldl(np.array([[1e-16, 1.0], [1.0, 1.0]]), ordering="natural")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.ldl(np.array([[1e-6, 1.0], [1.0, 1.0]]), ordering="natural")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signs": [1, -1]}, r"signs has shape \(2,\), not \(3,\)"),
        ({"signs": [1, 0, -1]}, "that of row 1 is"),
        ({"signs": [1, np.nan, -1]}, "that of row 1 is"),
        ({"regularize": 1e-8}, "needs signs="),
        ({"signs": [1, 1, 1], "regularize": 0.0}, "must be a positive number"),
        ({"signs": [1, 1, 1], "regularize": (1e-8, np.nan)}, "must be a positive number"),
        ({"signs": [1, 1, 1], "regularize": (-1.0, 1.0)}, "must be a positive number"),
        ({"signs": [1, 1, 1], "regularize": (1.0, 1.0, 1.0)}, "a pair"),
        ({"weak_pivots": "no"}, "weak_pivots must be"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sc.ldl(np.eye(3), **options)


def test_wrong_matrices_and_vectors_are_refused():
    with pytest.raises(ValueError, match="complex symmetric, not Hermitian"):
        sc.ldl(np.array([[1.0, 1j], [1j, -1.0]]))
    with pytest.raises(ValueError, match="NaN"):
        sc.ldl(np.array([[1.0, np.nan], [np.nan, -1.0]]))
    with pytest.raises(ValueError, match="square"):
        sc.ldl(np.ones((2, 3)))
    F = sc.ldl(np.diag([1.0, -1.0]))
    with pytest.raises(ValueError, match="shape"):
        F.solve(np.ones(3))
    with pytest.raises(ValueError, match="refine"):
        F.solve(np.ones(2), refine=-1)
    with pytest.raises(ValueError, match="do not fit a batch"):
        F.pattern.ldl_batch([[1.0, -1.0]]).refactorize([[1.0, -1.0]] * 2)


def test_empty_matrices():
    F = sc.ldl(np.empty((0, 0)))
    assert F.inertia == (0, 0)
    assert F.slogdet() == (1, 0)
    assert F.solve(np.empty(0)).shape == (0,)
    assert F.D.shape == (0, 0)
    S = sc.analyze(np.eye(2))
    assert len(S.ldl_batch(np.empty((0, 2)))) == 0
