"""Newton's method and Laplace's approximation, and their implicit derivatives."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental.sparse import BCOO
from scipy.integrate import quad
from scipy.optimize import minimize

import sparsechol.jax as scj
from sparsechol.jax import _sparse_hessians as _derivatives
from support import nonconcave

T = jnp.array([1.0, 2.0, 3.0, 2.5])


def poisson(x, t):
    """Evaluate a convex function with a tridiagonal Hessian."""
    return jnp.sum(jnp.exp(x) - t * x) + jnp.sum((x[1:] - x[:-1]) ** 2)


def differences(f, t, h=1e-5):
    """Return fourth-order central differences, one column for each element of t."""
    columns = []
    for e in h * np.eye(len(t)):
        columns.append((8 * (f(t + e) - f(t - e)) - (f(t + 2 * e) - f(t - 2 * e))) / (12 * h))
    return np.stack(columns, axis=-1)


# ---- newton ----


def test_minimum():
    found = scj.newton(poisson, jnp.zeros(4), T)
    value = jax.jit(poisson)
    wanted = minimize(lambda x: float(value(x, T)), np.zeros(4), tol=1e-12).x
    np.testing.assert_allclose(found.x, wanted, atol=1e-5)
    assert bool(found.converged)
    assert int(found.iterations) < 10
    np.testing.assert_allclose(jax.jit(jax.grad(poisson))(found.x, T), 0, atol=1e-12)


@pytest.mark.slow
def test_derivatives_of_every_kind():
    x = jax.jit(lambda t: scj.newton(poisson, jnp.zeros(4), t).x)
    total = jax.jit(lambda t: x(t).sum())
    slope, curvature = jax.jit(jax.grad(total)), jax.jit(jax.hessian(total))
    np.testing.assert_allclose(jax.jacfwd(x)(T), differences(x, T), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(slope(T), differences(total, T), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(curvature(T), differences(slope, T), rtol=1e-7, atol=1e-8)
    third = jax.jvp(curvature, (T,), (T,))[1]
    np.testing.assert_allclose(third, differences(curvature, T) @ T, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_what_comes_from_the_closure():
    x = lambda t: scj.newton(lambda x: poisson(x, t), jnp.zeros(4)).x  # noqa: E731
    wanted = differences(jax.jit(x), T)
    np.testing.assert_allclose(jax.jacfwd(x)(T), wanted, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(jax.jit(jax.jacrev(x))(T), wanted, rtol=1e-8, atol=1e-9)


@pytest.mark.slow
def test_constants_of_the_closure_stay_known():
    """Check that a sparse matrix in the closure of the function stays sparse."""
    n = 50
    A = BCOO.from_scipy_sparse(sp.diags_array([np.ones(n), np.ones(n - 1)], offsets=[0, 1]).tocoo())
    seen = []
    before = _derivatives.sparse_hessian

    def spied(*args, **options):
        seen.append(before(*args, **options))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparsechol.jax._newton.sparse_hessian", spied)
        f = lambda x, t: jnp.sum(jnp.cosh(A @ x - t))  # noqa: E731
        jax.grad(lambda t: scj.newton(f, jnp.zeros(n), t).x.sum())(jnp.ones(n))
    assert {H.sparsity.nnz for H in seen} == {3 * n - 2}


@pytest.mark.slow
def test_batches():
    many = jnp.stack([T, 2 * T, 0.5 * T])
    x = jax.vmap(lambda t: scj.newton(poisson, jnp.zeros(4), t).x)(many)
    single = [scj.newton(poisson, jnp.zeros(4), t).x for t in many]
    np.testing.assert_allclose(x, jnp.stack(single), rtol=1e-10)


@pytest.mark.slow
def test_damping():
    """Start where full steps diverge."""
    f = lambda x: jnp.sum(jnp.log(jnp.cosh(x - 1)))  # noqa: E731
    found = scj.newton(f, 4.0 * jnp.ones(3))
    assert bool(found.converged)
    np.testing.assert_allclose(found.x, 1, atol=1e-8)


@pytest.mark.slow
def test_hessian_that_is_not_definite_on_the_way():
    f = lambda x: jnp.sum((x**2 - 1) ** 2) + jnp.sum(x[1:] * x[:-1]) * 0.01  # noqa: E731
    found = scj.newton(f, 0.1 * jnp.ones(3))
    assert bool(found.converged)
    np.testing.assert_allclose(jax.grad(f)(found.x), 0, atol=1e-10)


@pytest.mark.slow
def test_pytrees():
    f = lambda p, t: jnp.sum((p["a"] - t) ** 2) + (p["b"] - p["a"][0]) ** 2  # noqa: E731
    found = scj.newton(f, {"a": jnp.zeros(4), "b": 0.0}, T).x
    np.testing.assert_allclose(found["a"], T, rtol=1e-12)
    np.testing.assert_allclose(found["b"], T[0], rtol=1e-12)


@pytest.mark.slow
def test_single_precision():
    found = scj.newton(poisson, jnp.zeros(4, jnp.float32), T.astype(jnp.float32))
    assert found.x.dtype == jnp.float32
    assert bool(found.converged)
    np.testing.assert_allclose(found.x, scj.newton(poisson, jnp.zeros(4), T).x, rtol=1e-5)


@pytest.mark.slow
def test_what_does_not_converge():
    assert not bool(scj.newton(poisson, jnp.zeros(4), T, maxiter=2).converged)
    assert not bool(scj.newton(lambda x: -jnp.sum(x), jnp.zeros(3), maxiter=20).converged)
    assert not bool(scj.newton(poisson, jnp.full(4, jnp.nan), T).converged)
    with pytest.raises(TypeError, match="int64"):
        scj.newton(lambda x: jnp.sum(x * 1.0), jnp.arange(3))
    empty = scj.newton(lambda x: jnp.sum(x**2), jnp.zeros(0))
    assert bool(empty.converged)


# ---- laplace ----


def chain(n):
    """Return the density of counts on a chain; theta holds the logs of two precisions."""
    y = jnp.asarray(np.random.default_rng(0).poisson(2.0, n).astype(float))
    walk = sp.diags_array([-np.ones(n - 1), 2 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    P = scj.analyze(walk)
    q, unit = (jnp.asarray(P.values(sp.csc_array(A))) for A in (walk, sp.eye_array(n)))

    def logjoint(x, theta):
        Q = scj.SymmetricMatrix(P, jnp.exp(theta[0]) * q + jnp.exp(theta[1]) * unit)
        return scj.gmrf_logpdf(x, 0.0, Q) + jnp.sum(y * x - jnp.exp(x))

    return logjoint


THETA = jnp.array([0.3, -1.0])


def parts(found):
    return found.log_marginal, found.mode, found.precision


def test_gaussian_integral_is_exact():
    y = jnp.array([0.3, -1.0, 2.0])

    def logjoint(x, s):
        prior = -0.5 * jnp.sum(x**2) / s - 1.5 * jnp.log(2 * jnp.pi * s)
        return prior - 0.5 * jnp.sum((y - x) ** 2) - 1.5 * jnp.log(2 * jnp.pi)

    value, mode, precision = parts(scj.laplace(logjoint, jnp.zeros(3), 0.7))
    variance = 1.7  # of data under the marginal density
    wanted = -0.5 * jnp.sum(y**2) / variance - 1.5 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    np.testing.assert_allclose(mode, y * 0.7 / 1.7, rtol=1e-10)
    np.testing.assert_allclose(precision @ jnp.eye(3), (1 + 1 / 0.7) * np.eye(3), rtol=1e-12)


def test_one_latent_value_against_quadrature():
    @jax.jit
    def logjoint(x, t):
        return jnp.sum(30 * x - 10 * jnp.exp(x)) - 0.5 * t * jnp.sum(x**2)

    value, mode, _ = parts(scj.laplace(logjoint, jnp.zeros(1), 2.0))
    top = float(logjoint(mode, 2.0))
    integral, _ = quad(lambda x: np.exp(float(logjoint(jnp.array([x]), 2.0)) - top), 0, 2.5)
    np.testing.assert_allclose(value, top + np.log(integral), atol=5e-3)


@pytest.mark.slow
def test_against_the_dense_formula():
    logjoint = chain(30)
    value, mode, precision = parts(scj.laplace(logjoint, jnp.zeros(30), THETA))
    H = -jax.hessian(logjoint)(mode, THETA)
    np.testing.assert_allclose(precision @ jnp.eye(30), H, rtol=1e-10, atol=1e-12)
    wanted = logjoint(mode, THETA) + 15 * np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(H)[1]
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(logjoint)(mode, THETA), 0, atol=1e-9)


@pytest.mark.slow
def test_gradient_and_curvature():
    logjoint = chain(30)
    f = jax.jit(lambda theta: scj.laplace(logjoint, jnp.zeros(30), theta).log_marginal)
    gradient = jax.jit(jax.grad(f))
    np.testing.assert_allclose(gradient(THETA), differences(f, THETA, 1e-3), rtol=1e-8)
    curvature = jax.hessian(f)(THETA)
    np.testing.assert_allclose(curvature, differences(gradient, THETA, 1e-3), rtol=1e-7)


@pytest.mark.slow
def test_where_there_is_no_mode():
    """NaN, with the reason."""
    cubes = lambda x: jnp.sum(x**3)  # noqa: E731
    for found, status, match in (
        (scj.laplace(lambda x, t: jnp.sum(t * x), jnp.zeros(3), 1.0), -2, r"pivot at x\[0\] is 0"),
        (scj.laplace(cubes, jnp.full(3, 0.1), maxiter=3), -2, r"pivot at x\[\d\] is -"),
        (scj.laplace(cubes, jnp.full(3, 0.1)), -1, "not finite"),
        (scj.laplace(lambda x: -jnp.sum(x**2) + jnp.nan, jnp.zeros(3)), -1, "not finite"),
        (scj.laplace(lambda x: -jnp.sum((x - 9) ** 4), jnp.zeros(3), maxiter=2), 0, "maxiter"),
    ):
        assert np.isnan(found.log_marginal)
        assert np.isnan(found.mode).all()
        assert not found.converged
        assert found.status == status
        assert re.search(match, found.message)
        with pytest.raises(ValueError, match=match):
            found.uncertainty(0)


@pytest.mark.slow
def test_an_intercept_that_is_confounded_with_a_field():
    """Named in the tree of the latent values: any constant may move from one to the other."""

    def logjoint(x):
        field, mean = x["field"], x["mean"]
        return -0.5 * jnp.sum(jnp.diff(field) ** 2) - 0.5 * jnp.sum((field + mean - 1.0) ** 2)

    found = scj.laplace(logjoint, {"field": jnp.zeros(3), "mean": jnp.zeros(())})
    assert found.status == -2
    assert "x['mean']" in found.message
    assert "x['field'][0]" in found.message


def test_how_a_search_ended():
    """Under jit and for batches as numbers; in words outside."""
    run = lambda t: scj.newton(poisson, jnp.zeros(4), t, maxiter=20)  # noqa: E731
    found = jax.jit(run)(T)
    assert found.status == 2
    assert "promised" in found.message
    assert found.gradient_norm < 1e-12
    many = jax.vmap(run)(jnp.stack([T, T * jnp.nan]))
    np.testing.assert_array_equal(many.status, [2, -1])
    np.testing.assert_array_equal(many.converged, [True, False])
    with pytest.raises(ValueError, match="one known status"):
        many.message  # noqa: B018
    few = scj.newton(poisson, jnp.zeros(4), T, maxiter=1)
    slope = jnp.max(jnp.abs(jax.grad(poisson)(few.x, T)))
    np.testing.assert_allclose(few.gradient_norm, slope, rtol=1e-12)
    assert int(few.iterations) == 1
    assert "maxiter" in few.message


@pytest.mark.slow
def test_ten_thousand_latent_values():
    """Check that there is one analysis, and compare gradients with differences to six digits."""
    n = 100
    path = sp.diags_array(
        [-np.ones(n - 1), np.r_[1, 2 * np.ones(n - 2), 1], -np.ones(n - 1)], offsets=[-1, 0, 1]
    )
    grid = sp.csc_array(sp.kronsum(path, path))
    P = scj.analyze(grid + sp.eye_array(n * n))
    q, unit = (jnp.asarray(P.values(A)) for A in (grid, sp.eye_array(n * n).tocsc()))
    y = jnp.asarray(np.random.default_rng(0).poisson(2.0, n * n).astype(float))

    def logjoint(x, theta):
        Q = scj.SymmetricMatrix(P, jnp.exp(theta[0]) * (q + jnp.exp(theta[1]) * unit))
        return scj.gmrf_logpdf(x, 0.0, Q) + jnp.sum(y * x - jnp.exp(x))

    analyzed = []
    before = _derivatives.analyze

    def counted(*args, **options):
        analyzed.append(args[0].shape)
        return before(*args, **options)

    f = jax.jit(lambda theta: scj.laplace(logjoint, jnp.zeros(n * n), theta).log_marginal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_derivatives, "analyze", counted)
        gradient = jax.jit(jax.grad(f))(THETA)
    assert analyzed == [(n * n, n * n)]
    np.testing.assert_allclose(gradient, differences(f, THETA, 1e-4), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("n", nonconcave.SIZES)
@pytest.mark.parametrize("kind", nonconcave.KINDS)
def test_random_densities_that_are_not_concave(kind, n):
    """All have a mode, which is found; SPARSECHOL_MODELS=10 tries 200 of them."""

    def f(x, *data):
        return nonconcave.logjoint(kind, x, data, jnp)

    gradient, hessian = jax.jit(jax.grad(f)), jax.jit(jax.hessian(f))
    search = jax.jit(lambda x, *data: scj.laplace(f, x, *data))
    for seed in range(nonconcave.MODELS):
        data, start = nonconcave.problem(kind, n, seed)
        found = search(jnp.asarray(start), *data)
        assert np.isfinite(found.log_marginal)
        np.testing.assert_allclose(gradient(found.mode, *data), 0, atol=1e-5)
        assert np.linalg.eigvalsh(-hessian(found.mode, *data)).min() > 0
        assert found.iterations < 300


@pytest.mark.slow
@pytest.mark.parametrize("kind", nonconcave.KINDS)
def test_modes_beside_a_dense_trust_region(kind):
    """There may be several: the one that is found is not much worse."""

    def f(x, *data):
        return nonconcave.logjoint(kind, x, data, jnp)

    data, start = nonconcave.problem(kind, 20, 1)
    value, gradient, hessian = (
        jax.jit(lambda x, g=g: g(x, *data)) for g in (f, jax.grad(f), jax.hessian(f))
    )
    found = jax.jit(lambda x: scj.laplace(f, x, *data))(jnp.asarray(start))
    wanted = nonconcave.dense_mode(value, gradient, hessian, start)
    assert value(found.mode) > value(wanted) - 1


@pytest.mark.slow
def test_where_no_step_helps():
    """A gradient that is wrong: the status says it."""
    f = lambda x: jnp.sum(x**2) + 4 * jnp.sum((jax.lax.stop_gradient(x) - 3) ** 2)  # noqa: E731
    found = scj.newton(f, jnp.full(3, 2.0))
    assert found.status == -3
    assert "derivatives" in found.message


@pytest.mark.slow
def test_a_stationary_point_that_is_no_minimum():
    """A saddle, from which no step leads away: few are tried."""
    found = scj.newton(lambda x: jnp.sum(x[:2] ** 2) - x[2] ** 2, jnp.zeros(3))
    assert found.status == -2
    assert found.iterations < 50
