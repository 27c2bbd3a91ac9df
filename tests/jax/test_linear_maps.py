"""Hessians of functions of linear maps of the unknowns: against dense ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental.sparse import BCOO

import sparsechol.jax as scj

M, GROUPS, ITEMS = 400, 30, 24
N = GROUPS + ITEMS
RNG = np.random.default_rng(0)
GROUP, ITEM = RNG.integers(0, GROUPS, M), RNG.integers(0, ITEMS, M)
Y = RNG.poisson(1.5, M).astype(float)
COVARIATE = RNG.normal(size=M)
Z = sp.csr_array(
    (np.ones(2 * M), (np.tile(np.arange(M), 2), np.append(GROUP, GROUPS + ITEM))), (M, N)
)
BY_PLACES = BCOO.from_scipy_sparse(Z)
THETA = jnp.array([0.3, -0.2])


def gathered(x, theta):
    return x[:GROUPS][GROUP] + x[GROUPS:][ITEM]


def scaled(x, theta):
    return jnp.exp(theta[0]) * x[GROUP] + jnp.exp(theta[1]) * x[GROUPS + ITEM] * COVARIATE


def multiplied(x, theta):
    return BY_PLACES @ x


def dense(x, theta):
    return jnp.asarray(Z.toarray()) @ x


def prior(x, theta):
    return -0.5 * jnp.exp(theta[0]) * jnp.sum(x**2) - jnp.sum((x[1:] - x[:-1]) ** 2)


def poisson(map_of):
    def logjoint(x, theta):
        eta = map_of(x, theta)
        return prior(x, theta) + jnp.sum(Y * eta - jnp.exp(eta))

    return logjoint


def location_and_scale(x, theta):
    """A normal density whose mean and deviation have random effects: blocks of two rows."""
    mean, scale = x[:GROUPS][GROUP], 0.3 * x[GROUPS:][ITEM] + 0.1 * x[:GROUPS][GROUP]
    return prior(x, theta) - jnp.sum(scale + 0.5 * ((Y - mean) / jnp.exp(scale)) ** 2)


def mixed_with_the_unknowns(x, theta):
    """One map that has second derivatives with x itself, beside one that has none."""
    shifted = x + jnp.roll(x, 1)
    return poisson(gathered)(x, theta) - jnp.sum(x**2 * shifted**2)


FUNCTIONS = {
    "gathered": poisson(gathered),
    "scaled": poisson(scaled),
    "multiplied": poisson(multiplied),
    "dense": poisson(dense),
    "location and scale": location_and_scale,
    "mixed": mixed_with_the_unknowns,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_against_the_dense_hessian(name):
    f, x = FUNCTIONS[name], jnp.asarray(np.random.default_rng(1).normal(size=N) / 3)
    H = scj.sparse_hessian(f, x, THETA)
    assert "A^T W A" in H.how
    wanted = jax.hessian(f)(x, THETA)
    np.testing.assert_allclose(H(x, THETA).toarray(), wanted, atol=1e-11 * abs(wanted).max())
    np.testing.assert_allclose(H.matrix(x, THETA) @ jnp.eye(N), wanted, atol=1e-10)
    for format in ("csr", "bcoo", "dense"):
        other = scj.sparse_hessian(f, x, THETA, format=format)(x, THETA)
        other = other if format == "dense" else other.todense()
        np.testing.assert_allclose(other, wanted, atol=1e-11 * abs(wanted).max())


@pytest.mark.parametrize("name", ["scaled", "location and scale"])
def test_derivatives(name):
    """Of the entries, in the point and in parameters of the maps."""
    f, x = FUNCTIONS[name], jnp.asarray(np.random.default_rng(1).normal(size=N) / 3)
    H = scj.sparse_hessian(f, x, THETA, format="dense")
    weights = jnp.asarray(np.random.default_rng(2).normal(size=(N, N)))
    slopes = jax.grad(lambda *at: jnp.sum(weights * H(*at)), argnums=(0, 1))(x, THETA)
    wanted = jax.grad(lambda *at: jnp.sum(weights * jax.hessian(f)(*at)), argnums=(0, 1))(x, THETA)
    for a, b in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_slices_of_the_unknowns_are_no_maps():
    """Where nothing else depends on them."""

    def f(x):
        u, v = x[:GROUPS], x[GROUPS:]
        return jnp.sum(jnp.exp(u[GROUP] + v[ITEM])) + jnp.sum(u**2) + jnp.sum(v**4)

    assert "A^T W A with 400 rows, and 1 product" in scj.sparse_hessian(f, jnp.zeros(N)).how


def test_few_colors_stay():
    x = jnp.zeros(50)
    H = scj.sparse_hessian(lambda x: jnp.sum(jnp.exp(x[1:] - x[:-1])), x)
    assert H.how == H.coloring.how
    assert "A^T W A" not in H.how


def test_products_that_are_refused(monkeypatch):
    """Where `gram` finds the product too dense, there are colors."""

    def refuse(*args, **options):
        raise ValueError("rows make the product dense")

    monkeypatch.setattr("sparsechol.jax._sparse_hessians.gram", refuse)
    f, x = FUNCTIONS["gathered"], jnp.full(N, 0.1)
    H = scj.sparse_hessian(f, x, THETA)
    assert "A^T W A" not in H.how
    np.testing.assert_allclose(H(x, THETA).toarray(), jax.hessian(f)(x, THETA), atol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_precision(dtype):
    """Half precision has no kernels: colors."""
    f, x = poisson(gathered), jnp.full(N, 0.1, dtype)
    theta = THETA.astype(dtype)
    H = scj.sparse_hessian(lambda x, t: f(x, t).astype(dtype), x, theta)
    found = H.values(x, theta)
    assert found.dtype == dtype
    tolerance = 200 * float(jnp.finfo(dtype).eps)
    dense = np.zeros((N, N))
    i = H.sparsity.indices
    j = np.repeat(np.arange(N), np.diff(H.sparsity.indptr))
    dense[i, j] = found
    wanted = jax.hessian(f)(x.astype(float), THETA)
    np.testing.assert_allclose(dense, wanted, atol=tolerance * abs(wanted).max())


def test_other_types():
    """Parameters of another type than those that the Hessian was prepared for."""
    f, x = poisson(scaled), jnp.zeros(N)
    H = scj.sparse_hessian(f, x, THETA)
    np.testing.assert_allclose(
        H.values(x, THETA.astype(jnp.float32)), H.values(x, THETA), rtol=1e-5, atol=1e-5
    )


def test_marginal_density():
    """Value and gradient of Laplace's approximation, against the dense formula."""
    f = poisson(scaled)

    def value(theta):
        return scj.laplace(f, jnp.zeros(N), theta)

    found = value(THETA)
    H = -jax.hessian(f)(found.mode, THETA)
    wanted = f(found.mode, THETA) + N / 2 * np.log(2 * np.pi) - np.linalg.slogdet(H)[1] / 2
    np.testing.assert_allclose(found.log_marginal, wanted, rtol=1e-12)
    gradient = jax.grad(lambda theta: value(theta).log_marginal)
    h = 1e-4
    slopes = [
        (value(THETA + h * e).log_marginal - value(THETA - h * e).log_marginal) / (2 * h)
        for e in jnp.eye(2)
    ]
    np.testing.assert_allclose(gradient(THETA), slopes, rtol=1e-6)
