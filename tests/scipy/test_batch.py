"""CholeskyBatch against single factors and dense linear algebra."""

import pickle

import numpy as np
import pytest
from scipy.linalg import LinAlgWarning

import sparsechol as sc
from support.helpers import DTYPES, eps, random_pattern, random_values


def batch_of(count, n, dtype, kind="random"):
    """Dense matrices of one pattern, their analysis and packed values."""
    rng = np.random.default_rng(n)
    pattern = random_pattern(rng, n, kind)
    matrices = [random_values(rng, pattern, dtype) for _ in range(count)]
    S = sc.analyze(pattern.astype(float))
    return matrices, S, np.array([S.values(A) for A in matrices])


def right_hand_sides(rng, shape, dtype):
    b = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        b = b + 1j * rng.standard_normal(shape)
    return b.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(), (1,), (3,), (40,)])
def test_solutions_are_those_of_dense_matrices(dtype, threads, shape):
    matrices, S, values = batch_of(7, 23, dtype)
    b = right_hand_sides(np.random.default_rng(0), (7, 23, *shape), dtype)
    before = b.copy()
    x = S.factorize_batch(values, threads=threads).solve(b, threads=threads)
    assert x.shape == b.shape
    assert x.dtype == dtype
    assert np.array_equal(b, before)
    for A, bi, xi in zip(matrices, b, x, strict=True):
        expected = np.linalg.solve(A.astype(complex), bi)
        np.testing.assert_allclose(xi, expected, atol=1000 * eps(dtype) * abs(expected).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["random", "tree", "dense", "diagonal"])
@pytest.mark.parametrize("threads", [1, 2])
def test_every_result_has_the_bits_of_a_single_factor(dtype, kind, threads):
    _, S, values = batch_of(5, 31, dtype, kind)
    batch = S.factorize_batch(values, threads=threads)
    b = right_hand_sides(np.random.default_rng(1), (5, 31), dtype)
    x = batch.solve(b, threads=threads)
    determinants = batch.logdet()
    inverses = batch.partial_inverse(threads=threads)
    diagonals = batch.diag_inverse(threads=threads)
    assert diagonals.dtype == np.finfo(dtype).dtype
    assert len(batch) == 5
    for i, packed in enumerate(values):
        F = S.factorize(packed, threads=1)
        assert np.array_equal(x[i], F.solve(b[i]))
        assert determinants[i] == F.logdet()
        assert np.array_equal(inverses[i], S.values(F.partial_inverse()))
        assert np.array_equal(diagonals[i], F.diag_inverse())
        assert np.array_equal(batch[i].L.data, F.L.data)
        assert np.array_equal(batch[i].solve(b[i]), x[i])


def test_complex_right_hand_sides_of_real_matrices():
    matrices, S, values = batch_of(3, 12, np.float64)
    b = right_hand_sides(np.random.default_rng(2), (3, 12, 2), np.complex128)
    x = S.factorize_batch(values).solve(b)
    for A, bi, xi in zip(matrices, b, x, strict=True):
        np.testing.assert_allclose(xi, np.linalg.solve(A, bi), rtol=1e-10)


def test_update_factors_other_values_in_place():
    _, S, values = batch_of(4, 15, np.float64)
    batch = S.factorize_batch(values)
    flat = batch._panels
    assert batch.refactorize(2 * values) is batch
    assert batch._panels is flat
    np.testing.assert_allclose(
        batch.logdet(), S.factorize_batch(values).logdet() + 15 * np.log(2), rtol=1e-12
    )
    with pytest.raises(ValueError, match="do not fit a batch of 4"):
        batch.refactorize(values[:3])
    with pytest.raises(TypeError):
        batch.refactorize(values + 0j)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_first_matrix_that_is_not_positive_definite_is_named(threads):
    _, S, values = batch_of(6, 15, np.float64)
    batch = S.factorize_batch(values, threads=threads)
    bad = values.copy()
    for item, row in ((2, 3), (4, 7)):
        bad[item, S.indptr[row]] = -1
    with pytest.raises(sc.NotPositiveDefiniteError, match="matrix 2 of the batch") as caught:
        batch.refactorize(bad, threads=threads)
    assert (caught.value.item, caught.value.row) == (2, 3)
    assert caught.value.pivot <= -1
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.item, again.row, str(again)) == (2, 3, str(caught.value))
    for use in (batch.logdet, batch.partial_inverse, lambda: batch.solve(np.ones((6, 15)))):
        with pytest.raises(np.linalg.LinAlgError, match="last factorization failed"):
            use()
    assert np.isfinite(batch.refactorize(values).logdet()).all()


def test_slogdet_is_that_of_dense_matrices():
    matrices, S, values = batch_of(4, 12, np.float64)
    found, expected = S.factorize_batch(values).slogdet(), np.linalg.slogdet(np.array(matrices))
    np.testing.assert_array_equal(found.sign, expected.sign)
    np.testing.assert_allclose(found.logabsdet, expected.logabsdet, rtol=1e-12)


def test_a_small_singular_matrix_of_a_batch_is_refused():
    S = sc.analyze(np.ones((2, 2)))
    with pytest.raises(sc.NotPositiveDefiniteError, match="matrix 1 of the batch is singular"):
        S.factorize_batch([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0 + np.finfo(float).eps]])


def test_doubtful_matrices_are_warned_of_once():
    weak = [1.0, 1.0, 1.0 + 1e-14]
    S = sc.analyze(np.eye(100) + np.eye(100, k=-1))
    values = np.tile(S.values(np.eye(100)), (3, 1))
    place = S.indptr[98]
    values[1:, place : place + 3] = weak
    with pytest.warns(LinAlgWarning, match=r"matrix 1 of the batch.*1 more"):
        S.factorize_batch(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(3), "row for each matrix"),
        (np.ones((2, 4)), "row for each matrix"),
        (np.ones((1, 2, 3)), "row for each matrix"),
        ([[4, 1, 5], [4, np.nan, 5]], "value 1 of matrix 1"),
        ([[4, 1, np.inf]], "value 2 of matrix 0"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, message):
    S = sc.analyze(np.ones((2, 2)))
    with pytest.raises(ValueError, match=message):
        S.factorize_batch(values)


def test_values_that_are_no_numbers_are_refused():
    S = sc.analyze(np.ones((2, 2)))
    with pytest.raises(TypeError):
        S.factorize_batch([["a", "b", "c"]])


@pytest.mark.parametrize("shape", [(2,), (3, 2), (2, 3), (2, 2, 2, 2)])
def test_right_hand_sides_that_do_not_fit_are_refused(shape):
    batch = sc.analyze(np.ones((2, 2))).factorize_batch([[4, 1, 5], [4, 2, 5]])
    with pytest.raises(ValueError, match="do not fit"):
        batch.solve(np.ones(shape))
    with pytest.raises(ValueError, match=r"NaN|finite"):
        batch.solve([[1, 2], [np.nan, 0]])


@pytest.mark.parametrize(("count", "n"), [(0, 3), (3, 0), (0, 0), (1, 1)])
def test_empty_batches_and_matrices(count, n):
    S = sc.analyze(np.ones((n, n)))
    values = np.tile(S.values(np.eye(n) * 4), (count, 1))
    batch = S.factorize_batch(values)
    assert len(batch) == count
    assert batch.solve(np.ones((count, n))).tolist() == [[0.25] * n] * count
    assert batch.solve(np.ones((count, n, 0))).shape == (count, n, 0)
    assert batch.logdet().tolist() == [n * np.log(4)] * count
    assert batch.partial_inverse().shape == values.shape
    assert batch.diag_inverse().tolist() == [[0.25] * n] * count


def test_integers_are_computed_in_float64_and_pickles_are_equal():
    S = sc.analyze(np.ones((2, 2)))
    batch = S.factorize_batch([[4, 1, 5], [4, 2, 5]])
    assert batch.dtype == np.float64
    other = pickle.loads(pickle.dumps(batch))
    assert np.array_equal(other.logdet(), batch.logdet())
    other.refactorize([[9, 1, 5], [4, 2, 5]])
    assert repr(other) == "<CholeskyBatch of 2 factors of shape (2, 2), float64>"


def test_draws():
    """Of each matrix by itself, with its inverse for covariance; a batch of one is one factor."""
    matrices, S, values = batch_of(3, 6, np.complex128)
    batch = S.factorize_batch(values)
    assert batch.sample((2, 5)).shape == (3, 2, 5, 6)
    draws = batch.sample(20_000, rng=0)
    for A, x in zip(matrices, draws, strict=True):
        W = np.linalg.inv(A)
        assert abs(x.T @ x.conj() / 20_000 - W).max() < 0.05 * abs(W).max()
    assert abs(draws[0].T @ draws[1].conj()).max() < 0.05 * 20_000 * abs(draws).max()
    one = S.factorize_batch(values[:1]).sample(4, rng=1)[0]
    np.testing.assert_array_equal(one, S.factorize(values[0]).sample(4, rng=1))
