"""The Gaussian layer, single precision, counts of calls, constants in programs."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import multivariate_normal

import sparsechol as sc
import sparsechol.jax as scj
from sparsechol.jax import _lowering, _primitives
from support.jax_systems import System, differ, x64

SYSTEM = System()
P, a = SYSTEM.P, SYSTEM.a


# ---- Gaussian Markov random fields ----


def test_logpdf_against_scipy():
    rng = np.random.default_rng(0)
    mu, x = rng.standard_normal(7), rng.standard_normal((4, 3, 7))
    expected = multivariate_normal(mu, np.linalg.inv(SYSTEM.A)).logpdf(x)
    for M in (SYSTEM.matrix(a), SYSTEM.factor(a)):
        np.testing.assert_allclose(scj.gmrf_logpdf(x, mu, M), expected)
        np.testing.assert_allclose(scj.gmrf_logpdf(x[0, 0], mu, M), expected[0, 0])


@pytest.mark.slow
def test_logpdf_derivatives():
    x, mu = SYSTEM.b[:, 0], SYSTEM.b[:, 1]

    def dense(x, mu, v):
        r, A = x - mu, SYSTEM.dense(v)
        return 0.5 * (jnp.linalg.slogdet(A)[1] - 7 * np.log(2 * np.pi) - r @ A @ r)

    def sparse(x, mu, v):
        return scj.gmrf_logpdf(x, mu, SYSTEM.matrix(v))

    for derive in (jax.grad, jax.hessian):
        got, wanted = (derive(f, (0, 1, 2))(x, mu, a) for f in (sparse, dense))
        assert differ(got, wanted) < 1e-11


def test_samples():
    M, mu = SYSTEM.matrix(a), jnp.arange(7.0)
    key = jax.random.key(1)
    draws = scj.gmrf_sample(key, mu, M, shape=20_000)
    assert draws.shape == (20_000, 7)
    np.testing.assert_allclose(draws.mean(0), mu, atol=0.05)
    covariance = np.linalg.inv(SYSTEM.A)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.05 * abs(covariance).max())
    assert scj.gmrf_sample(key, 0.0, M).shape == (7,)
    np.testing.assert_allclose(
        scj.gmrf_sample(key, mu, SYSTEM.factor(a), shape=(2, 3)),
        mu + SYSTEM.factor(a).sample(key, shape=(2, 3)),
    )


def test_wrong_gaussians():
    M = SYSTEM.matrix(a)
    with pytest.raises(ValueError, match="last dimension must be 7"):
        scj.gmrf_logpdf(np.ones(6), 0.0, M)
    with pytest.raises(ValueError, match="does not fit x"):
        scj.gmrf_logpdf(np.ones(7), np.ones((2, 7)), M)
    with pytest.raises(TypeError, match="must be real"):
        scj.gmrf_logpdf(np.ones(7), 0.0, System(np.complex128).matrix(System(np.complex128).a))


def test_marginal_variances():
    dense = jnp.diag(jnp.linalg.inv(SYSTEM.dense(a)))
    for M in (SYSTEM.matrix(a), SYSTEM.factor(a)):
        np.testing.assert_allclose(scj.marginal_variances(M), dense, rtol=1e-12)
    system = System(np.complex128)
    with pytest.raises(TypeError, match="must be real"):
        scj.marginal_variances(system.matrix(system.a))


# ---- determinants and diagonals ----


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_slogdet(dtype):
    system = System(dtype)
    wanted = np.linalg.slogdet(system.A)
    for found in (system.factor(system.a).slogdet(), scj.slogdet(system.matrix(system.a))):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert found[0].dtype == dtype

    def f(a, slogdet):
        sign, value = slogdet(a)
        return (sign * value).real

    got = jax.jit(jax.grad(lambda a: f(a, lambda a: scj.slogdet(system.matrix(a)))))(system.a)
    wanted = jax.jit(jax.grad(lambda a: f(a, lambda a: jnp.linalg.slogdet(system.dense(a)))))(
        system.a
    )
    assert differ(got, wanted) < 1e-12
    assert np.isnan(scj.slogdet(system.matrix(-system.a))).all()


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_diag_inverse(dtype):
    system = System(dtype)

    def sparse(a):
        return scj.diag_inverse(system.matrix(a))

    def dense(a):
        return jnp.diag(jnp.linalg.inv(system.dense(a))).real

    assert differ(sparse(system.a), dense(system.a)) < 1e-12
    weights = jnp.arange(7.0)
    got, wanted = (
        jax.jit(jax.grad(lambda a, f=f: weights @ f(a)))(system.a) for f in (sparse, dense)
    )
    assert differ(got, wanted) < 1e-11


# ---- arguments ----


OPERANDS = [("gram", "B")]  # that may be left out


@pytest.mark.parametrize("name", [n for n in scj.__all__ if inspect.isfunction(getattr(scj, n))])
def test_options_are_keywords(name):
    """Check that arguments with a default are keyword-only, and that all have annotations."""
    parameters = inspect.signature(getattr(scj, name)).parameters.values()
    for parameter in parameters:
        assert parameter.annotation is not inspect.Parameter.empty
        if (name, parameter.name) in OPERANDS:
            continue
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


# ---- single precision ----


def ill_conditioned(dtype):
    """Return a random walk of second order with a small diagonal, in single precision."""
    D = sp.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(98, 100))
    A = (D.T @ D + 1e-3 * sp.eye_array(100)).tocsc()
    P = scj.analyze(A)
    values = P.values(A).astype(dtype)
    return P, values, P.factorize(values.astype(np.result_type(dtype, np.float64)))


@pytest.mark.fast_cases(r"ffi-float32-False")
@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_double_precision_inside(backend, dtype, enabled):
    pattern, values, F = ill_conditioned(dtype)
    rng = np.random.default_rng(0)
    change = rng.standard_normal(values.shape).astype(dtype)
    wide = np.result_type(dtype, np.float64)
    with x64(enabled):

        def M(v):
            return scj.SymmetricMatrix(pattern, v)

        def logdet(v):
            return scj.logdet(M(v), compute_dtype="float64")

        value, gradient = jax.jit(jax.value_and_grad(logdet))(values)
        assert value.dtype == np.float32
        assert gradient.dtype == dtype
        hvp = jax.jvp(jax.grad(logdet), (values,), (change,))[1]
        x = scj.solve(M(values), np.ones(100), compute_dtype="float64")
        assert x.dtype == dtype
        z = scj.partial_inverse(M(values), compute_dtype="float64")
        d = scj.diag_inverse(M(values), compute_dtype="float64")
        sign, _ = scj.slogdet(M(values), compute_dtype="float64")
        z_gradient = jax.grad(
            lambda v: jnp.sum(change * scj.partial_inverse(M(v), compute_dtype="float64")).real
        )(values)
        jax.grad(lambda v: jnp.sum(jax.jvp(jax.grad(logdet), (v,), (change,))[1]).real)(values)
        batch = jax.vmap(logdet)(jnp.stack([values, -values]))
        plain = scj.logdet(M(values))
    close = {"rtol": 1e-6}
    np.testing.assert_allclose(value, F.logdet(), **close)
    np.testing.assert_allclose(gradient, F.logdet_grad().conj(), **close)
    np.testing.assert_allclose(x, F.solve(np.ones(100)), **close)
    np.testing.assert_allclose(z, F.pattern.values(F.partial_inverse()), **close)
    np.testing.assert_allclose(d, F.diag_inverse(), **close)
    assert sign == 1
    assert sign.dtype == dtype
    assert d.dtype == np.float32
    exact = sc.derivatives.logdet_hvp(F, change.astype(wide)).conj()
    assert abs(hvp - exact).max() < 1e-6 * abs(exact).max()
    exact = F.partial_inverse_vjp(change.astype(wide)).conj()
    assert abs(z_gradient - exact).max() < 1e-6 * abs(exact).max()
    np.testing.assert_allclose(batch[0], value)
    assert np.isnan(batch[1])
    assert abs(plain - F.logdet()) > abs(value - F.logdet())


# ---- how often kernels are called ----


def objective(b):
    def f(v):
        M = SYSTEM.matrix(v)
        return 0.5 * scj.logdet(M) - 0.5 * b @ scj.solve(M, b)

    return f


def operations(f, *args):
    """Return the names of the operations in a compiled program."""
    text = jax.jit(f).lower(*args).compile().as_text()
    return sorted(re.findall(r'operation = "(\w+)"', text))


def test_value_and_gradient_factor_once():
    _lowering.use_backend("ffi")
    assert _lowering.backend() == "ffi"
    names = operations(jax.value_and_grad(objective(SYSTEM.b[:, 0])), a)
    assert names == sorted(
        ["cholesky", "logdet", "partial_inverse", "gather", "solve", "solve", "sampled_outer"]
    )


def test_value_and_gradient_factor_once_by_callbacks(backend, monkeypatch):
    calls = []
    perform = _lowering.perform

    def counted(operation, *args):
        calls.append(operation)
        perform(operation, *args)

    monkeypatch.setattr(_lowering, "perform", counted)
    jax.clear_caches()
    b = SYSTEM.b[:, 0]

    def f(v):
        F = SYSTEM.factor(v)
        return 0.5 * F.logdet() - 0.5 * b @ F.solve(b)

    jax.jit(jax.value_and_grad(f))(a)[0].block_until_ready()
    if backend != "ffi":
        assert calls.count("cholesky") == calls.count("partial_inverse") == 1
        assert calls.count("solve") == 2


def test_entries_of_L_need_no_second_factorization():
    _lowering.use_backend("ffi")

    def f(v):
        F = SYSTEM.factor(v)
        return F.logdet() + jnp.sum(F.L**2)

    assert operations(jax.value_and_grad(f), a).count("cholesky") == 1


def test_batches_are_one_call():
    _lowering.use_backend("ffi")
    batch = jnp.stack([a, 2 * a, 3 * a])
    names = operations(jax.vmap(jax.value_and_grad(objective(SYSTEM.b[:, 0]))), batch)
    assert names == sorted(
        ["cholesky", "logdet", "gathered_inverse", "solve", "solve", "sampled_outer"]
    )
    text = jax.jit(jax.vmap(objective(SYSTEM.b[:, 0]))).lower(batch).as_text()
    assert "while" not in text


@pytest.mark.parametrize("shape", [(1,), (9,), (2, 4)])
def test_derivatives_of_batches(backend, shape):
    """Gradient and Hessian of log det A against dense inverses; batches of batches, too."""
    rng = np.random.default_rng(5)
    rows, column = P.indices, np.repeat(np.arange(P.shape[0]), np.diff(P.indptr))
    weight = np.where(rows == column, 1, 2)
    batch = np.asarray(a) * (1 + rng.random((*shape, 1)))
    change = rng.standard_normal((*shape, a.shape[0]))

    def both(v, dv):
        return jax.jvp(jax.grad(lambda v: scj.logdet(SYSTEM.matrix(v))), (v,), (dv,))

    for _ in shape:
        both = jax.vmap(both)
    gradient, hessian = jax.jit(both)(jnp.asarray(batch), jnp.asarray(change))

    for place in np.ndindex(*shape):
        Z = np.linalg.inv(SYSTEM.dense(batch[place]))
        np.testing.assert_allclose(gradient[place], weight * Z[rows, column], rtol=1e-9)
        H = -Z @ SYSTEM.dense(change[place]) @ Z
        np.testing.assert_allclose(hessian[place], weight * H[rows, column], rtol=1e-7, atol=1e-10)


def test_a_batch_of_inverses_has_the_bits_of_single_ones(backend):
    batch = jnp.stack([a * (1 + k / 10) for k in range(9)])
    together = jax.jit(jax.vmap(lambda v: scj.partial_inverse(SYSTEM.matrix(v))))(batch)
    for v, z in zip(batch, together, strict=True):
        np.testing.assert_array_equal(z, scj.partial_inverse(SYSTEM.matrix(v)))


def test_no_large_constants_in_programs():
    grid = sp.diags_array([[-1.0] * 99, [4.0] * 100, [-1.0] * 99], offsets=[-1, 0, 1])
    A = sp.kronsum(grid, grid).tocsc()
    pattern = scj.analyze(A)
    b = jnp.ones(pattern.shape[0])

    def f(v, b):
        F = scj.cholesky(scj.SymmetricMatrix(pattern, v))
        return F.logdet() - b @ F.solve(b) + jnp.sum(F.partial_inverse()) + jnp.sum(F.L)

    hvp = jax.jit(lambda v, t, b: jax.jvp(jax.grad(f), (v, b), (t, b)))
    values = jnp.asarray(pattern.values(A))
    assert len(hvp.lower(values, values, b).as_text()) < 100_000


# ---- primitives ----


def test_abstract_evaluation_refuses_wrong_shapes():
    l = _primitives.cholesky_call(P, a)  # noqa: E741
    for wrong in (
        lambda: _primitives.cholesky_call(P, a[:-1]),
        lambda: _primitives.tangent_call(P, l, l[:-1]),
        lambda: _primitives.tangent_call(P, l, a.astype(np.float32)),
        lambda: _primitives.product_call(P, a, jnp.ones((6, 2))),
        lambda: _primitives.product_call(P, a, jnp.ones((3,))),
        lambda: _primitives.solve_call(
            P, jnp.stack([a, a]), jnp.stack([l] * 3), jnp.ones((3, 7, 1))
        ),
    ):
        with pytest.raises((TypeError, ValueError)):
            wrong()


def test_unknown_backends(monkeypatch):
    monkeypatch.setattr(_lowering, "_chosen", None)
    monkeypatch.setenv("SPARSECHOL_JAX_BACKEND", "quantum")
    with pytest.raises(ValueError, match="SPARSECHOL_JAX_BACKEND must be one of ffi, buffer"):
        _lowering.backend()


def test_a_refused_handler_falls_back(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("version 99 is needed")

    monkeypatch.setattr(_lowering, "_chosen", None)
    monkeypatch.setattr(jax.ffi, "register_ffi_target", refuse)
    with pytest.warns(RuntimeWarning, match="version 99"):
        assert _lowering.backend() == "buffer"
    assert _lowering.backend() == "buffer"
    monkeypatch.setattr(_lowering, "buffer_callback", None)
    with pytest.warns(RuntimeWarning, match="buffer callbacks"):
        _lowering.use_backend("buffer")
    assert _lowering.backend() == "callback"
