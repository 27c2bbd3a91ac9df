"""Fields under linear constraints, against dense algebra on the plane of the constraints."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import sparsechol as sc
from support.fields import conditional, laplacian, random_graph, second_order
from support.helpers import SETTINGS, random_spd


def agrees(given_, Q, C, e, rng, tol=1e-10):
    """Compare everything that a conditioned field gives with dense algebra."""
    Q = Q.toarray().astype(float) if sp.issparse(Q) else Q.astype(float)
    n, C = len(Q), np.atleast_2d(C)
    e = np.broadcast_to(e, len(C)).astype(float)
    mu = rng.standard_normal(n)
    mean, cov, logdet, N = conditional(Q, C, e, mu)
    size = 1 + abs(cov).max()
    assert given_.constraints == len(C)
    assert given_.shape == Q.shape
    assert abs(given_.mean(mu) - mean).max() <= tol * size * (1 + abs(mean).max())
    assert abs(given_.marginal_variances() - cov.diagonal()).max() <= tol * size
    assert given_.marginal_variances().min() >= 0
    i, j = rng.integers(-n, n, (3, 1)), rng.integers(n, size=5)
    assert abs(given_.covariance_entries(i, j) - cov[i, j]).max() <= tol * size
    B = rng.standard_normal((6, n)) * (rng.random((6, n)) < 0.3)
    expected = np.einsum("ri,ij,rj->r", B, cov, B)
    assert abs(given_.quadratic_variance(sp.csr_array(B)) - expected).max() <= tol * size * n
    assert abs(given_.quadratic_variance(B[0]) - expected[0]) <= tol * size * n
    x = mean + rng.standard_normal((2, 3, N.shape[1])) @ N.T
    d = x - mean
    wanted = -(N.shape[1] * np.log(2 * np.pi) + logdet + np.einsum("...i,ij,...j", d, Q, d)) / 2
    found = given_.logpdf(x, mu)
    assert found.shape == (2, 3)
    assert abs(found - wanted).max() <= tol * (1 + abs(wanted).max())
    draws = given_.sample((2, 3), mu=mu, rng=0)
    assert draws.shape == (2, 3, n)
    assert abs(draws @ C.T - e).max() <= tol * (1 + abs(C).max() * abs(draws).max()) * n


@SETTINGS
@given(st.integers(0, 2**20), st.integers(2, 25), st.integers(1, 4))
def test_definite(seed, n, m):
    rng = np.random.default_rng(seed)
    m = min(m, n - 1)
    Q, C, e = random_spd(rng, n), rng.standard_normal((m, n)), rng.standard_normal(m)
    F = sc.cholesky(Q)
    agrees(F.condition(C, e), Q, C, e, rng)
    agrees(F.condition(sp.coo_array(C)), Q, C, 0, rng)
    agrees(F.condition(C[0], 3.0), Q, C[0], 3.0, rng)


@SETTINGS
@given(st.integers(0, 2**20), st.integers(5, 25), st.integers(1, 3), st.integers(0, 2))
def test_intrinsic(seed, n, parts, more):
    rng = np.random.default_rng(seed)
    i, j = random_graph(rng, n, parts, 1)
    Q = laplacian(n, i, j, rng.lognormal(size=len(i)))
    F = sc.cholesky(Q, null_space="components")
    k = F.null_space.dimension
    C, e = rng.standard_normal((k + more, n)), rng.standard_normal(k + more)
    C[:k] += 3 * F.null_space.dense().T  # else the plane is nearly free
    agrees(F.condition(C[: min(n - 1, k + more)], e[: n - 1]), Q, C[: n - 1], e[: n - 1], rng, 1e-8)


def test_sum_to_zero_is_the_pseudo_inverse():
    rng = np.random.default_rng(0)
    i, j = random_graph(rng, 30, 1, 0)
    Q = laplacian(30, i, j, rng.uniform(1, 2, len(i)))
    F = sc.cholesky(Q, null_space="components")
    fixed = F.condition(np.ones(30))
    np.testing.assert_allclose(fixed.marginal_variances(), F.diag_inverse(), rtol=1e-10)
    entry = fixed.covariance_entries(3, 17)
    assert entry.shape == ()
    assert abs(entry - F.inverse_entries(3, 17)) < 1e-12
    x = F.sample(rng=1)
    wanted = (F.logdet() - 29 * np.log(2 * np.pi) - x @ Q @ x) / 2
    assert abs(fixed.logpdf(x) - wanted) < 1e-10


def test_second_order_walk():
    rng = np.random.default_rng(1)
    Q, V = second_order(15)
    F = sc.cholesky(Q, null_space=V)
    C = rng.standard_normal((4, 15))
    agrees(F.condition(C, [1.0, 2.0, 3.0, 4.0]), Q, C, [1.0, 2.0, 3.0, 4.0], rng, 1e-9)
    points = np.eye(15)[[2, 11]]  # a line through two points
    fixed = F.condition(points, [5.0, 14.0])
    np.testing.assert_allclose(fixed.mean(), np.arange(15.0) + 3, atol=1e-11)
    assert abs(fixed.marginal_variances()[[2, 11]]).max() < 1e-12


def test_density_is_that_of_scipy_times_a_jacobian():
    """Two of three are fixed: pi(x | C x = e) of Rue and Held (2005), 2.3.3, term by term."""
    rng = np.random.default_rng(2)
    Q, C, mu = random_spd(rng, 6), rng.standard_normal((2, 6)), rng.standard_normal(6)
    S = np.linalg.inv(Q)
    x = rng.standard_normal(6)
    wanted = (multivariate_normal.logpdf(x, mu, S) - np.linalg.slogdet(C @ C.T)[1] / 2
              - multivariate_normal.logpdf(C @ x, C @ mu, C @ S @ C.T))  # fmt: skip
    found = sc.cholesky(Q).condition(C, C @ x).logpdf(x, mu)
    assert abs(found - wanted) < 1e-10
    change = np.array([[0.0, 1e5], [-1e-5, 0]])  # other rows, the same plane
    again = sc.cholesky(Q).condition(change @ C, change @ C @ x).logpdf(x, mu)
    assert abs(found - again) < 1e-9
    assert sc.cholesky(Q).condition(C, C @ x + [0, 1e-3]).logpdf(x, mu) == -np.inf


def test_draws_have_the_covariance():
    rng = np.random.default_rng(3)
    i, j = random_graph(rng, 8, 1, 0)
    Q = laplacian(8, i, j, np.ones(len(i)))
    C, e = rng.standard_normal((2, 8)), np.array([1.0, -1.0])
    mean, cov, _, _ = conditional(Q.toarray(), C, e, np.zeros(8))
    x = sc.cholesky(Q, null_space="components").condition(C, e).sample(20_000, rng=4)
    assert abs(x.mean(axis=0) - mean).max() < 0.05 * abs(cov).max() ** 0.5
    assert abs(np.cov(x.T) - cov).max() < 0.05 * abs(cov).max()


def test_single_precision():
    rng = np.random.default_rng(5)
    i, j = random_graph(rng, 12, 1, 0)
    Q = laplacian(12, i, j, np.ones(len(i))).astype(np.float32)
    fixed = sc.cholesky(Q, null_space="components").condition(np.eye(12)[:3], 1.0)
    agrees(fixed, Q, np.eye(12)[:3], 1.0, rng, 1e-5)
    for result in (fixed.mean(), fixed.marginal_variances(), fixed.sample(rng=0)):
        assert result.dtype == np.float32


def test_refused():
    rng = np.random.default_rng(6)
    Q = random_spd(rng, 5)
    F, C = sc.cholesky(Q), rng.standard_normal((3, 5))
    nan = C.copy()
    nan[1, 2] = np.nan
    for bad, e, message in [
        (C[:, :4], 0, r"shape \(3, 4\).*\(m, 5\)"),
        (np.ones((1, 2, 5)), 0, "shape"),
        (np.zeros((0, 5)), 0, "shape"),
        (nan, 0, r"C\[1, 2\]"),
        (C * [[1], [0], [1]], 0, "row 1 of C is zero"),
        (C[[0, 1, 0]], 0, "row [02] of C is a combination"),
        (np.ones((6, 5)), 0, "combination"),
        (C, [1.0, 2.0], r"e has shape \(2,\).*3 constraints"),
        (C, [1.0, 2.0, np.inf], r"e\[2\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            F.condition(bad, e)
    with pytest.raises(TypeError, match="must be real"):
        F.condition(1j * C)
    with pytest.raises(TypeError, match="complex128: it must be real"):
        sc.cholesky(random_spd(rng, 5, dtype=np.complex128)).condition(C)
    fixed = F.condition(C)
    for call in (lambda: fixed.mean(np.ones(4)), lambda: fixed.logpdf(np.ones(4)),
                 lambda: fixed.sample(mu=np.ones((2, 5)))):  # fmt: skip
        with pytest.raises(ValueError, match="shape"):
            call()
    with pytest.raises(IndexError):
        fixed.covariance_entries(0, 5)
    F.refactorize(2 * Q)
    with pytest.raises(ValueError, match="refactorized"):
        fixed.mean()


def test_directions_that_stay_free_are_named():
    Q = laplacian(9, [0, 1, 4, 5], [1, 2, 5, 6], np.ones(4))  # vertices 3, 7, 8 are isolated
    F = sc.cholesky(Q, null_space="components")
    with pytest.raises(ValueError, match=r"fewer constraints, 4, than dimensions.*, 5"):
        F.condition(np.eye(9)[:4])
    with pytest.raises(ValueError, match=r"1 of 5 directions.*rows 4, 5, 6 can move"):
        F.condition(np.eye(9)[[0, 3, 7, 8, 1]])
    assert F.condition(np.eye(9)[[0, 3, 7, 8, 5]]).mean(2.0).tolist() == [0, 0, 0] + [0] * 6
