"""log det(A + t B) and of two parameters in JAX: as in the NumPy face, with derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import sparsechol as sc
import sparsechol.jax as scj
from sparsechol.models import adjacency, car

(_, D), (_, W) = car(adjacency([(i, (i + 1) % 7) for i in range(7)])).terms(alpha=0.0)
INTERVAL = (-0.5, 0.999)


@pytest.fixture(scope="module")
def pencils():
    return sc.logdet_pencil(D, -W, INTERVAL), scj.logdet_pencil(D, -W, INTERVAL)


def test_every_order_under_jit_and_vmap(pencils):
    expected, f = pencils
    orders = [f, jax.grad(f), jax.jacfwd(jax.grad(f)), jax.grad(jax.grad(jax.grad(f)))]
    t = np.array([-0.5, 0.0, 0.7, 0.999, 1.5])
    found = jax.jit(jax.vmap(lambda t: jnp.stack([g(t) for g in orders])))(t)
    assert_allclose(found[:4, 0], expected(t[:4]), rtol=1e-12)
    for k in range(1, 4):
        assert_allclose(found[:4, k], expected.derivative(t[:4], k), rtol=1e-6, atol=1e-6)
    assert np.isnan(found[4, 0])  # outside
    assert not found[4, 1:].any()


def test_types(pencils):
    expected, f = pencils
    assert f(0).dtype == jnp.float64
    assert f(np.float32(0.25)).dtype == jnp.float32
    assert_allclose(f(np.float32(0.25)), expected(0.25), rtol=1e-5)


def test_two_parameters():
    """Mixed derivatives, batches, and what lies outside."""
    parts = (D, -W, np.eye(7), ((-0.5, 0.9), (0.0, 2.0)))
    expected, f = sc.logdet_pencil_pair(*parts), scj.logdet_pencil_pair(*parts)
    slopes, mixed = jax.grad(f, (0, 1)), jax.grad(jax.grad(f), 1)

    @jax.jit
    @jax.vmap
    def run(s, t):
        return jnp.stack([f(s, t), *slopes(s, t), mixed(s, t)])

    s, t = np.array([-0.5, 0.0, 0.7, 1.5]), np.array([0.0, 1.3, 2.0, 1.0])
    found = run(s, t)
    for k, order in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        wanted = expected.derivative(s[:3], t[:3], order)
        assert_allclose(found[:3, k], wanted, rtol=1e-8, atol=1e-8)
    assert np.isnan(found[3, 0])
    assert not found[3, 1:].any()
    assert_allclose(f(0.3, 1.0), sc.logdet(D - 0.3 * W + np.eye(7)), rtol=1e-12)
    assert f(s[:3, None], t[:3]).shape == (3, 3)
    assert f(np.float32(0.25), np.float32(1)).dtype == jnp.float32
