"""The examples, smaller where that is possible; and the nested Laplace approximation in full."""

import importlib.util

import numpy as np
import pytensor
import pytest
from pytensor.scan.op import Scan
from scipy.special import gammaln

from sparsechol.pytensor._ops import Kernel
from support.helpers import assert_drawn, example, figure_in, matrices_folder
from support.pytensor_systems import kernels, nodes_of

pytestmark = pytest.mark.slow

HAVE_PYMC = importlib.util.find_spec("pymc") is not None
needs_pymc = pytest.mark.skipif(not HAVE_PYMC, reason="PyMC is not installed (Python 3.12)")
SHORT = {"draws": 400, "tune": 400, "chains": 2, "progressbar": False}


# ---- nested Laplace ----


@pytest.fixture(scope="module")
def laplace():
    """The example and its likelihood of 10^4 latent values."""
    script = example("nested_laplace")
    W, D = script.lattice(100)
    y = script.simulate(np.array([0.5, 3.0, 1.0]), W, D, np.random.default_rng(1))
    return script, y, script.likelihood(y, W, D)[0]


def test_gradient_of_nested_laplace(laplace):
    f, point, step = laplace[2], np.array([0.2, 2.0, 0.7]), 1e-4
    gradient = f(point)[1]
    for q, change in enumerate(step * np.eye(3)):
        # Differences of fourth order.
        values = [float(f(point + s * change)[0]) for s in (-2, -1, 1, 2)]
        difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert abs(gradient[q] - difference) < 1e-6 * max(1, abs(difference))


def test_nested_laplace_has_one_loop(laplace):
    f = laplace[2]
    [loop] = [node.op for node in f.maker.fgraph.toposort() if isinstance(node.op, Scan)]
    inner = [node.op for node in nodes_of(loop.fgraph) if isinstance(node.op, Kernel)]
    assert sum(type(op).__name__ == "Factor" for op in inner) == 1
    # Of Q, and at the mode.
    assert kernels(f)["Factor"] == 2


def test_nested_laplace_against_dense():
    """The likelihood, and standard errors by differences of dense ones and of their modes."""
    script = example("nested_laplace")
    W, D = script.lattice(5)
    theta = np.array([0.3, 1.0, 0.5])
    y = script.simulate(theta, W, D, np.random.default_rng(3))

    def dense(theta):
        Q = np.exp(theta[0]) * (D - W / (1 + np.exp(-theta[1]))).toarray()
        x = np.zeros(25)
        for _ in range(30):
            h = np.exp(theta[2] + x)
            x += np.linalg.solve(Q + np.diag(h), y - h - Q @ x)
        h = np.exp(theta[2] + x)
        value = (y * (theta[2] + x) - h - gammaln(y + 1)).sum() - 0.5 * x @ Q @ x
        value += 0.5 * (np.linalg.slogdet(Q)[1] - np.linalg.slogdet(Q + np.diag(h))[1])
        return np.r_[value, x], np.linalg.inv(Q + np.diag(h))

    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        f, variable, found = script.likelihood(y, W, D)
        errors, mode, deviations, _ = script.uncertainty(found, variable)(theta)
    at, given = dense(theta)
    np.testing.assert_allclose(f(theta)[0], at[0], rtol=1e-12)
    np.testing.assert_allclose(mode, at[1:], rtol=1e-9, atol=1e-12)
    h = 1e-3 * np.eye(3)
    slopes = [(8 * (dense(theta + e)[0] - dense(theta - e)[0]) - dense(theta + 2 * e)[0]
               + dense(theta - 2 * e)[0]) / 12e-3 for e in h]  # fmt: skip
    J = np.array(slopes)[:, 1:].T
    gradient = f(theta)[1]
    np.testing.assert_allclose(gradient, np.array(slopes)[:, 0], rtol=1e-8, atol=1e-9)
    curvature = [(8 * (f(theta + e)[1] - f(theta - e)[1]) - f(theta + 2 * e)[1]
                  + f(theta - 2 * e)[1]) / 12e-3 for e in h]  # fmt: skip
    V = -np.linalg.inv(curvature)
    np.testing.assert_allclose(errors, np.sqrt(np.diag(V)), rtol=1e-7)
    np.testing.assert_allclose(deviations**2, np.diag(given + J @ V @ J.T), rtol=1e-7)


def test_nested_laplace_runs(capsys):
    fit = example("nested_laplace").main(rows=30)
    assert abs(fit.x[2] - 1.0) < 0.2
    assert "900 latent values" in capsys.readouterr().out


@needs_pymc
@pytest.mark.filterwarnings("ignore")
def test_nested_laplace_as_a_potential():
    """A sampler moves in three dimensions, and lands where the optimizer does."""
    import pymc as pm

    script = example("nested_laplace")
    W, D = script.lattice(10)
    y = script.simulate(np.array([0.5, 1.0, 1.0]), W, D, np.random.default_rng(6))
    with pm.Model() as model:
        theta = pm.Normal("theta", 0.0, 1.0, shape=3)
        pm.Potential("y", script.integrated(y, theta, W, D).log_marginal)
        trace = pm.sample(random_seed=1, **SHORT)
        mode = pm.find_MAP(progressbar=False)["theta"]
    draws = trace.posterior["theta"].values.reshape(-1, 3)
    assert np.all(abs(draws.mean(axis=0) - mode) < 1.5 * draws.std(axis=0))
    assert model.initial_point()["theta"].shape == (3,)


# ---- models in PyMC ----


@needs_pymc
@pytest.mark.filterwarnings("ignore")
def test_bym2(capsys, tmp_path):
    districts = matrices_folder() / "inla_germany.mtx.gz"
    file = districts if districts.exists() else None
    figure = figure_in(tmp_path)
    trace, raw, smooth = example("bym2").main(file, figure, **SHORT)
    assert_drawn(figure)
    assert smooth > raw
    assert abs(float(trace.posterior["sigma"].mean()) - 0.4) < 0.1
    assert "correlation" in capsys.readouterr().out


@needs_pymc
@pytest.mark.filterwarnings("ignore")
def test_matern_regression(capsys):
    trace, error, variance = example("matern_regression").main(rows=25, measurements=300, **SHORT)
    assert abs(float(trace.posterior["noise"].mean()) - 0.3) < 0.06
    z = error / np.sqrt(variance)
    assert 0.3 < np.mean(z**2) < 3
    assert "predicted" in capsys.readouterr().out


@needs_pymc
@pytest.mark.filterwarnings("ignore")
def test_matern_likelihood_against_dense():
    script = example("matern_regression")
    vertices = script.mesh(8)
    C, G = script.finite_elements(vertices)
    rng = np.random.default_rng(0)
    A = script.at_points(vertices, rng.random((20, 2)))
    np.testing.assert_allclose(A.sum(axis=1), 1)
    y = rng.standard_normal(20)
    model = script.regression(A, y, C, G)[0]
    [potential] = model.potentials
    inputs = [model[name] for name in ("b", "range", "deviation", "noise")]
    f = pytensor.function(inputs, potential, mode="FAST_COMPILE")
    b, range_, deviation, noise = 0.3, 0.4, 1.2, 0.2
    Q = script.precision(*script.parameters(range_, deviation), C, G)
    Q = Q.to_sparse().toarray().eval()
    S = A @ np.linalg.inv(Q) @ A.T + noise**2 * np.eye(20)
    wanted = -0.5 * (np.linalg.slogdet(2 * np.pi * S)[1] + (y - b) @ np.linalg.solve(S, y - b))
    np.testing.assert_allclose(f(b, range_, deviation, noise), wanted, rtol=1e-9)


# ---- growth ----


def test_steady_state():
    with pytensor.config.change_flags(mode="FAST_COMPILE"):
        x, by_hand, found = example("steady_state").main(quarters=150)
    np.testing.assert_allclose(x, by_hand, rtol=1e-10)
    # The path stays on the saddle: capital grows, and the gap shrinks at a steady rate.
    gap = 1 - found[:, 2] / x[2]
    assert gap[0] == pytest.approx(0.5)
    assert (np.diff(gap[:50]) < 0).all()
    assert np.ptp(gap[31:50] / gap[30:49]) < 0.01
