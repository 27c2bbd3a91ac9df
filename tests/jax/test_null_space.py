"""Semidefinite factors under every transformation, against dense JAX."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp

import sparsechol as sc
import sparsechol.jax as scj
from support.fields import laplacian, pseudo_inverse, random_graph, second_order
from support.jax_systems import differ, measure

RNG = np.random.default_rng(0)


class Field:
    """A matrix that depends linearly on weights, and never leaves its null space."""

    def __init__(self, terms, V, null_space):
        self.P = sc.analyze(sp.csc_array(sum(abs(term) for term in terms)))
        self.N = sc.NullSpace(self.P, null_space)
        self.terms = jnp.asarray([self.P.values(term) for term in terms])
        self.w = jnp.asarray(RNG.uniform(0.5, 2, len(terms)))
        self.U = np.linalg.qr(V)[0]
        self.n, self.k = V.shape
        self.b = jnp.asarray(RNG.standard_normal((self.n, 2)))
        self.column = np.repeat(np.arange(self.n), np.diff(self.P.indptr))

    def matrix(self, w):
        return scj.SymmetricMatrix(self.P, w @ self.terms)

    def factor(self, w):
        return scj.cholesky(self.matrix(w), null_space=self.N)

    def dense(self, w):
        """Add a multiple of the projection to a dense Q; its inverse less that is pinv(Q)."""
        return self.matrix(w).todense() + self.U @ self.U.T

    def pinv(self, w):
        return jnp.linalg.inv(self.dense(w)) - self.U @ self.U.T


def graph(parts, isolated, null_space):
    i, j = random_graph(RNG, 7, parts, isolated)
    terms = [laplacian(7, i[[t]], j[[t]], np.ones(1)) for t in range(len(i))]
    label = sp.csgraph.connected_components(sum(terms), directed=False)[1]
    V = np.eye(label.max() + 1)[label]
    return Field(terms, V, V if null_space == "dense" else null_space)


def walk():
    terms = [second_order(7, np.eye(5)[t])[0] for t in range(5)]
    V = second_order(7)[1]
    return Field(terms, V, V)


FIELDS = {
    "connected": graph(1, 0, "components"),
    "components": graph(2, 1, "components"),
    "dense": graph(2, 1, "dense"),
    "walk": walk(),
}
ROWS, COLUMNS = [0, 3, 2], [4, 1, 2]


def rows(n):
    """Rows of B for quadratic forms."""
    B = np.zeros((3, n))
    B[[0, 0, 1, 1, 1], [0, 1, 0, n - 1, 2]] = 1.0, -2.0, 0.5, -0.5, 3.0
    return B


def found(s, w):
    """All results of a factor in one array; what it is applied to moves, too."""
    F = s.factor(w)
    return jnp.concatenate([
        F.logdet()[None],
        F.solve(s.b * w[0]).ravel(),
        F.diag_inverse(),
        F.partial_inverse(),
        F.inverse_entries(ROWS, COLUMNS),
        F.inverse_quadratic(rows(s.n)),
        F.inverse_quadratic(w[0] * rows(s.n)),
        scj.gmrf_logpdf(s.b.T * w[1], w[0], F),
    ])  # fmt: skip


def wanted(s, w):
    """The same by dense JAX."""
    B = rows(s.n)
    W, logdet, x = s.pinv(w), jnp.linalg.slogdet(s.dense(w))[1], s.b * w[1] - w[0]
    squares = jnp.einsum("ik,ij,jk->k", x, s.matrix(w).todense(), x)
    return jnp.concatenate([
        logdet[None],
        (W @ s.b * w[0]).ravel(),
        jnp.diag(W),
        W[s.P.indices, s.column],
        W[np.array(ROWS), np.array(COLUMNS)],
        jnp.diag(B @ W @ B.T),
        jnp.diag(B @ W @ B.T) * w[0] ** 2,
        (logdet - (s.n - s.k) * jnp.log(2 * jnp.pi) - squares) / 2,
    ])  # fmt: skip


@pytest.mark.fast_cases("components", "walk")
@pytest.mark.parametrize("field", FIELDS)
def test_values_and_gradients(field):
    system = FIELDS[field]
    p, q = (
        jax.jit(jax.value_and_grad(
            lambda w, f=f: (measure(f(system, w)), f(system, w)), has_aux=True
        ))(system.w)
        for f in (found, wanted)
    )  # fmt: skip
    assert differ(p, q) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_second_derivatives_and_batches(field):
    system = FIELDS[field]
    p, q = (
        jax.jit(lambda w, f=f: (
            jax.jacfwd(jax.grad(lambda w: measure(f(system, w))))(w),
            jax.vmap(lambda t: f(system, t * w))(jnp.array([1.0, 2.0, 0.3])),
        ))(system.w)
        for f in (found, wanted)
    )  # fmt: skip
    assert differ(p, q) < 1e-9


@pytest.mark.slow
def test_derivatives_of_third_order():
    system = FIELDS["components"]
    third = [
        jax.jit(jax.jacfwd(jax.jacfwd(jax.grad(lambda w, f=f: f(w)))))(system.w)
        for f in (
            lambda w: system.factor(w).logdet(),
            lambda w: jnp.linalg.slogdet(system.dense(w))[1],
        )
    ]
    assert differ(*third) < 1e-9


def test_gradient_in_packed_values_along_admissible_changes():
    """It is not the pseudo-inverse, but acts as it does on changes that keep the null space."""
    system = FIELDS["connected"]
    a = system.matrix(system.w).values

    def logdet(a):
        return scj.cholesky(scj.SymmetricMatrix(system.P, a), null_space=system.N).logdet()

    gradient = jax.grad(logdet)(a)
    W = pseudo_inverse(np.asarray(system.matrix(system.w).todense()), system.U)[0]
    twice = np.where(system.column == system.P.indices, 1, 2)
    exact = W[system.P.indices, system.column] * twice
    assert differ(system.terms @ gradient, system.terms @ exact) < 1e-12
    assert differ(gradient, exact) > 0.1


def test_the_same_as_the_scipy_face():
    system = FIELDS["components"]
    complex_b = system.b + 1j * system.b[::-1]

    @jax.jit
    def results(w):
        F = system.factor(w)
        return (F.slogdet(), F.rcond, F.partial_inverse(entries="factor"),
                F.solve(complex_b), F.solve(jnp.arange(7)))  # fmt: skip

    G = system.P.factorize(np.asarray(system.w @ system.terms), null_space=system.N)
    starts, i = system.P.factor_pattern()
    perm, j = system.P.perm, np.repeat(np.arange(7), np.diff(starts))
    expected = (tuple(G.slogdet()), G.rcond, G.inverse_entries(perm[i], perm[j]),
                G.solve(np.asarray(complex_b)), G.solve(np.arange(7)))  # fmt: skip
    assert differ(results(system.w), expected) < 1e-12


def test_draws():
    system = FIELDS["components"]
    sample = jax.jit(lambda w, key: system.factor(w).sample(key, shape=20_000))
    x = sample(system.w, jax.random.key(0))
    assert abs(x @ system.U).max() < 1e-12
    W = pseudo_inverse(np.asarray(system.matrix(system.w).todense()), system.U)[0]
    assert abs(np.cov(x.T) - W).max() < 0.06 * abs(W).max()


@pytest.mark.slow
def test_functions_of_a_field():
    system = FIELDS["components"]
    y = scj.gmrf_sample(jax.random.key(0), 1.0, system.factor(system.w), shape=(2, 3))
    assert y.shape == (2, 3, 7)
    assert abs((y - 1) @ system.U).max() < 1e-12
    variances = scj.marginal_variances(system.matrix(system.w), null_space=system.N)
    assert differ(variances, jnp.diag(system.pinv(system.w))) < 1e-12


def test_what_is_not_semidefinite_is_nan():
    system = FIELDS["connected"]
    M = system.matrix(system.w)
    identity = scj.SymmetricMatrix.identity(system.P)
    bridge = np.flatnonzero(~np.isclose(system.terms[:, 0], 0))
    logdet = jax.jit(lambda a: scj.cholesky(
        scj.SymmetricMatrix(system.P, a), null_space=system.N).logdet())  # fmt: skip
    assert jnp.isfinite(logdet(M.values))
    cut = system.matrix(system.w.at[bridge].set(0))  # row 0 is isolated
    for bad in (M + identity, M + 1e-6 * identity, -M, cut, M * jnp.nan):
        assert jnp.isnan(logdet(bad.values))
    both = jax.vmap(lambda a: scj.cholesky(
        scj.SymmetricMatrix(system.P, a), null_space=system.N).solve(system.b[:, 0])
    )(jnp.stack([M.values, (M + identity).values]))  # fmt: skip
    assert jnp.isfinite(both[0]).all()
    assert jnp.isnan(both[1]).all()
    with pytest.raises(ValueError, match="in row"):
        scj.cholesky(M + identity, null_space=system.N, check=True)
    with pytest.raises(sc.NotPositiveDefiniteError, match="null_space= lacks a null direction"):
        scj.cholesky(cut, null_space=system.N, check=True)
    with pytest.raises(ValueError, match="known"):
        jax.jit(lambda w: scj.cholesky(system.matrix(w), null_space=system.N, check=True).ok)(
            system.w
        )
    with pytest.raises(ValueError, match="another pattern"):
        scj.cholesky(FIELDS["walk"].matrix(FIELDS["walk"].w), null_space=system.N)
    with pytest.raises(TypeError, match="cholesky"):
        scj.marginal_variances(system.factor(system.w), null_space=system.N)


@pytest.mark.slow
def test_single_precision_and_complex():
    system = FIELDS["components"]
    M = system.matrix(system.w)
    exact = system.factor(system.w)
    F = scj.cholesky(M.astype(np.float32), null_space=system.N)
    for f in (lambda F: F.logdet(), lambda F: F.diag_inverse(), lambda F: F.solve(system.b)):
        assert f(F).dtype == np.float32
        assert differ(f(F), f(exact)) < 1e-4
    u = np.exp(1j * np.arange(7))
    A = sp.csc_array(u[:, None] * np.asarray(M.todense()) * u.conj())
    H = scj.SymmetricMatrix(system.P, system.P.values(A))
    V = u[:, None] * system.U
    G = scj.cholesky(H, null_space=V)
    W, logdet = pseudo_inverse(A.toarray(), V)
    assert differ((G.logdet(), G.solve(system.b)), (logdet, W @ system.b)) < 1e-11
    assert differ(G.diag_inverse(), W.diagonal().real) < 1e-11
    slope = jax.grad(lambda t: scj.cholesky(H * t, null_space=V).logdet())(2.0)
    assert abs(slope - G.rank / 2) < 1e-11
    with pytest.raises(TypeError, match="complex"):
        scj.cholesky(M, null_space=V)


def test_a_missing_null_direction_without_a_weak_pivot():
    i, j = random_graph(np.random.default_rng(11), 300, 2, 0)
    weights = np.random.default_rng(12).lognormal(sigma=2, size=len(i))
    Q = laplacian(300, i, j, weights)
    P = sc.analyze(Q)
    M = scj.SymmetricMatrix(P, P.values(Q))
    with pytest.raises(sc.NotPositiveDefiniteError, match="null_space= lacks a null direction"):
        scj.cholesky(M, null_space=np.ones(300), check=True)
    F = scj.cholesky(M, null_space=np.ones(300))
    assert F.ok
    assert F.rcond < 1e-16
    assert scj.cholesky(M, null_space="components", check=True).ok


def test_factor_is_a_pytree():
    system = FIELDS["components"]
    F = jax.jit(system.factor)(system.w)
    assert isinstance(F, scj.SemidefiniteFactor)
    assert "rank" in repr(F)
    leaves, tree = jax.tree.flatten(F)
    assert len(leaves) == 3
    assert differ(jax.tree.unflatten(tree, leaves).logdet(), F.logdet()) == 0
    assert pickle.loads(pickle.dumps(system.N)) == system.N
    many = jax.vmap(system.factor)(jnp.stack([system.w, 2 * system.w]))
    assert many.ok.shape == (2,)
    values = jax.vmap(lambda F: F.logdet())(many)
    assert abs(values[1] - values[0] - F.rank * np.log(2)) < 1e-12
