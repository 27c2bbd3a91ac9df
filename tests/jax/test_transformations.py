"""Every function under every transformation, by every lowering, against dense JAX."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import solve_triangular

import sparsechol.jax as scj
from support.jax_systems import System, differ, measure
from support.jax_transformations import EAGER, TRANSFORMATIONS, Expected, transform

SYSTEM = System()
P = SYSTEM.P
KEY = jax.random.key(5)


def rows(x):
    return x[SYSTEM.inverse_perm]


def dense_sample(a):
    z = jax.random.normal(KEY, (3, SYSTEM.n), a.dtype)
    return rows(solve_triangular(SYSTEM.dense_L(a), z.T, lower=True, trans="C")).T


# What is computed from stored values, sparse and dense. The factor of a[0] makes b move too.
FUNCTIONS = {
    "cholesky": (
        lambda a: scj.cholesky(SYSTEM.matrix(a)).L,
        lambda a: SYSTEM.dense_L(a)[SYSTEM.L_row, SYSTEM.L_column],
    ),
    "L": (  # of a factor that is at hand
        lambda a: jax.jit(lambda F: F.L)(SYSTEM.factor(a)),
        lambda a: SYSTEM.dense_L(a)[SYSTEM.L_row, SYSTEM.L_column],
    ),
    "logdet": (
        lambda a: scj.logdet(SYSTEM.matrix(a)),
        lambda a: jnp.linalg.slogdet(SYSTEM.dense(a))[1],
    ),
    "solve": (
        lambda a: scj.solve(SYSTEM.matrix(a), jnp.sin(SYSTEM.b * a[0])),
        lambda a: jnp.linalg.solve(SYSTEM.dense(a), jnp.sin(SYSTEM.b * a[0])),
    ),
    "partial_inverse": (
        lambda a: scj.partial_inverse(SYSTEM.matrix(a)),
        lambda a: jnp.linalg.inv(SYSTEM.dense(a))[P.indices, SYSTEM.column],
    ),
    "solve_triangular": (
        lambda a: SYSTEM.factor(a).solve_triangular(SYSTEM.b * a[1]),
        lambda a: solve_triangular(SYSTEM.dense_L(a), (SYSTEM.b * a[1])[P.perm], lower=True),
    ),
    "solve_triangular transposed": (
        lambda a: SYSTEM.factor(a).solve_triangular(SYSTEM.b * a[1], trans="T", permute=False),
        lambda a: solve_triangular(SYSTEM.dense_L(a), SYSTEM.b * a[1], lower=True, trans="T"),
    ),
    "sample": (lambda a: SYSTEM.factor(a).sample(KEY, shape=3), dense_sample),
}


@cache
def dense_results(name):
    return Expected(lambda a: measure(FUNCTIONS[name][1](a)), SYSTEM.a, SYSTEM.da)


# All lowerings are called by the same rules: the slower ones take one case of each kind of call.
CASES = [("ffi", name, transformation) for name in FUNCTIONS for transformation in TRANSFORMATIONS]
CASES += itertools.product(
    ["buffer", "callback"],
    FUNCTIONS,
    ["eval", "jit grad", "vmap", "vmap grad", "hvp", "grad scan"],
)


@pytest.mark.fast_cases(
    r"ffi-(logdet|solve|partial_inverse|solve_triangular|sample)-jit grad",
    r"ffi-(logdet-vmap|solve-hvp)",
)
@pytest.mark.parametrize(("backend", "name", "transformation"), CASES, indirect=["backend"])
def test_real(backend, name, transformation):
    sparse, _ = FUNCTIONS[name]
    eager = transformation in EAGER
    got = transform(transformation, lambda a: measure(sparse(a)), SYSTEM.a, SYSTEM.da, eager)
    assert differ(got, dense_results(name)[transformation]) < 1e-11


COMPLEX = System(np.complex128)

COMPLEX_FUNCTIONS = {
    "L": (
        lambda a: COMPLEX.factor(a).L,
        lambda a: COMPLEX.dense_L(a)[COMPLEX.L_row, COMPLEX.L_column],
    ),
    "logdet": (
        lambda a: scj.logdet(COMPLEX.matrix(a)),
        lambda a: jnp.linalg.slogdet(COMPLEX.dense(a))[1],
    ),
    "solve": (
        lambda a: scj.solve(COMPLEX.matrix(a), COMPLEX.b * a[0]),
        lambda a: jnp.linalg.solve(COMPLEX.dense(a), COMPLEX.b * a[0]),
    ),
    "partial_inverse": (
        lambda a: scj.partial_inverse(COMPLEX.matrix(a)),
        lambda a: jnp.linalg.inv(COMPLEX.dense(a))[COMPLEX.P.indices, COMPLEX.column],
    ),
    "solve_triangular": (
        lambda a: COMPLEX.factor(a).solve_triangular(COMPLEX.b * a[1], trans="C"),
        lambda a: solve_triangular(COMPLEX.dense_L(a), COMPLEX.b * a[1], lower=True, trans="C")[
            COMPLEX.inverse_perm
        ],
    ),
    "solve_triangular transposed": (
        lambda a: COMPLEX.factor(a).solve_triangular(COMPLEX.b, trans="T", permute=False),
        lambda a: solve_triangular(COMPLEX.dense_L(a), COMPLEX.b, lower=True, trans="T"),
    ),
    "product": (
        lambda a: COMPLEX.matrix(a * a) @ (COMPLEX.b * a[0]),
        lambda a: COMPLEX.dense(a * a) @ (COMPLEX.b * a[0]),
    ),
}


@cache
def dense_results_complex(name):
    return Expected(lambda a: measure(COMPLEX_FUNCTIONS[name][1](a)), COMPLEX.a, COMPLEX.da)


@pytest.mark.fast_cases(r"(L|solve|partial_inverse|solve_triangular transposed|product)-jit grad")
@pytest.mark.parametrize("transformation", ["jvp", "jit grad", "vmap grad", "hvp", "fourth"])
@pytest.mark.parametrize("name", COMPLEX_FUNCTIONS)
def test_complex(name, transformation):
    sparse, _ = COMPLEX_FUNCTIONS[name]
    got = transform(transformation, lambda a: measure(sparse(a)), COMPLEX.a, COMPLEX.da)
    assert differ(got, dense_results_complex(name)[transformation]) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logdet", "solve", "partial_inverse", "L"])
def test_nested_vmap_with_different_batches(name):
    sparse, dense = FUNCTIONS[name]
    scales, shifts = jnp.array([1.0, 1.3, 2.0]), jnp.array([0.0, 0.5])

    def both(f):
        def of(scale, shift):
            return jax.jvp(lambda t: measure(f(scale * SYSTEM.a + t)), (shift,), (1.0,))

        return jax.vmap(jax.vmap(of, (None, 0)), (0, None))(scales, shifts)

    assert differ(both(sparse), both(dense)) < 1e-11
