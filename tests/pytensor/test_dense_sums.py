"""Sums over many unknowns, which make a Hessian dense: a warning, or a part of low rank."""

import warnings

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

import sparsechol as sc
import sparsechol.pytensor as scpt

N = 150


@pytest.mark.parametrize("name", ["constraint", "mean", "dot"])
def test_warning(name):
    x = pt.vector("x", shape=(N,))
    total = x.sum()
    total.name = "total"
    term = {
        "constraint": lambda: total**2,
        "mean": lambda: pt.exp(x - total / N).sum(),
        "dot": lambda: pt.dot(x, x) ** 2,
    }[name]()
    what = "dot" if name == "dot" else "total"
    with pytest.warns(sc.SparsityWarning, match=f"(?i)sum over many variables.*{what}.*low_rank"):
        H = scpt.sparse_hessian(-term - pt.exp(x).sum(), x, format="symmetric")
    assert H.pattern.indices.size == N * (N + 1) // 2


def test_sums_in_which_the_function_is_linear():
    """They make nothing dense."""
    x, t = pt.vector("x", shape=(N,)), pt.scalar("t")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        H = scpt.sparse_hessian(-t * pt.exp(x).mean() - 3 * pt.dot(x, x), x, format="symmetric")
    assert H.pattern.indices.size == N


def soft_constraint(x, t, counts):
    """A mean beside a random walk: without the constraint a constant moves between them."""
    mean, walk = x[0], x[1:]
    steps = ((walk[1:] - walk[:-1]) ** 2).sum()
    return counts(mean + walk) - 2 * steps - pt.exp(t) * walk.sum() ** 2 / N


def variance_integrated_out(x, t, counts):
    """One sum depends on another."""
    return counts(x[1:]) - pt.exp(t) * pt.log1p(((x - x.mean()) ** 2).sum() / N) - x[0] ** 2


@pytest.mark.slow
@pytest.mark.filterwarnings("default:Loop fusion failed")
@pytest.mark.parametrize("f", [soft_constraint, variance_integrated_out])
def test_marginal_density(f):
    """Mode, value and Hessian against dense formulas, derivatives against differences."""
    y = np.random.default_rng(0).poisson(2.0, N).astype(float)
    x, t = pt.vector("x", shape=(N + 1,)), pt.scalar("t")
    value = f(x, t, lambda x: (y * x - pt.exp(x)).sum())
    found = scpt.laplace(value, x)
    assert isinstance(found.precision, scpt.LowRankFactor)
    slope = pt.grad(found.log_marginal, t)
    results = [found.log_marginal, slope, pt.grad(slope, t), found.mode, found.precision.todense()]
    g = pt.grad(value, x)
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        run = pytensor.function([t], results)
        dense = pytensor.function([x, t], [value, g, -pytensor.gradient.jacobian(g, x)])
    log_marginal, first, second, mode, precision = run(0.3)
    value, g, H = dense(mode, 0.3)
    np.testing.assert_allclose(g, 0, atol=1e-7)
    np.testing.assert_allclose(precision, H, atol=1e-12 * abs(H).max())
    wanted = value + (N + 1) / 2 * np.log(2 * np.pi) - np.linalg.slogdet(H)[1] / 2
    np.testing.assert_allclose(log_marginal, wanted, rtol=1e-10)
    above, below = run(0.301), run(0.299)
    np.testing.assert_allclose(first, (above[0] - below[0]) / 0.002, rtol=1e-5)
    np.testing.assert_allclose(second, (above[1] - below[1]) / 0.002, rtol=1e-4, atol=1e-8)


def test_uncertainty_refuses_what_needs_a_sparse_matrix():
    x, t = pt.vector("x", shape=(N,)), pt.scalar("t")
    report = scpt.laplace(-pt.exp(t) * (x**2).sum() - x.sum() ** 2, x).uncertainty(t)
    for refused in (report.precision, lambda: report.sample(np.zeros(N + 1))):
        with pytest.raises(ValueError, match="LowRankFactor"):
            refused()
