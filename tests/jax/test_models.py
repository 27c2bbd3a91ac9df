"""Families of precision matrices in JAX: parameters are traced, patterns are known."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

import sparsechol as sc
import sparsechol.jax as scj
from sparsechol.models import arp, kron, spde_lattice

FAMILY = kron(arp(5, 2), spde_lattice((3, 3)))


def test_terms_are_traced():
    P = scj.analyze(FAMILY.pattern)

    @jax.jit
    @jax.value_and_grad
    def logdet(parameters):
        terms = FAMILY.terms(**parameters)
        return scj.logdet(sum(c * scj.SymmetricMatrix(P, P.values(B)) for c, B in terms))

    at = {"pacf": np.array([0.5, -0.2]), "kappa": 1.3, "tau": 0.7}
    value, gradient = logdet(jax.tree.map(jnp.asarray, at))
    assert_allclose(value, sc.logdet(FAMILY(**at).Q))
    assert_allclose(gradient["tau"], 2 * 45 / 0.7)  # tau^2 stands with every entry
    # of an autoregression: 9 log det = -9 sum_k (n - k) log(1 - pacf_k^2), less that of variance 1
    r, weights = at["pacf"], np.array([4, 3])
    assert_allclose(gradient["pacf"], 9 * weights * 2 * r / (1 - r**2))
