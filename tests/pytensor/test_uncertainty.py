"""Uncertainty after Laplace's approximation, against TMB and mixed model equations."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import sparsechol.pytensor as scpt
from support.tmb import COUNTS, COVARIANCE, ESTIMATES, JOINT, REPORTED, VALUE, VARIANCES

pytensor.config.blas__ldflags = ""  # without one to link to PyTensor warns


@pytest.fixture(autouse=True)
def in_python():
    """What compiles fastest; loops inside of graphs, too."""
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


def walk(x, mu, log_s):
    """Counts along a random walk: TMB's program in `support.tmb`."""
    s, rate = pt.exp(log_s), mu + x
    steps = pt.concatenate([x[:1], x[1:] - x[:-1]])
    prior = -0.5 * (steps**2).sum() / s**2 - len(COUNTS) * (log_s + 0.5 * np.log(2 * np.pi))
    return prior + (COUNTS * rate - pt.exp(rate) - pt.gammaln(COUNTS + 1)).sum()


def test_against_tmb():
    x, mu, log_s = pt.vector("x", shape=(12,)), pt.scalar("mu"), pt.scalar("log_s")
    found = scpt.laplace(walk(x, mu, log_s), x)
    report = found.uncertainty([mu, log_s])
    s = pt.exp(log_s)
    estimate = report.propagate([s, pt.exp(mu + x).sum(), x[0] * s])
    joint, z = report.precision(), pt.matrix("z")
    outputs = [
        *(found.log_marginal, report.gradient, report.covariance, report._sensitivity),
        *(pt.stack(report.standard_errors()), report.latent_standard_errors()),
        *(*estimate, joint.todense(), *report.sample(z)),
    ]
    outputs = [y for out in outputs for y in (out if isinstance(out, list) else [out])]
    f = pytensor.function([mu, log_s, z], outputs)
    noise = np.random.default_rng(0).standard_normal((20000, 14))
    value, slope, V, J, errors, latent, at, deviations, Q, xs, mus, log_ss = f(*ESTIMATES, noise)
    np.testing.assert_allclose(value, VALUE, rtol=1e-12)
    np.testing.assert_allclose(slope, 0, atol=1e-11)
    np.testing.assert_allclose(V, COVARIANCE, rtol=1e-8)
    np.testing.assert_allclose(errors**2, np.diag(COVARIANCE), rtol=1e-8)
    np.testing.assert_allclose(latent**2, VARIANCES, rtol=1e-8)
    np.testing.assert_allclose(at, [pair[0] for pair in REPORTED.values()], rtol=1e-10)
    np.testing.assert_allclose(deviations, [pair[1] for pair in REPORTED.values()], rtol=1e-8)
    some = np.array([0, 1, 11, 13, 12])
    np.testing.assert_allclose(Q[np.ix_(some, some)], JOINT, rtol=1e-8, atol=1e-9)
    # Draws, and what joint precision and sensitivities say of each other.
    covariance = np.linalg.inv(Q)
    np.testing.assert_allclose(covariance[:12, 12:], J @ V, rtol=1e-9)
    drawn = np.column_stack([xs, mus, log_ss])
    assert abs(np.cov(drawn.T) - covariance).max() < 0.05 * abs(covariance).max()
    np.testing.assert_allclose(drawn[:, 12:].mean(0), ESTIMATES, atol=0.03)


@pytest.mark.slow
def test_mixed_model_equations():
    """Henderson's: their inverse is the covariance of effects and of errors of prediction.

    There are more parameters than are differentiated one by one.
    """
    rng = np.random.default_rng(0)
    X, y, noise, effects = rng.standard_normal((50, 6)), rng.standard_normal(50), 2.0, 0.7
    Z = np.eye(7)[rng.integers(0, 7, 50)] * rng.standard_normal(50)[:, None]
    u, beta = pt.vector("u", shape=(7,)), pt.vector("beta")
    r = y - X @ beta - Z @ u
    logjoint = -0.5 * noise * (r**2).sum() - 0.5 * effects * (u**2).sum()
    found = scpt.laplace(logjoint, u, givens={beta: np.zeros(6)})
    report = found.uncertainty(beta)
    fitted = report.propagate(X[:5] @ beta + Z[:5] @ u)
    f = pytensor.function(
        [beta],
        [*report.standard_errors(), report.latent_standard_errors(), fitted.standard_errors],
    )
    both = np.hstack([Z, X])
    covariance = np.linalg.inv(noise * both.T @ both + effects * np.diag([1.0] * 7 + [0] * 6))
    wanted = np.sqrt(np.diag(covariance))
    errors, latent, of_fit = f(rng.standard_normal(6))
    np.testing.assert_allclose(errors, wanted[7:], rtol=1e-9)
    np.testing.assert_allclose(latent, wanted[:7], rtol=1e-9)
    of_rows = np.einsum("ri,ij,rj->r", both[:5], covariance, both[:5])
    np.testing.assert_allclose(of_fit, np.sqrt(of_rows), rtol=1e-9)


def test_what_is_not_known():
    x, a, b = pt.vector("x", shape=(3,)), pt.scalar("a"), pt.vector("b")
    found = scpt.laplace(-0.5 * ((x - a) ** 2 + (x - b.sum()) ** 2).sum(), x)
    with pytest.raises(ValueError, match="shape"):
        found.uncertainty([a, b])
    with pytest.raises(TypeError, match="variable"):
        found.uncertainty(1.0)
    # A sum of both is all that the marginal density does not depend on.
    c = pt.scalar("c")
    found = scpt.laplace(-0.5 * ((x - a - c) ** 2 + (x - 1.0) ** 2).sum(), x)
    errors = found.uncertainty([a, c]).standard_errors()
    assert np.isnan(pt.stack(errors).eval({a: 0.0, c: 0.0})).all()
