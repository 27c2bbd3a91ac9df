"""Uncertainty after Laplace's approximation: against TMB, mixed model equations and dense JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln
from jax.scipy.stats import norm

import sparsechol.jax as scj
from sparsechol import NotPositiveDefiniteError
from support.tmb import COUNTS, COVARIANCE, ESTIMATES, JOINT, REPORTED, VALUE, VARIANCES

AT = {"mu": jnp.array(ESTIMATES[0]), "log_s": jnp.array(ESTIMATES[1])}


def walk(x, theta):
    """Counts along a random walk: TMB's program in `support.tmb`."""
    s = jnp.exp(theta["log_s"])
    rate = theta["mu"] + x
    prior = norm.logpdf(jnp.diff(x), 0, s).sum() + norm.logpdf(x[0], 0, s)
    return prior + jnp.sum(COUNTS * rate - jnp.exp(rate) - gammaln(COUNTS + 1))


def reported(x, theta):
    s = jnp.exp(theta["log_s"])
    return {"s": s, "total": jnp.exp(theta["mu"] + x).sum(), "first": x[0] * s}


def test_against_tmb():
    found = scj.laplace(walk, jnp.zeros(12), AT)
    report = found.uncertainty()
    np.testing.assert_allclose(found.log_marginal, VALUE, rtol=1e-12)
    np.testing.assert_allclose(report.gradient, 0, atol=1e-11)
    # JAX sorts the names: log_s comes first.
    np.testing.assert_allclose(report.covariance, np.array(COVARIANCE)[::-1, ::-1], rtol=1e-8)
    np.testing.assert_allclose(report.standard_errors()["mu"], COVARIANCE[0][0] ** 0.5, rtol=1e-8)
    np.testing.assert_allclose(report.latent_standard_errors() ** 2, VARIANCES, rtol=1e-8)
    value, error = report.propagate(reported)
    for name, (wanted, deviation) in REPORTED.items():
        np.testing.assert_allclose(value[name], wanted, rtol=1e-10)
        np.testing.assert_allclose(error[name], deviation, rtol=1e-8)
    some = np.array([0, 1, 11, 12, 13])
    joint = report.precision().todense()[np.ix_(some, some)]
    np.testing.assert_allclose(joint, JOINT, rtol=1e-8, atol=1e-9)


def mixed_model():
    """Measurements of groups, with a known slope of each: everything is normal.

    Returns
    -------
    X, Z, y, and the precision matrices of noise and of effects
    """
    rng = np.random.default_rng(0)
    group = rng.integers(0, 7, 50)
    Z = np.eye(7)[group] * rng.standard_normal(50)[:, None]
    return rng.standard_normal((50, 3)), Z, rng.standard_normal(50), 2.0, 0.7


X, Z, Y, NOISE, EFFECTS = mixed_model()
MARGINAL = np.eye(50) / NOISE + Z @ Z.T / EFFECTS  # the covariance of the data
FIXED = np.linalg.inv(X.T @ np.linalg.solve(MARGINAL, X))
ESTIMATE = FIXED @ X.T @ np.linalg.solve(MARGINAL, Y)


def linear(u, beta, y):
    r = y - X @ beta - Z @ u["groups"]
    return -0.5 * NOISE * jnp.sum(r**2) - 0.5 * EFFECTS * jnp.sum(u["groups"] ** 2)


@pytest.mark.slow
def test_mixed_model_equations():
    """Henderson's: their inverse is the covariance of effects and of errors of prediction."""
    u = {"groups": jnp.zeros(7)}
    report = scj.laplace(linear, u, jnp.asarray(ESTIMATE), jnp.asarray(Y)).uncertainty(argnums=0)
    np.testing.assert_allclose(report.covariance, FIXED, rtol=1e-10, atol=1e-14)
    both = np.hstack([Z, X])
    equations = NOISE * both.T @ both + EFFECTS * np.diag([1.0] * 7 + [0] * 3)
    np.testing.assert_allclose(report.precision().todense(), equations, rtol=1e-9, atol=1e-10)
    covariance = np.linalg.inv(equations)
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(report.latent_standard_errors()["groups"], deviations[:7], rtol=1e-9)
    np.testing.assert_allclose(report.standard_errors(), deviations[7:], rtol=1e-9)

    def fitted(u, beta, y):
        return X[:5] @ beta + Z[:5] @ u["groups"]

    wanted = np.sqrt(np.diag(both[:5] @ covariance @ both[:5].T))
    np.testing.assert_allclose(report.propagate(fitted).standard_errors, wanted, rtol=1e-9)
    draws, beta = report.sample(jax.random.key(0), shape=(100, 400))
    assert draws["groups"].shape == (100, 400, 7)
    drawn = np.concatenate([draws["groups"], beta], axis=-1).reshape(-1, 10)
    error = np.cov(drawn.T) - covariance
    assert abs(error).max() < 0.03 * abs(covariance).max()  # five deviations
    np.testing.assert_allclose(drawn[:, 7:].mean(0), ESTIMATE, atol=5 * deviations.max() / 200)


@pytest.mark.slow
def test_inside_of_jit_and_several_arguments():
    """What comes out of jit knows as much; parameters in two arguments, data among them."""

    def logjoint(x, mu, log_s, y):
        s = jnp.exp(log_s)
        prior = norm.logpdf(jnp.diff(x), 0, s).sum() + norm.logpdf(x[0], 0, s)
        return prior + jnp.sum(y * (mu + x) - jnp.exp(mu + x))

    y = COUNTS.astype(int)
    args = AT["mu"], AT["log_s"], y
    found = jax.jit(lambda *args: scj.laplace(logjoint, jnp.zeros(12), *args))(*args)
    report = found.uncertainty()
    np.testing.assert_allclose(report.covariance, COVARIANCE, rtol=1e-8)
    mu, log_s = report.standard_errors()
    np.testing.assert_allclose([mu**2, log_s**2], np.diag(COVARIANCE), rtol=1e-8)
    inside = jax.jit(
        lambda *args: scj.laplace(logjoint, jnp.zeros(12), *args).uncertainty().covariance
    )
    np.testing.assert_allclose(inside(*args), COVARIANCE, rtol=1e-8)
    _, theta = report.sample(jax.random.key(1))
    assert [part.shape for part in theta] == [(), ()]


@pytest.mark.slow
def test_what_is_not_determined():
    def logjoint(x, a, b):
        return -0.5 * jnp.sum((x - a - b["shift"]) ** 2) - 0.5 * jnp.sum((1.0 - x) ** 2)

    found = scj.laplace(logjoint, jnp.zeros(3), 1.0, {"shift": jnp.zeros(1)})
    with pytest.raises(NotPositiveDefiniteError, match=r"theta\[0\], theta\[1\]\['shift'\]\[0\]"):
        found.uncertainty()
    errors = found.uncertainty(argnums=[1]).standard_errors()
    np.testing.assert_allclose(errors["shift"], (2 / 3) ** 0.5)
    with pytest.raises(ValueError, match="2 arguments"):
        found.uncertainty(argnums=2)
    closed = scj.laplace(lambda x: -jnp.sum(x**2), jnp.zeros(2))
    with pytest.raises(ValueError, match="closure"):
        closed.uncertainty()
