"""Laplace approximations: against normal densities, quadrature and finite differences."""

import importlib.util

import numpy as np
import pytensor
import pytensor.sparse as ps
import pytensor.tensor as pt
import pytest
import scipy.sparse as sp
from pytensor.gradient import disconnected_grad
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.rewriting.utils import rewrite_graph
from scipy.integrate import quad

import sparsechol as sc
import sparsechol.pytensor as scpt
from support import nonconcave

pytensor.config.blas__ldflags = ""  # without one to link to PyTensor warns

COMPILER = pytensor.config.cxx
ROWS = 5
HAVE_PYMC = importlib.util.find_spec("pymc") is not None


@pytest.fixture(autouse=True)
def in_python():
    """What compiles fastest; loops inside of graphs, too."""
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        yield


def lattice(rows):
    path = sp.diags_array([np.ones(rows - 1)] * 2, offsets=[-1, 1])
    W = sp.kronsum(path, path)
    return W, sp.diags_array(W.sum(axis=0))


def counts(rows):
    """Poisson counts of a conditional autoregression, and the joint density of both."""
    W, D = lattice(rows)
    rng = np.random.default_rng(0)
    field = sc.cholesky(2 * (D - 0.9 * W)).sample(rng=rng)
    y = rng.poisson(np.exp(1 + field)).astype(float)

    def logjoint(x, theta):
        Q = scpt.combine([(pt.exp(theta[0]), D), (-pt.exp(theta[0]) * pt.sigmoid(theta[1]), W)])
        rate = theta[2] + x
        return (y * rate - pt.exp(rate) - pt.gammaln(y + 1)).sum() + Q.gmrf_logp(x)

    return logjoint


def model(rows=ROWS, mode=None, **options):
    theta, x = pt.vector("theta", shape=(3,)), pt.vector("x", shape=(rows**2,))
    found = scpt.laplace(counts(rows)(x, theta), x, **options)
    outputs = [found.log_marginal, pt.grad(found.log_marginal, theta), found.mode]
    return pytensor.function([theta], outputs, mode=mode)


def differences(f, theta, h=1e-3):
    """Of fourth order."""

    def slope(e):
        near, far = (f(theta + k * e)[0] - f(theta - k * e)[0] for k in (1, 2))
        return (8 * near - far) / (12 * h)

    return np.array([slope(e) for e in h * np.eye(len(theta))])


THETA = np.array([0.5, 2.0, 1.0])


@pytest.mark.slow
def test_gradient():
    f = model()
    value, gradient, _ = f(THETA)
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient, differences(f, THETA), rtol=1e-7)


def test_gradient_after_rewrites():
    """PyMC simplifies a graph before it derives the gradient; the search stays without one."""
    theta, x = pt.vector("theta", shape=(3,)), pt.vector("x", shape=(ROWS**2,))
    value = scpt.laplace(counts(ROWS)(x, theta), x).log_marginal
    simpler = rewrite_graph(value, include=("canonicalize", "stabilize"))
    _, wanted, _ = model()(THETA)
    got = pytensor.function([theta], pt.grad(simpler, theta))(THETA)
    np.testing.assert_allclose(got, wanted, rtol=1e-9)


@pytest.mark.slow
def test_default_backend():
    # Without a compiler PyTensor fuses no more than 32 operands, and at times makes a cycle.
    with pytensor.config.change_flags(mode="NUMBA", cxx=COMPILER):
        f = model()
    for got, wanted in zip(f(THETA), model()(THETA), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9)


def test_gradient_of_the_mode():
    """By the implicit function theorem."""
    theta, x = pt.vector("theta", shape=(3,)), pt.vector("x", shape=(ROWS**2,))
    found = scpt.laplace(counts(ROWS)(x, theta), x)
    total = (found.mode**2).sum()
    f = pytensor.function([theta], [total, pt.grad(total, theta)])
    np.testing.assert_allclose(f(THETA)[1], differences(f, THETA), rtol=1e-7)


def small(theta, x):
    """A density of three values that no normal density is, with two parameters."""
    return (theta[0] * x - pt.exp(theta[1] * x)).sum() - 0.5 * theta[0] ** 2 * (
        (x[1:] - x[:-1]) ** 2
    ).sum()


def second(cost, theta):
    """The Hessian, row by row."""
    g = pt.grad(cost, theta)
    return g, pt.stack([pt.grad(g[k], theta) for k in range(theta.type.shape[0])])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mode", "log_marginal", "precision"])
def test_second_derivatives(name):
    """Against differences of first derivatives, which are compared with those of values."""
    theta, x = pt.vector("theta", shape=(2,)), pt.vector("x", shape=(3,))
    found = scpt.laplace(small(theta, x), x)
    cost = {
        "log_marginal": found.log_marginal,
        "mode": pt.sin(found.mode * np.arange(1, 4)).sum(),
        "precision": pt.sin(found.precision.values).sum(),
    }[name]
    f = pytensor.function([theta], [cost, *second(cost, theta)])
    at = np.array([1.5, 0.9])
    _, gradient, hessian = f(at)
    np.testing.assert_allclose(gradient, differences(f, at), rtol=1e-7)
    slopes = [differences(lambda t: [f(t)[1][k]], at) for k in range(2)]  # noqa: B023
    np.testing.assert_allclose(hessian, slopes, rtol=1e-7)


@pytest.mark.slow
def test_third_derivatives():
    """Of one value, whose mode is log(y) and whose precision is y."""
    x, y = pt.vector("x", shape=(1,)), pt.scalar("y")
    found = scpt.laplace((y * x - pt.exp(x)).sum(), x)
    cost, wanted = found.log_marginal, y * pt.log(y) - y + 0.5 * np.log(2 * np.pi) - 0.5 * pt.log(y)
    for _ in range(3):
        cost, wanted = pt.grad(cost, y), pt.grad(wanted, y)
    np.testing.assert_allclose(cost.eval({y: 3.0}), wanted.eval({y: 3.0}), rtol=1e-7)


@pytest.mark.slow
def test_what_the_density_reads_in_two_ways():
    """A parameter, and what is computed from it outside of x; a sparse variable; whole numbers."""
    W, D = lattice(2)
    A = sp.csc_matrix(3 * D - W)
    theta, x, k = pt.vector("theta", shape=(2,)), pt.vector("x", shape=(4,)), pt.lscalar("k")
    scale = pt.exp(theta[0])
    M = ps.CSC(scale * A.data, A.indices, A.indptr, A.shape)
    product = ps.structured_dot(M, x[:, None])[:, 0]
    logjoint = (theta[1] * x - pt.exp(x) * scale).sum() + k * theta[0] - 0.5 * (x * product).sum()
    found = scpt.laplace(logjoint, x, sparsity=A)
    cost = found.log_marginal + (found.mode**2).sum()
    g = pt.grad(cost, theta)
    f = pytensor.function([theta, k], [cost, g])
    at = np.array([0.2, 1.5])
    np.testing.assert_allclose(f(at, 2)[1], differences(lambda t: f(t, 2), at), rtol=1e-7)


def test_normal_density():
    """There it is no approximation."""
    A = sp.diags_array([np.full(7, -1.0), np.full(8, 4.0), np.full(7, -1.0)], offsets=[-1, 0, 1])
    x, tau = pt.vector("x", shape=(8,)), pt.scalar("tau")
    b = np.arange(8.0)
    Q = scpt.combine([(tau, A)])
    found = scpt.laplace(Q.gmrf_logp(x, b), x)
    f = pytensor.function([tau], [found.log_marginal, found.mode, found.precision.values])
    value, mode, values = f(2.0)
    assert abs(value) < 1e-12
    np.testing.assert_allclose(mode, b, atol=1e-12)
    np.testing.assert_allclose(values, 2 * Q.pattern.values(sp.csc_array(A)))


@pytest.mark.slow
def test_quadrature():
    """One value, with a wide density: the error is that of the method."""
    x, y = pt.vector("x", shape=(1,)), 50.0
    logjoint = (y * x - pt.exp(x)).sum() - 0.5 * (x**2).sum()
    wanted, _ = quad(lambda u: np.exp(y * u - np.exp(u) - 0.5 * u * u - 140), -5, 10, limit=200)
    got = scpt.laplace(logjoint, x).log_marginal.eval()
    assert abs(got - 140 - np.log(wanted)) < 1 / y


@pytest.mark.slow
def test_not_concave():
    """Student's density is not, away from its mode; a Newton step from there goes astray."""
    x, at = pt.vector("x", shape=(6,)), pt.scalar("at")
    logjoint = -3 * pt.log1p((x - at) ** 2).sum() - 1e-3 * (x**2).sum()
    for start in (None, np.full(6, 20.0), pt.arange(6.0)):
        found = scpt.laplace(logjoint, x, start, maxiter=200)
        mode, value = pytensor.function([at], [found.mode, found.log_marginal])(5.0)
        np.testing.assert_allclose(mode, 5.0, rtol=1e-2)
        assert np.isfinite(value)


@pytest.mark.parametrize("start", [0.0, 100.0])
def test_heavy_tails_far_from_the_start(start):
    """A random walk with noise of Student's t: not concave on the way to the mode."""
    n = 10
    x, y = pt.vector("x", shape=(n,)), pt.vector("y", shape=(n,))

    def logjoint(x, y, xp):
        steps = x[1:] - x[:-1]
        walk = -0.5 * ((steps**2).sum() + x[0] ** 2)
        return walk - 2.5 * xp.log1p((y - x) ** 2 / 4).sum()

    found = scpt.laplace(logjoint(x, y, pt), x, x0=np.full(n, start))
    f = pytensor.function([y], [found.log_marginal, found.mode])
    R = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    R[-1, -1] = 1
    for data in (np.linspace(2, 4, n), np.full(n, 8.0), np.full(n, 30.0), np.tile([-9.0, 9], 5)):
        log_marginal, mode = f(data)
        r = data - mode
        np.testing.assert_allclose(R @ mode, 5 * r / (4 + r**2), atol=1e-7)
        H = R + np.diag(5 * (4 - r**2) / (4 + r**2) ** 2)
        assert np.linalg.eigvalsh(H).min() > 0
        wanted = logjoint(mode, data, np) + n / 2 * np.log(2 * np.pi)
        wanted -= 0.5 * np.linalg.slogdet(H)[1]
        np.testing.assert_allclose(log_marginal, wanted, rtol=1e-9)


@pytest.mark.slow
def test_no_mode():
    """NaN with the reason, and nothing is raised."""
    x, a = pt.vector("x", shape=(3,)), pt.scalar("a")
    found = scpt.laplace((a * x**2 + x).sum(), x, maxiter=20)
    ending = [found.status, found.iterations, found.converged, found.gradient_norm]
    f = pytensor.function([a], [found.log_marginal, found.mode, found.precision.values, *ending])
    *parts, status, iterations, converged, slope = f(-1.0)
    assert all(np.isfinite(part).all() for part in parts)
    assert (status, converged, slope) == (2, True, 0)
    assert 0 < iterations < 4
    for bad, reason in ((1.0, -2), (np.nan, -1)):
        *parts, status, iterations, converged, _ = f(bad)
        assert all(np.isnan(part).all() for part in parts)
        assert (status, converged) == (reason, False)
    assert "not positive definite" in found.message(-2)
    found = scpt.laplace(-pt.exp(x - 9).sum() + x.sum(), x, maxiter=2)
    ending = [found.log_marginal, found.status, found.iterations, found.gradient_norm]
    value, status, iterations, slope = (y.eval() for y in ending)
    assert np.isnan(value)
    assert (status, iterations) == (0, 2)
    assert slope > 0
    assert "maxiter" in found.message(status)


@pytest.mark.slow
def test_no_step_helps():
    """A gradient that is wrong, by an Op that is taken for a constant."""
    x = pt.vector("x", shape=(3,))
    wrong = -(x**2).sum() - 4 * ((disconnected_grad(x) - 3) ** 2).sum()
    found = scpt.laplace(wrong, x, np.full(3, 2.0))
    status = found.status.eval()
    assert status == -3
    assert "derivatives" in found.message(status)


@pytest.mark.slow
def test_batch():
    """Searches that end after different numbers of steps."""
    n, y = 6, np.array([0.0, 3, 1, 20, 2, 5])
    path = sp.diags_array([-np.ones(n - 1), np.full(n, 2.2), -np.ones(n - 1)], offsets=[-1, 0, 1])
    tau, taus, x = pt.scalar("tau"), pt.vector("taus"), pt.vector("x", shape=(n,))
    prior = scpt.gmrf_logp(x, 0.0, scpt.combine([(tau, path)]))
    found = scpt.laplace(prior + (y * x - pt.exp(x)).sum(), x)
    value = found.log_marginal
    outputs = [value, pt.grad(value, tau), found.mode, found.iterations, found.status]
    points = [0.001, 1.0, 300.0]
    one = pytensor.function([tau], outputs)
    together = pytensor.function([taus], vectorize_graph(outputs, {tau: taus}))(points)
    assert len(set(together[3].tolist())) == 3
    for got, *wanted in zip(together, *map(one, points), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11)


def test_unknown_length():
    x = pt.vector("x")
    found = scpt.laplace(-(x**2).sum(), x, np.ones(4))
    np.testing.assert_allclose(found.log_marginal.eval(), 2 * np.log(np.pi))
    with pytest.raises(ValueError, match="givens"):
        scpt.laplace(-(x**2).sum(), x)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (ValueError, "vector", lambda x: scpt.laplace(x[None].sum(), x.reshape((2, 2)))),
        (ValueError, "scalar", lambda x: scpt.laplace(x, x)),
        (ValueError, "maxiter", lambda x: scpt.laplace(x.sum(), x, maxiter=0)),
        (TypeError, "x must", lambda x: scpt.laplace(x.sum(), np.ones(4))),
    ],
)
def test_bad_input(error, match, call):
    with pytest.raises(error, match=match):
        call(pt.vector("x", shape=(4,)))


@pytest.mark.slow
@pytest.mark.skipif(not HAVE_PYMC, reason="PyMC is not installed (it needs Python 3.12)")
@pytest.mark.filterwarnings("ignore")
def test_in_pymc():
    """A potential of random variables, with the gradient that samplers take."""
    import pymc as pm

    logjoint = counts(ROWS)
    with pm.Model() as pymc_model:
        theta = pm.Normal("theta", shape=3)
        x = pt.vector("x", shape=(ROWS**2,))
        pm.Potential("marginal", scpt.laplace(logjoint(x, theta), x).log_marginal)
    value = pymc_model.compile_logp()({"theta": THETA})
    prior = -0.5 * (THETA**2).sum() - 1.5 * np.log(2 * np.pi)
    wanted, gradient, _ = model()(THETA)
    np.testing.assert_allclose(value, wanted + prior)
    np.testing.assert_allclose(pymc_model.compile_dlogp()({"theta": THETA}), gradient - THETA)


@pytest.mark.slow
@pytest.mark.filterwarnings("default:Loop fusion failed")  # an error would stop a rewrite halfway
@pytest.mark.parametrize("n", nonconcave.SIZES)
@pytest.mark.parametrize("kind", nonconcave.KINDS)
def test_random_densities_that_are_not_concave(kind, n):
    """All have a mode, which is found; SPARSECHOL_MODELS=10 tries 200 of them."""
    x, start, y = (pt.vector(name, shape=(n,)) for name in ("x", "start", "y"))
    tau, scale = pt.scalars("tau", "scale")
    value = nonconcave.logjoint(kind, x, (y, tau, scale), pt)
    found = scpt.laplace(value, x, start)
    results = [found.mode, found.log_marginal, found.iterations]
    unused = {"on_unused_input": "ignore"}
    search = pytensor.function([start, y, tau, scale], results, **unused)
    gradient = pytensor.function([x, y, tau, scale], pt.grad(value, x), **unused)
    for seed in range(nonconcave.MODELS):
        data, at = nonconcave.problem(kind, n, seed)
        mode, log_marginal, iterations = search(at, *data)
        assert np.isfinite(log_marginal)
        np.testing.assert_allclose(gradient(mode, *data), 0, atol=1e-5)
        assert iterations < 300
