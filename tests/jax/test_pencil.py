"""log det(A + t B) in JAX: values and derivatives are those of the NumPy face."""

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
