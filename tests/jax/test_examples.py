"""The examples in JAX, smaller, against dense algebra and what is known."""

from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.optimize import brentq, least_squares
from scipy.stats import multivariate_normal

from support.helpers import assert_drawn, example, figure_in

pytestmark = pytest.mark.slow

# ---- kriging ----


@pytest.fixture(scope="module")
def kriging():
    """Return the example, a model of 81 points and 12 measurements, A, and parameters."""
    script, rng = example("kriging"), np.random.default_rng(3)
    line = np.linspace(0, 1, 9)
    places = rng.random((12, 2))
    A = script.at_places(line, places)
    field = rng.standard_normal((9, 9))
    wanted = RegularGridInterpolator((line, line), field)(places[:, ::-1])
    np.testing.assert_allclose(A @ field.ravel(), wanted)
    theta = np.array([0.3, np.log(0.4), np.log(1.5), np.log(0.2)])
    return script, script.Kriging(line, A, rng.standard_normal(12)), A.toarray(), theta


def test_likelihood_and_prediction_against_dense(kriging):
    _, model, A, theta = kriging
    covariance = np.linalg.inv(np.asarray(model.prior(theta).todense()))
    of_y = A @ covariance @ A.T + np.exp(2 * theta[3]) * np.eye(12)
    y = np.asarray(model.y)
    wanted = multivariate_normal(np.full(12, theta[0]), of_y).logpdf(y)
    np.testing.assert_allclose(model.log_likelihood(theta), wanted, rtol=1e-10)
    mean, deviation = model.predict(theta)
    gain = np.linalg.solve(of_y, A @ covariance).T
    np.testing.assert_allclose(mean, theta[0] + gain @ (y - theta[0]), rtol=1e-9)
    variance = np.diag(covariance - gain @ A @ covariance)
    np.testing.assert_allclose(deviation, np.sqrt(variance), rtol=1e-9)


def test_gradient_of_kriging(kriging):
    script, model, _, theta = kriging
    assert script.gradient_error(script.loss(model)[0], theta) < 1e-7


def test_field_has_the_deviation_asked_for():
    """Check the deviation in the middle of a grid that is fine and wide enough."""
    script = example("kriging")
    line = np.linspace(-1, 1, 81)
    A = script.at_places(line, np.zeros((1, 2)))
    theta = np.array([0.0, np.log(0.5), np.log(2.0), 0.0])
    F = jax.jit(lambda t: script.scj.cholesky(script.Kriging(line, A, np.zeros(1)).prior(t)))(theta)
    assert abs(np.sqrt(F.diag_inverse()[81 * 40 + 40]) - 2.0) < 0.05


def test_kriging_runs(capsys, tmp_path):
    figure = figure_in(tmp_path)
    estimates, errors, z = example("kriging").main(figure, rows=37, measurements=200)
    truth = example("kriging").TRUTH
    assert np.all(abs(estimates - truth) < 4 * errors)
    assert 0.5 < np.mean(z**2) < 2
    assert "1369 points, 200 measurements" in capsys.readouterr().out
    assert_drawn(figure)


# ---- Bratu's problem ----


def test_bratu_of_four_points():
    """Compare with 2 u = lambda h^2 exp(u), h = 1 / 3: the points are alike, u = 1 at the end."""
    script = example("bratu")

    def energy(u, strength):
        return script.energy(u, strength, 2)

    strengths = np.array([1.0, 3.0, 5.0, 6.0, 6.5, 6.6, 6.61, 6.62])
    H = script.scj.sparse_hessian(energy, np.zeros(4), 1.0)
    u, rows = script.branch(energy, H, np.zeros(4), strengths)
    wanted = [brentq(lambda x, t=t: 2 * x - t / 9 * np.exp(x), 0, 1, xtol=1e-14) for t in strengths]
    np.testing.assert_allclose(rows[:, 0], wanted, rtol=1e-7)
    wanted = np.array(wanted)
    np.testing.assert_allclose(rows[:, 1], wanted / (strengths * (1 - wanted)), rtol=1e-5)
    np.testing.assert_allclose(rows[:, 2], 2 - 2 * wanted, rtol=1e-5)
    assert abs(script.extrapolated(strengths, rows[:, 2]) - 18 / np.e) < 1e-4
    np.testing.assert_allclose(u, wanted[-1], rtol=1e-7)


def test_bratu_runs(capsys, tmp_path):
    script, figure = example("bratu"), figure_in(tmp_path)
    u, strengths, rows, critical = script.main(figure, N=31)
    U = np.pad(np.asarray(u).reshape(31, 31), 1)
    around = U[2:, 1:-1] + U[:-2, 1:-1] + U[1:-1, 2:] + U[1:-1, :-2]
    residual = 4 * U[1:-1, 1:-1] - around - strengths[-1] * np.exp(U[1:-1, 1:-1]) / 32**2
    assert abs(residual).max() < 1e-12
    slope = (rows[1, 0] - rows[0, 0]) / (strengths[1] - strengths[0])
    assert rows[0, 1] < slope < rows[1, 1]
    assert abs(critical - script.CRITICAL) < 0.01
    assert "5 colors" in capsys.readouterr().out
    assert_drawn(figure)


# ---- least squares ----


def test_global_fit(capsys):
    found, theirs, truth, error = example("curve_fitting").main(count=100)
    np.testing.assert_allclose(found.x["common"], theirs.x, rtol=1e-5)
    np.testing.assert_allclose(found.cost, theirs.cost, rtol=1e-9)
    errors = np.asarray(found.standard_errors()["common"])
    assert np.all(abs(found.x["common"] - truth["common"]) < 4 * errors)
    assert 0.9 < error / errors[0] < 1.1
    assert "303 unknowns" in capsys.readouterr().out


def test_bundle_adjustment():
    found, truth, ours, theirs = example("bundle_adjustment").main(cameras=12, points=100)
    np.testing.assert_allclose(ours.cost, theirs.cost, rtol=1e-7)
    errors = found.standard_errors()["points"]
    assert np.all(abs(found.x["points"] - truth["points"]) < 6 * errors)


def test_slam(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    script, figure = example("slam"), figure_in(tmp_path)
    f, measured, found, slope = script.main(figure=figure, poses=150)
    assert_drawn(figure)
    assert bool(found.converged)

    residuals = jax.jit(lambda x: f(x.reshape(-1, 3), measured).ravel())
    x = np.asarray(found.x).ravel()
    theirs = least_squares(residuals, x, jac=jax.jit(jax.jacfwd(residuals)), loss="cauchy")
    np.testing.assert_allclose(found.cost, theirs.cost, rtol=1e-6)
    # Move the measurement that moves the last x most.
    direction = np.zeros(measured.shape)
    direction[abs(slope[:, 0]).argmax(), 0] = 1e-4
    solve = jax.jit(
        lambda z: script.scj.least_squares(
            f, found.x, z, loss="cauchy", ftol=0, xtol=1e-12, maxiter=500
        ).x[-1, 0]
    )
    wanted = (solve(measured + direction) - solve(measured - direction)) / 2
    np.testing.assert_allclose(np.sum(slope * direction), wanted, rtol=1e-3)


# ---- mixed models ----


def test_sleepstudy():
    """Against lme4, whose criterion is published."""
    script = example("sleepstudy")
    found, at = script.fitted(script.read())
    np.testing.assert_allclose(found.fun, 1743.62827, rtol=1e-8)
    L = np.asarray(script.triangle(found.x))
    covariance = L @ L.T
    deviations = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(deviations, [24.7407, 5.92214], rtol=1e-4)
    np.testing.assert_allclose(covariance[1, 0] / deviations.prod(), 0.0656, atol=1e-3)
    np.testing.assert_allclose(at.mode[:2], [251.405105, 10.467286], rtol=1e-6)
    variances = script.scj.cholesky(at.precision).diag_inverse()[:2]
    np.testing.assert_allclose(np.sqrt(variances), [6.8245967, 1.5457896], rtol=1e-4)


def test_crossed_counts():
    """Smaller, against Laplace's approximation by a dense Hessian."""
    script, levels = example("crossed_counts"), (12, 7)
    data = script.simulate(np.random.default_rng(1), 300, levels)
    logjoint, theta = script.model(data, levels), script.TRUTH
    at = script.scj.laplace(logjoint, np.zeros(19), theta)
    np.testing.assert_allclose(jax.grad(logjoint)(at.mode, theta), 0, atol=1e-8)
    H = -jax.hessian(logjoint)(at.mode, theta)
    wanted = logjoint(at.mode, theta) + 19 / 2 * np.log(2 * np.pi) - np.linalg.slogdet(H)[1] / 2
    np.testing.assert_allclose(at.log_marginal, wanted, rtol=1e-12)
    found, covariance = script.fitted(logjoint, 19)
    assert (np.abs(found.x - theta) < 4 * np.sqrt(np.diag(covariance))).all()


def test_stochastic_volatility():
    """The prior against the dense normal density of the process, the rest against the formula."""
    script, rng = example("stochastic_volatility"), np.random.default_rng(1)
    y, h = script.simulate(rng, 6)
    theta = np.array([-8.5, 1.2, -1.1])
    mu, phi, sigma = map(float, script.parameters(theta))
    lags = np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    prior = multivariate_normal(np.full(6, mu), sigma**2 / (1 - phi**2) * phi**lags)
    wanted = prior.logpdf(h) + multivariate_normal(np.zeros(6), np.diag(np.exp(h))).logpdf(y)
    np.testing.assert_allclose(script.model(y)(h, theta), wanted, rtol=1e-10)
