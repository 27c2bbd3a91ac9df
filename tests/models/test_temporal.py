"""Random walks, seasons and autoregressions: their definitions, written as dense algebra."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import null_space, solve, toeplitz

from sparsechol.models import ar1, arp, iid, rw1, rw2, seasonal
from support.helpers import SETTINGS


def check_null_space(model):
    Q, V = model.Q.toarray(), model.null_space
    assert_allclose(Q @ V, 0, atol=1e-12 * abs(Q).max())
    eigenvalues = np.linalg.eigvalsh(Q)
    assert model.rank == np.count_nonzero(eigenvalues > 1e-10 * eigenvalues[-1])
    assert np.linalg.matrix_rank(V) == V.shape[1]
    assert_array_equal(model.constraint, V.T)


def locations(seed, n=9):
    return np.cumsum(np.random.default_rng(seed).uniform(0.2, 2.0, n))


def test_iid():
    assert_array_equal(iid(3).Q.toarray(), np.eye(3))
    assert iid(3).null_space is iid(3).constraint is None


def energy_of_rw2(t, x, period=None):
    """The sum of squared changes of slope, each over the width of its location."""
    ends = [] if period is None else [t[0] + period, t[1] + period]
    t, x = np.append(t, ends), np.append(x, x[: len(ends)])
    total = 0.0
    for a, b, c in zip(range(len(t)), range(1, len(t)), range(2, len(t)), strict=False):
        change = (x[c] - x[b]) / (t[c] - t[b]) - (x[b] - x[a]) / (t[b] - t[a])
        total += change**2 / ((t[c] - t[a]) / 2)
    return total


@pytest.mark.parametrize("period", [None, 25.0])
def test_random_walks_of_unequal_steps(period):
    t, x = locations(0), np.random.default_rng(1).standard_normal(9)
    first, second = rw1(t, period=period), rw2(t, period=period)
    steps = np.diff(x) ** 2 / np.diff(t)
    if period is not None:
        steps = np.append(steps, (x[0] - x[-1]) ** 2 / (t[0] + period - t[-1]))
    assert_allclose(x @ (first.Q @ x), steps.sum(), rtol=1e-12)
    assert_allclose(x @ (second.Q @ x), energy_of_rw2(t, x, period), rtol=1e-12)
    for model in (first, second):
        check_null_space(model)
    assert first.rank == 8
    assert second.rank == (7 if period is None else 8)


def test_cyclic_walks_are_circulant():
    assert_array_equal(rw1(5, period=5).Q.toarray(), toeplitz([2, -1, 0, 0, -1]))
    assert_array_equal(rw2(7, period=7).Q.toarray(), toeplitz([6, -4, 1, 0, 0, 1, -4]))
    assert_array_equal(rw2(3, period=3).Q.toarray(), toeplitz([6, -3, -3]))


def test_steps_of_one_length():
    h = 0.25
    assert_allclose(rw1(h * np.arange(8)).Q.toarray(), rw1(8).Q.toarray() / h)
    assert_allclose(rw2(h * np.arange(8)).Q.toarray(), rw2(8).Q.toarray() / h**3)


@pytest.mark.parametrize(("n", "period"), [(12, 4), (9, 2), (5, 5)])
def test_seasonal(n, period):
    model = seasonal(n, period)
    sums = np.array([[i <= j < i + period for j in range(n)] for i in range(n - period + 1)])
    assert_array_equal(model.Q.toarray(), sums.T.astype(float) @ sums)
    check_null_space(model)
    assert model.rank == n - period + 1


@given(
    st.lists(st.floats(-0.95, 0.95), min_size=1, max_size=4),
    st.integers(1, 12),
)
@SETTINGS
def test_autoregressions(pacf, more):
    """An inverse of bandwidth p that is Toeplitz with these partial autocorrelations is the one."""
    p, n = len(pacf), len(pacf) + more
    Q = arp(n, p)(pacf=pacf).Q.toarray()
    assert_array_equal(Q, Q.T)
    assert not np.triu(Q, p + 1).any()
    covariance = np.linalg.inv(Q)
    scale = np.linalg.cond(Q) * 1e-14
    acf = covariance[0]
    assert_allclose(covariance, toeplitz(acf), atol=scale)
    assert_allclose(acf[0], 1, atol=scale)
    for k, r in enumerate(pacf, start=1):
        found = solve(toeplitz(acf[:k]), acf[1 : k + 1])[-1]
        assert_allclose(found, r, atol=scale * np.linalg.cond(toeplitz(acf[:k])))


@SETTINGS
@given(st.integers(1, 5), st.integers(0, 2**20))
def test_autoregressions_by_their_coefficients(p, seed):
    """Innovations are uncorrelated with what was before: x L^-1 of the process, written out."""
    rng = np.random.default_rng(seed)
    roots = rng.uniform(-0.9, 0.9, p)
    phi = -np.poly(roots)[1:]
    n = p + 7
    covariance = np.linalg.inv(arp(n, p, by="phi")(phi=phi).Q.toarray())
    scale = np.linalg.cond(covariance) * 1e-13
    assert_allclose(covariance.diagonal(), 1, atol=scale)
    D = np.eye(n)
    for k, a in enumerate(phi, start=1):
        D -= a * np.eye(n, k=-k)
    innovations = D @ covariance  # the covariance of innovations and values
    for t in range(p, n):
        assert_allclose(innovations[t, :t], 0, atol=scale)


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_ar1_correlations(n):
    covariance = np.linalg.inv(ar1(n)(rho=-0.7).Q.toarray())
    assert_allclose(covariance, toeplitz((-0.7) ** np.arange(n)), atol=1e-12)


def test_terms_are_linear():
    family = arp(6, 2)
    total = sum(c * B.toarray() for c, B in family.terms(pacf=(0.3, -0.2)))
    assert_allclose(total, family(pacf=(0.3, -0.2)).Q.toarray())
    assert family.pattern.nnz == 6 + 2 * 5 + 2 * 4
    assert repr(family) == "<PrecisionFamily of shape (6, 6), parameters pacf>"
    assert null_space(total).shape[1] == 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: iid(0), ValueError, "n must be at least 1, not 0"),
        (lambda: iid(2.5), TypeError, "n must be a whole number, not 2.5"),
        (lambda: rw1(1), ValueError, "number of values must be at least 2"),
        (lambda: rw2([0.0, 1.0]), ValueError, "3 locations"),
        (lambda: rw1([0.0, 2.0, 2.0]), ValueError, r"t\[2\] = 2.0 follows t\[1\] = 2.0"),
        (lambda: rw1([0.0, np.nan, 2.0]), ValueError, r"t\[1\]"),
        (lambda: rw2(5, period=4), ValueError, "longer than the distance 4.0"),
        (lambda: seasonal(4, 5), ValueError, "n must be at least 5"),
        (lambda: seasonal(4, 1), ValueError, "period must be at least 2"),
        (lambda: arp(2, 2), ValueError, "n must be at least 3"),
        (lambda: arp(9, 2)(pacf=[0.5]), ValueError, "pacf must hold 2 numbers, not 1"),
        (lambda: arp(9, 1)(pacf=[1.5]), ValueError, "pacf must lie between -1 and 1, not 1.5"),
        (lambda: arp(9, 2, by="phi")(phi=[0.5]), ValueError, "phi must hold 2 numbers, not 1"),
        (lambda: arp(9, 2, by="phi")(phi=[0.5, 1.0]), ValueError, "phi .* lag 2 is 1"),
        (lambda: arp(9, 2, by="phi")(phi=[1.6, -0.5]), ValueError, "phi .* lag 1 is 1.06"),
        (lambda: arp(9, 2, by="phi")(phi=[0.5, np.nan]), ValueError, "phi"),
        (lambda: arp(9, 2, by="acf"), ValueError, "by must be 'pacf' or 'phi', not 'acf'"),
        (lambda: ar1(3)(rho=1.0), ValueError, "rho must lie between -1 and 1, not 1.0"),
        (lambda: ar1(3)(rho=np.nan), ValueError, "rho must lie between"),
        (lambda: ar1(3)(), TypeError, "the parameter rho is missing"),
        (lambda: ar1(3)(rho=0.5, phi=1), TypeError, "phi is none of this family, which has rho"),
    ],
)
def test_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
