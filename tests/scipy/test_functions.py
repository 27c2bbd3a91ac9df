"""The one-call functions, and what every refusal says."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import LinAlgWarning

import sparsechol as sc
from sparsechol._scipy import input
from support.helpers import (
    DTYPES,
    ORDERS,
    eps,
    laplacian,
    random_pattern,
    random_spd,
    random_values,
)

SQUARE = np.array([[4.0, 1.0, 0.0], [1.0, 5.0, 2.0], [0.0, 2.0, 6.0]])
FUNCTIONS = [
    sc.cholesky,
    lambda A, **options: sc.solve(A, np.ones(A.shape[0]), **options),
    sc.logdet,
    sc.partial_inverse,
]


# ---- results ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [*ORDERS, "auto", "given"])
@pytest.mark.parametrize("lower", [True, False])
def test_one_call_functions_equal_dense_numpy(dtype, order, lower):
    A = random_spd(np.random.default_rng(0), 25, "random", dtype)
    if order == "given":
        order = np.random.default_rng(1).permutation(25)
    options = {"ordering": order, "lower": lower}
    M = sp.csr_array(np.tril(A) if lower else np.triu(A))
    wide = A.astype(np.result_type(dtype, np.float64))
    inverse = np.linalg.inv(wide)
    b = np.arange(25).astype(dtype)
    bound = 1000 * eps(dtype)
    np.testing.assert_allclose(sc.solve(M, b, **options), inverse @ b, atol=bound * 25)
    np.testing.assert_allclose(sc.logdet(M, **options), np.linalg.slogdet(wide)[1], rtol=bound)
    Z = sc.partial_inverse(M, **options)
    np.testing.assert_allclose(Z.toarray(), np.where(A != 0, inverse, 0), atol=bound)
    F = sc.cholesky(M, **options)
    P = wide[np.ix_(F.perm, F.perm)]
    np.testing.assert_allclose((F.L @ F.L.conj().T).toarray(), P, atol=bound * abs(A).max())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_check_symmetric(function):
    A = SQUARE.copy()
    A[0, 1] = 3
    function(A, ordering="natural", lower=True, check_symmetric=False)
    for options in ({}, {"check_symmetric": True}):
        with pytest.raises(ValueError, match="not symmetric"):
            function(A, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [*ORDERS, "auto"])
def test_empty_matrix(dtype, order):
    for A in (np.empty((0, 0), dtype), sp.csc_array((0, 0), dtype=dtype)):
        F = sc.cholesky(A, ordering=order)
        assert F.solve(np.empty(0)).shape == (0,)
        assert F.solve(np.empty((0, 3))).shape == (0, 3)
        assert F.solve(sp.csc_array((0, 2))).shape == (0, 2)
        assert F.solve_triangular(np.empty((0, 3)), trans="T").shape == (0, 3)
        assert sc.logdet(A, ordering=order) == 0
        assert F.L.shape == sc.partial_inverse(A).shape == (0, 0)
        assert F.partial_inverse(entries="factor").shape == (0, 0)
        assert F.diag_inverse().shape == (0,)
        assert F.inverse_entries([], []).shape == (0,)
        assert F.sample(4, rng=0).shape == (4, 0)
        assert F.refactorize(A) is F
        assert F.nnz == 0
        assert pickle.loads(pickle.dumps(F)).logdet() == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", [*ORDERS, "auto"])
def test_one_by_one(dtype, order):
    A = np.array([[4]], dtype)
    F = sc.cholesky(A, ordering=order)
    assert F.L.toarray() == 2
    assert sc.solve(A, [8.0], ordering=order) == 2
    assert sc.logdet(A) == pytest.approx(np.log(4))
    assert sc.partial_inverse(A).toarray() == 0.25
    assert F.inverse_entries(0, 0) == 0.25
    assert F.diag_inverse() == 0.25


@pytest.mark.parametrize("order", [*ORDERS, "auto"])
@pytest.mark.parametrize("format", ["csc", "dia", "coo"])
def test_diagonal(order, format):
    d = np.arange(1.0, 51)
    A = sp.diags_array(d, format=format)
    np.testing.assert_allclose(sc.solve(A, d, ordering=order), np.ones(50), rtol=1e-15)
    assert sc.logdet(A, ordering=order) == pytest.approx(np.log(d).sum(), rel=1e-14)
    assert sc.partial_inverse(A, ordering=order).diagonal() == pytest.approx(1 / d, rel=1e-15)


# ---- not positive definite --------------------------------------------------------------------


@pytest.mark.parametrize("order", [*ORDERS, "auto"])
@pytest.mark.parametrize("row", [0, 7, 24])
@pytest.mark.parametrize("dtype", DTYPES)
def test_row_of_a_negative_diagonal_entry_is_the_users_under_every_order(order, row, dtype):
    rng = np.random.default_rng(row)
    A = random_values(rng, random_pattern(rng, 25), dtype)
    A[row] = A[:, row] = 0
    A[row, row] = -2
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        sc.cholesky(A, ordering=order)
    assert (caught.value.row, caught.value.pivot) == (row, -2)
    assert f"row and column {row} is -2" in str(caught.value)
    assert isinstance(caught.value, np.linalg.LinAlgError)
    assert type(caught.value.row) is int
    assert type(caught.value.pivot) is float
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.row, copy.pivot, str(copy)) == (row, -2, str(caught.value))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("order", ORDERS)
def test_failing_pivot_is_that_of_the_first_indefinite_leading_block(seed, order):
    """Dense elimination in the order of `perm` says which row must fail, and with what pivot."""
    rng = np.random.default_rng(seed)
    A = random_spd(rng, 20, "random")
    A[np.diag_indices(20)] -= 1.5 * rng.random(20) * A.diagonal()
    perm = sc.analyze(A, ordering=order).perm
    if np.linalg.eigvalsh(A)[0] > 0:
        sc.cholesky(A, ordering=order)
        return
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        sc.cholesky(A, ordering=order)
    # The visiting order differs from `perm` between independent subtrees, so that another failing
    # row may come first: the failing pivot must be one that elimination leaves at that row once
    # everything that the row depends on has gone before.
    row = caught.value.row
    before = perm[: np.flatnonzero(perm == row)[0]]
    S = A[row, row] - A[row, before] @ np.linalg.solve(A[np.ix_(before, before)], A[before, row])
    if np.linalg.eigvalsh(A[np.ix_(before, before)])[:1].min(initial=1) > 0:
        assert caught.value.pivot == pytest.approx(S, rel=1e-9, abs=1e-12)
    assert caught.value.pivot <= 0


@pytest.mark.parametrize("order", [*ORDERS, "auto"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_negative_definite(order, function):
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        function(-laplacian(5, 5), ordering=order)
    assert caught.value.pivot < 0


@pytest.mark.parametrize("order", [*ORDERS, "auto"])
@pytest.mark.parametrize("shape", [(5, 5), (40, 40), (2,), (300,), (7, 7, 7)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_laplacians_are_refused_or_warned_of(order, shape, dtype):
    """Rounding decides the last pivot: zero or below it is refused, a little above it as well."""
    A = laplacian(*shape, shift=0, dtype=dtype)
    with pytest.raises((sc.NotPositiveDefiniteError, LinAlgWarning)):
        sc.cholesky(A, ordering=order)


@pytest.mark.parametrize("order", [*ORDERS, "auto"])
def test_exactly_singular_matrices(order):
    for A in (np.ones((2, 2)), np.zeros((3, 3)), np.diag([1.0, 0.0, 2.0])):
        with pytest.raises(sc.NotPositiveDefiniteError) as caught:
            sc.cholesky(A, ordering=order)
        assert caught.value.pivot == 0


def test_missing_diagonal_entry_is_a_zero_pivot():
    A = sp.csc_array(np.array([[4.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 3.0]]))
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        sc.cholesky(A, ordering="natural")
    assert (caught.value.row, caught.value.pivot) == (1, -0.25)
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        sc.cholesky(sp.csc_array((3, 3)), ordering="natural")
    assert (caught.value.row, caught.value.pivot) == (0, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nearly_singular_is_refused_and_ill_conditioned_is_warned_of(dtype):
    """[1 c; c 1] leaves the pivot 1 - c^2 of a diagonal entry 1."""
    e = eps(dtype)

    def matrix(left):
        return np.array([[1, np.sqrt(1 - left)], [np.sqrt(1 - left), 1]], dtype)

    for left in (1 * e, 8 * e):
        with pytest.raises(sc.NotPositiveDefiniteError, match="singular to working precision"):
            sc.cholesky(matrix(left))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sc.cholesky(matrix(100 * e))


def test_ill_conditioned_matrices_are_warned_of():
    """The last pivot of a shifted path Laplacian is between 16 and n roundings of its entry."""
    n = 2000
    A = laplacian(n, shift=0)
    A[n - 1, n - 1] += 300 * np.finfo(float).eps
    with pytest.warns(LinAlgWarning, match="ill-conditioned"):
        F = sc.cholesky(A, ordering="natural")
    assert np.isfinite(F.logdet())
    with pytest.warns(LinAlgWarning, match="ill-conditioned"):
        F.refactorize(A)
    assert np.isfinite(F.logdet())


@pytest.mark.parametrize(
    "function",
    [
        lambda A: sc.cholesky(A, ordering="natural"),
        lambda A: sc.logdet(A, ordering="natural"),
        lambda A: sc.analyze(A, ordering="natural").factorize(A),
        lambda A: (
            sc.analyze(A, ordering="natural").factorize(A + sp.eye_array(2000)).refactorize(A)
        ),
    ],
)
def test_warnings_point_at_the_callers_line(function):
    A = laplacian(2000, shift=0)
    A[1999, 1999] += 300 * np.finfo(float).eps
    with pytest.warns(LinAlgWarning) as caught:
        function(A)
    assert [warning.filename for warning in caught] == [__file__]


def test_single_precision_notices_what_double_precision_solves():
    A = laplacian(60, shift=1e-9)
    sc.cholesky(A)
    with pytest.raises((sc.NotPositiveDefiniteError, LinAlgWarning)):
        sc.cholesky(A.astype(np.float32))


def test_overflowing_pivots_are_refused():
    A = np.array([[1e-300, 1e200], [1e200, 1.0]])
    with pytest.raises(sc.NotPositiveDefiniteError) as caught:
        sc.cholesky(A, ordering="natural")
    assert caught.value.row == 1


# ---- bad arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("convert", [np.asarray, sp.csc_array, sp.csr_array, sp.coo_array])
def test_nan_and_infinity_are_named(function, bad, convert):
    A = SQUARE.copy()
    A[2, 1] = A[1, 2] = bad
    with pytest.raises(ValueError, match=r"infinities or NaNs: entry \(2, 1\)"):
        function(convert(A))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 1)])
def test_non_square(function, shape):
    for A in (np.ones(shape), sp.csc_array(np.ones(shape))):
        with pytest.raises(ValueError, match="square"):
            function(A)


@pytest.mark.parametrize("A", [None, "matrix", object(), [], 1.0, [1.0, 2.0], [[[1.0]]]])
def test_what_is_no_matrix(A):
    with pytest.raises((TypeError, ValueError)):
        sc.cholesky(A)


@pytest.mark.parametrize(
    "dtype", [object, "U1", "S1", "datetime64[s]", np.dtype([("a", float)])], ids=str
)
def test_what_is_not_numeric(dtype):
    with pytest.raises(TypeError):
        sc.cholesky(np.zeros((2, 2), dtype=dtype))


@pytest.mark.parametrize("format", ["csc", "coo", "lil"])
def test_cholesky_reads_a_matrix_once(format, monkeypatch):
    """Conversion, which sorts a COO matrix, is the larger part of a call on a small one."""
    A, calls = laplacian(4, 5).asformat(format), []
    reader = input._READERS[format]
    monkeypatch.setitem(input._READERS, format, lambda *a: (calls.append(1), reader(*a))[1])
    sc.cholesky(A)
    assert len(calls) == 1


def test_solve_with_a_right_hand_side_that_does_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        sc.solve(SQUARE, np.ones(4))
