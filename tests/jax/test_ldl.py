"""The signed factorization under every transformation, by every lowering, against dense JAX."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.scipy.linalg import solve_triangular

import sparsechol as sc
import sparsechol.jax as scj
from support.helpers import random_spd
from support.jax_systems import System, differ, measure
from support.jax_transformations import EAGER, TRANSFORMATIONS, Expected, transform


class SignedSystem(System):
    """A quasi-definite matrix: the last rows and columns of a definite one, with another sign."""

    def __init__(self, dtype=np.float64, n=7, seed=3):
        super().__init__(dtype, n, seed)
        sign = np.where(np.arange(n) < n - 3, 1, -1)
        self.A = np.where(np.minimum.outer(sign, sign) == np.maximum.outer(sign, sign),
                          sign * self.A, self.A)  # fmt: skip
        self.a = jnp.asarray(self.P.values(self.A))
        self.signs = sign

    def factor(self, a):
        return scj.ldl(self.matrix(a))

    def dense_L(self, a):
        """Column by column; the columns of L have the signs of their pivots."""

        def eliminate(C, j):
            pivot = C[j, j].real
            x = jnp.where(jnp.arange(self.n) < j, 0, C[:, j]) / jnp.sqrt(abs(pivot))
            x = x.at[j].set(x[j].real)
            return C - jnp.sign(pivot) * jnp.outer(x, x.conj()), x

        C = self.dense(a)[self.P.perm][:, self.P.perm]
        return jax.lax.scan(eliminate, C, jnp.arange(self.n))[1].T


SYSTEMS = {kind: SignedSystem(kind) for kind in (np.float64, np.complex128)}
# What is computed from stored values, sparse and dense. The factor of a[0] makes b move too.
FUNCTIONS = {
    "L": (
        lambda s, a: s.factor(a).L,
        lambda s, a: s.dense_L(a)[s.L_row, s.L_column],
    ),
    "logabsdet": (
        lambda s, a: s.factor(a).logabsdet(),
        lambda s, a: jnp.linalg.slogdet(s.dense(a))[1],
    ),
    "solve": (
        lambda s, a: s.factor(a).solve(s.b * a[0]),
        lambda s, a: jnp.linalg.solve(s.dense(a), s.b * a[0]),
    ),
    "refined": (
        lambda s, a: s.factor(a).solve(s.b * a[0], refine=1),
        lambda s, a: jnp.linalg.solve(s.dense(a), s.b * a[0]),
    ),
    "partial_inverse": (
        lambda s, a: s.factor(a).partial_inverse(),
        lambda s, a: jnp.linalg.inv(s.dense(a))[s.P.indices, s.column],
    ),
    "diag_inverse": (
        lambda s, a: s.factor(a).diag_inverse(),
        lambda s, a: jnp.diag(jnp.linalg.inv(s.dense(a))).real,
    ),
    "solve_triangular": (
        lambda s, a: s.factor(a).solve_triangular(s.b * a[1]),
        lambda s, a: solve_triangular(s.dense_L(a), (s.b * a[1])[s.P.perm], lower=True),
    ),
    "solve_triangular transposed": (
        lambda s, a: s.factor(a).solve_triangular(s.b, trans="T", permute=False),
        lambda s, a: solve_triangular(s.dense_L(a), s.b, lower=True, trans="T"),
    ),
}


@cache
def dense_results(kind, name):
    system, (_, dense) = SYSTEMS[kind], FUNCTIONS[name]
    return Expected(lambda a: measure(dense(system, a)), system.a, system.da)


# What differs from the rules of `cholesky` goes through all transformations. The lowerings are
# called by the same rules: the slower ones take one case of each kind of call.
OWN = ["L", "logabsdet", "solve"]
SHARED = [name for name in FUNCTIONS if name not in OWN]
CASES = [
    *product(["ffi"], OWN, [name for name in TRANSFORMATIONS if name != "fourth"]),
    *product(["ffi"], SHARED, ["eval", "jit grad", "vmap grad", "hvp"]),
    *product(["buffer", "callback"], OWN, ["jit grad", "vmap", "hvp"]),
]


@pytest.mark.fast_cases(r"ffi-.*-jit grad|ffi-(logabsdet|solve|L)-(vmap|hvp)")
@pytest.mark.parametrize(("backend", "name", "transformation"), CASES, indirect=["backend"])
def test_real(backend, name, transformation):
    system, (sparse, _) = SYSTEMS[np.float64], FUNCTIONS[name]
    at, eager = (system.a, system.da), transformation in EAGER
    got = transform(transformation, lambda a: measure(sparse(system, a)), *at, eager)
    assert differ(got, dense_results(np.float64, name)[transformation]) < 1e-11


@pytest.mark.fast_cases(r".*-jit grad")
@pytest.mark.parametrize("transformation", ["jvp", "jit grad", "vmap grad", "hvp", "third"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_complex(name, transformation):
    system, (sparse, _) = SYSTEMS[np.complex128], FUNCTIONS[name]
    got = transform(transformation, lambda a: measure(sparse(system, a)), system.a, system.da)
    assert differ(got, dense_results(np.complex128, name)[transformation]) < 1e-11


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("seed", range(2))
def test_adjoints_fit_tangents(seed, dtype):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 12, 2)
    H, C = random_spd(rng, n, "random", dtype), random_spd(rng, m, "banded", dtype)
    G = np.where(rng.random((m, n)) < 0.3, rng.standard_normal((m, n)), 0)
    A = np.block([[H, G.conj().T], [G, -C]])
    P = scj.analyze(sp.csc_array(A))
    a, b = P.values(A), rng.standard_normal(n + m)
    da = rng.standard_normal(a.shape) * (a != 0)

    def f(a):
        F = scj.ldl(scj.SymmetricMatrix(P, a))
        return F.L, F.solve(b), F.partial_inverse(), F.logabsdet()

    out, push = jax.linearize(f, jnp.asarray(a))
    ct = jax.tree.map(lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype), out)
    tangents = push(jnp.asarray(da, a.dtype))
    [gradient] = jax.linear_transpose(push, a)(ct)
    pairs = zip(jax.tree.leaves(ct), jax.tree.leaves(tangents), strict=True)
    left = sum(jnp.sum(x * y).real for x, y in pairs)
    size = sum(jnp.abs(x * y).sum() for x, y in zip(jax.tree.leaves(ct), tangents, strict=True))
    assert abs(left - jnp.sum(gradient * da).real) < 1e-12 * max(1, size)


def test_results_are_those_of_the_scipy_face():
    system = SYSTEMS[np.float64]
    F, G = system.factor(system.a), system.P.ldl(system.A)
    np.testing.assert_array_equal(F.L, G.L.data)
    np.testing.assert_array_equal(F.D, G.D.diagonal())
    np.testing.assert_allclose(F.solve(system.b), G.solve(system.b), rtol=1e-14)
    np.testing.assert_allclose(F.slogdet(), G.slogdet(), rtol=1e-14)
    np.testing.assert_allclose(F.rcond, G.rcond, rtol=1e-14)
    assert F.inertia == G.inertia == (4, 3)
    assert F.ok
    assert repr(F).startswith("<LDLFactor of shape (7, 7)")
    assert isinstance(jax.tree.map(lambda x: x, F), scj.LDLFactor)


def test_a_matrix_without_a_factor_is_nan():
    P = scj.analyze(np.ones((2, 2)), ordering="natural")
    good, bad = jnp.array([1.0, 2.0, 1.0]), jnp.array([0.0, 2.0, 1.0])

    def both(a):
        F = scj.ldl(scj.SymmetricMatrix(P, a))
        return F.ok, F.solve(jnp.ones(2)), F.slogdet(), F.inertia

    ok, x, (sign, logabsdet), inertia = jax.jit(jax.vmap(both))(jnp.stack([good, bad]))
    assert ok.tolist() == [True, False]
    np.testing.assert_allclose(x[0], [1 / 3, 1 / 3])
    assert sign[0] == -1
    assert np.isnan(x[1]).all()
    assert np.isnan([sign[1], logabsdet[1]]).all()
    assert inertia.negative.tolist() == [1, 0]
    for a in (bad, jnp.array([1.0, 1.0, 1.0]), jnp.array([1e-17, 1.0, 1.0])):
        F = scj.ldl(scj.SymmetricMatrix(P, a))
        assert not F.ok
        with pytest.raises(sc.PivotError):
            scj.ldl(F.matrix, check=True)
    with pytest.raises(ValueError, match="look at LDLFactor"):
        jax.jit(lambda a: scj.ldl(scj.SymmetricMatrix(P, a), check=True).ok)(good)


LAST = SYSTEMS[np.float64].P.perm[-1]  # whose pivot no other depends on
RULES = {
    "none": (SYSTEMS[np.float64].signs, None),
    "shifted": (SYSTEMS[np.float64].signs, 0.25),
    "replaced": (np.where(np.arange(7) == LAST, -1, 1) * SYSTEMS[np.float64].signs, (0.0, 0.5)),
}


@pytest.mark.fast_cases("replaced")
@pytest.mark.parametrize("kind", RULES)
def test_signs_and_regularization_differentiate_with_a_constant_addition(kind):
    """What is added to the diagonal is read off the SciPy face; the rest is dense JAX."""
    system, (signs, regularize) = SYSTEMS[np.float64], RULES[kind]
    P, a, b = system.P, system.a, system.b
    options = {"signs": signs, "regularize": regularize}
    G = P.ldl(system.A, **options)
    made = np.empty((7, 7))
    made[np.ix_(P.perm, P.perm)] = (G.L @ G.D @ G.L.T).toarray()
    added = np.diag(np.diag(made - system.A))
    assert (abs(added).max() > 0.1) == (regularize is not None)
    np.testing.assert_allclose(made, system.A + added, atol=1e-12)

    def sparse(a):
        F = scj.ldl(system.matrix(a), **options)
        return F.logabsdet() + jnp.sum(jnp.sin(F.solve(b * a[0])) + F.solve(b, refine=1))

    def dense(a):
        A, B = system.dense(a), system.dense(a) + added
        x = jnp.linalg.solve(B, b)
        x = x + jnp.linalg.solve(B, b - A @ x)
        return jnp.linalg.slogdet(B)[1] + jnp.sum(jnp.sin(jnp.linalg.solve(B, b * a[0])) + x)

    @jax.jit
    def derivatives(a):
        (value, gradient), (_, along) = jax.jvp(jax.value_and_grad(sparse), (a,), (b[0, 0] * a,))
        return value, gradient, along

    @jax.jit
    def wanted(a):
        return dense(a), jax.grad(dense)(a), jax.hessian(dense)(a) @ (b[0, 0] * a)

    for x, y in zip(derivatives(a), wanted(a), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)
    F = scj.ldl(system.matrix(a), **options)
    np.testing.assert_array_equal(F.L, G.L.data)
    assert F.regularized == len(G.regularized) == (kind == "replaced")
    assert jax.tree.map(lambda x: x, F).regularized == F.regularized
    assert hash(jax.tree.structure(F)) == hash(jax.tree.structure(scj.ldl(F.matrix, **options)))


def test_signs_in_a_batch_and_what_is_refused():
    system, (signs, rule) = SYSTEMS[np.float64], RULES["replaced"]
    good = SYSTEMS[np.complex128].signs
    many = jnp.stack([system.a, -system.a, 2 * system.a])

    @jax.jit
    @jax.vmap
    def batch(a):
        M = system.matrix(a)
        F = scj.ldl(M, signs=signs, regularize=rule)
        return scj.ldl(M, signs=good).ok, F.ok, F.regularized, F.solve(system.b[:, 0])

    ok, always, count, x = batch(many)
    assert ok.tolist() == [True, False, True]
    assert always.all()
    for k, a in enumerate(many):
        G = system.P.ldl(np.asarray(a), signs=signs, regularize=rule)
        assert count[k] == len(G.regularized)
        np.testing.assert_allclose(x[k], G.solve(system.b[:, 0], refine=0), rtol=1e-10)
    assert count[1] > count[0]
    with pytest.raises(sc.PivotError, match="signs= says"):
        scj.ldl(system.matrix(-system.a), signs=good, check=True)
    with pytest.raises(ValueError, match="needs signs="):
        scj.ldl(system.matrix(system.a), regularize=0.1)
    with pytest.raises(ValueError, match="one for each row"):
        scj.ldl(system.matrix(system.a), signs=[1, -1])


def test_empty_matrix():
    P = scj.analyze(np.empty((0, 0)))
    F = scj.ldl(scj.SymmetricMatrix(P, jnp.empty(0)))
    assert F.ok
    assert F.inertia == (0, 0)
    assert F.slogdet() == (1, 0)
