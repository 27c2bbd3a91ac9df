"""Fields under linear constraints in JAX, against dense algebra on the plane of the constraints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
import sparsechol.jax as scj
from support.fields import conditional, laplacian, random_graph
from support.jax_systems import differ, measure

RNG = np.random.default_rng(0)
N = 7
EDGES = np.transpose(random_graph(RNG, N, 1, 0))
P = sc.analyze(laplacian(N, *EDGES.T, np.ones(len(EDGES))))
TERMS = jnp.asarray([P.values(laplacian(N, [i], [j], [1.0])) for i, j in EDGES])
W = jnp.asarray(RNG.uniform(0.5, 2, len(EDGES)))
NULL = sc.NullSpace(P, "components")
MU = jnp.asarray(RNG.standard_normal(N))


def precision(w, intrinsic):
    M = scj.SymmetricMatrix(P, w @ TERMS)
    return M if intrinsic else M + scj.SymmetricMatrix.identity(P)


def given(w, C, e, intrinsic):
    F = scj.cholesky(precision(w, intrinsic), null_space=NULL if intrinsic else None)
    return F.condition(C, e)


def found(w, C, e, mu, intrinsic):
    """All results in one array; the density at a point that moves with the plane."""
    field = given(w, C, e, intrinsic)
    x = field.mean(mu + jnp.arange(N))
    return jnp.concatenate([
        field.mean(mu),
        field.marginal_variances(),
        field.covariance_entries([0, 1], [3, 2]),
        field.quadratic_variance(TURN[:2]),
        field.quadratic_variance(mu)[None],
        field.logpdf(jnp.stack([x, field.mean(0.0)]), mu),
    ])  # fmt: skip


def wanted(w, C, e, mu, intrinsic):
    """The same by dense JAX: on a basis of the plane, which turns with C."""
    Q, m = precision(w, intrinsic).todense(), len(C)
    inside = jnp.linalg.qr(jnp.concatenate([C.T, jnp.asarray(TURN[:, : N - m])], axis=1))[0][:, m:]
    start = C.T @ jnp.linalg.solve(C @ C.T, e)
    A = inside.T @ Q @ inside
    S = inside @ jnp.linalg.inv(A) @ inside.T

    def mean(mu):
        return start + S @ Q @ (mu - start)

    points = jnp.stack([mean(mu + jnp.arange(N)), mean(jnp.zeros(N))])
    d = points - mean(mu)
    density = (jnp.linalg.slogdet(A)[1] - (N - m) * jnp.log(2 * jnp.pi)
               - jnp.einsum("ki,ij,kj->k", d, Q, d)) / 2  # fmt: skip
    return jnp.concatenate([
        mean(mu), jnp.diag(S), S[jnp.array([0, 1]), jnp.array([3, 2])],
        jnp.diag(TURN[:2] @ S @ TURN[:2].T), (mu @ S @ mu)[None], density,
    ])  # fmt: skip


TURN = RNG.standard_normal((N, N))
CASES = {"sum": (1, True), "intrinsic": (3, True), "definite": (2, False)}


def operands(case):
    m, intrinsic = CASES[case]
    C = np.ones((1, N)) if case == "sum" else RNG.standard_normal((m, N))
    return (W, jnp.asarray(C), jnp.asarray(RNG.standard_normal(m)), MU), intrinsic


@pytest.mark.fast_cases("intrinsic")
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case):
    """In the weights, constraints, right sides and means."""
    args, intrinsic = operands(case)
    p, q = (
        jax.jit(jax.value_and_grad(
            lambda *args, f=f: (measure(f(*args, intrinsic)), f(*args, intrinsic)),
            (0, 1, 2, 3), has_aux=True,
        ))(*args)
        for f in (found, wanted)
    )  # fmt: skip
    assert differ(p, q) < 1e-10
    w, C, e, mu = args
    known = jax.jit(lambda w: found(w, np.asarray(C), e, mu, intrinsic))(w)
    assert differ(known, p[0][1]) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_second_derivatives_and_batches(case):
    args, intrinsic = operands(case)
    p, q = (
        jax.jit(lambda w, C, e, mu, f=f: (
            jax.jacfwd(jax.grad(lambda w: measure(f(w, C, e, mu, intrinsic))))(w),
            jax.jacfwd(jax.grad(lambda C: measure(f(w, C, e, mu, intrinsic))))(C),
            jax.vmap(lambda t: f(w, t * C, t * e, mu, intrinsic))(jnp.array([1.0, 2.0])),
        ))(*args)
        for f in (found, wanted)
    )  # fmt: skip
    assert differ(p, q) < 1e-8


@pytest.mark.parametrize("intrinsic", [True, False])
def test_the_same_as_dense_numpy(intrinsic):
    C, e = RNG.standard_normal((3, N)), np.array([1.0, 2.0, 3.0])

    @jax.jit
    def results(w, key):
        field = given(w, sp.coo_array(C), e, intrinsic)
        assert field.constraints == 3
        assert "3 constraints" in repr(field)
        mean = field.mean(MU)
        density = field.logpdf(jnp.stack([mean, mean + 1e-3]), MU)
        return mean, field.marginal_variances(), density, field.sample(key, shape=20_000, mu=MU)

    Q = np.asarray(precision(W, intrinsic).todense())
    mean, cov, logdet, _ = conditional(Q, C, e, np.asarray(MU))
    found_mean, variances, density, x = results(W, jax.random.key(0))
    assert differ((found_mean, variances), (mean, cov.diagonal())) < 1e-11
    assert abs(density[0] + ((N - 3) * np.log(2 * np.pi) + logdet) / 2) < 1e-10
    assert density[1] == -np.inf
    assert abs(x @ C.T - e).max() < 1e-11
    assert abs(np.cov(x.T) - cov).max() < 0.05 * abs(cov).max()


@pytest.mark.slow
def test_conditioned_is_a_pytree():
    C = RNG.standard_normal((2, N))
    field = jax.jit(lambda w: given(w, C, 0.0, True))(W)
    assert differ(field.marginal_variances(), given(W, C, 0.0, True).marginal_variances()) < 1e-12
    many = jax.vmap(lambda e: given(W, C, e, True))(jnp.eye(2))
    means = jax.vmap(lambda f: f.mean())(many)
    assert differ(means @ C.T, jnp.eye(2)) < 1e-12


def test_what_gives_nan_and_what_is_refused():
    C = jnp.asarray(RNG.standard_normal((2, N)))
    mean = jax.jit(lambda C: given(W, C, 0.0, True).mean(MU))
    assert jnp.isfinite(mean(C)).all()
    assert jnp.isnan(mean(jnp.stack([C[0], -2 * C[0]]))).all()  # dependent
    assert jnp.isnan(mean(C - C.mean(axis=1, keepdims=True))).all()  # the level stays free
    indefinite = jax.jit(lambda w: given(w, np.asarray(C), 0.0, True).logpdf(np.zeros(N)))
    assert jnp.isnan(indefinite(-W))
    with pytest.raises(ValueError, match="combination"):
        given(W, np.ones((2, N)), 0.0, True)
    with pytest.raises(ValueError, match="directions"):
        given(W, np.eye(N)[0] - np.eye(N)[1], 0.0, True)
    with pytest.raises(ValueError, match="e has shape"):
        given(W, C, np.zeros(3), True)
    with pytest.raises(ValueError, match="shape"):
        jax.jit(lambda C: given(W, C, 0.0, True).mean())(jnp.ones((1, N + 1)))
    with pytest.raises(ValueError, match="mu has shape"):
        given(W, C, 0.0, True).mean(np.ones(3))
    with pytest.raises(ValueError, match="x has shape"):
        given(W, C, 0.0, True).logpdf(np.ones(3))
    F = scj.cholesky(precision(W, False).astype(np.complex128))
    with pytest.raises(TypeError, match="must be real"):
        F.condition(C)
