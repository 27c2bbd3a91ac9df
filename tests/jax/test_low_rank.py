"""A + C D C^H beside a factor, against dense JAX to the third order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsechol as sc
import sparsechol.jax as scj
from sparsechol.models import grid_laplacian

N, K = 12, 3
A = grid_laplacian((4, 3))
P = scj.analyze(A)


def dense(values):
    """The matrix of packed values."""
    L = jnp.zeros((N, N), values.dtype).at[P.indices, np.repeat(np.arange(N), np.diff(P.indptr))]
    L = L.set(values)
    return L + jnp.tril(L, -1).conj().T


ROWS = np.eye(N)[:3] - 2 * np.eye(N)[4]


def operands(dtype=float, seed=0):
    rng = np.random.default_rng(seed)
    C = rng.standard_normal((N, K))
    D = np.diag([2.0, 0.0, -0.02]) + 0.01
    values = P.values(A).astype(dtype)
    if np.dtype(dtype).kind == "c":
        C = C + 1j * rng.standard_normal((N, K))
        D = D + 1j * np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]]) * 0.01
    return jnp.array(values), jnp.array(C), jnp.array(D)


def everything(values, C, D, b):
    """A number that all methods enter."""
    F = scj.cholesky(scj.SymmetricMatrix(P, values)).with_low_rank(C, D)
    entries = F.inverse_entries([0, -1], [5, 2])
    forms = F.inverse_quadratic(ROWS)
    return (F.logdet() + jnp.sum(jnp.sin(F.solve(b)).real) + jnp.sum(F.diag_inverse() ** 2)
            + jnp.sum(jnp.abs(entries) ** 2) + jnp.sum(jnp.cos(forms)))  # fmt: skip


def reference(values, C, D, b):
    M = dense(values) + C @ D @ C.conj().T
    inverse = jnp.linalg.inv(M)
    entries = inverse[jnp.array([0, -1]), jnp.array([5, 2])]
    return (jnp.linalg.slogdet(M)[1] + jnp.sum(jnp.sin(inverse @ b).real)
            + jnp.sum(jnp.diag(inverse).real ** 2) + jnp.sum(jnp.abs(entries) ** 2)
            + jnp.sum(jnp.cos(jnp.diag(ROWS @ inverse @ ROWS.T).real)))  # fmt: skip


@pytest.mark.parametrize("order", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_real(order):
    values, C, D = operands()
    b = jnp.arange(1.0, N + 1)
    rng = np.random.default_rng(1)
    tangents = [jnp.array(rng.standard_normal(x.shape)) for x in (values, C, D, b)]
    tangents[2] = tangents[2] + tangents[2].T

    def along(f):
        def g(t):
            shifted = [x + t * dx for x, dx in zip((values, C, D, b), tangents, strict=True)]
            return f(*shifted)

        derivative = jax.value_and_grad(g)
        if order == 2:
            (value, first), (_, second) = jax.jvp(derivative, (0.0,), (1.0,))
            return jnp.array([value, first, second])
        return jnp.array(jax.jvp(jax.grad(jax.grad(g)), (0.0,), (1.0,)))

    ours, theirs = jax.jit(along, static_argnums=0)(everything), along(reference)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_complex_and_batches():
    values, C, D = operands(complex)
    b = jnp.arange(1.0, N + 1) + 1j
    scales = jnp.array([1.0, 2.0, 0.5])
    ours = jax.jit(jax.vmap(lambda t: everything(t * values, C, D, b)))(scales)
    theirs = [reference(t * values, C, D, b) for t in scales]
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_nan_where_it_is_not_definite():
    values, C, _ = operands()
    F = scj.cholesky(scj.SymmetricMatrix(P, values))
    G = F.with_low_rank(C, -10 * jnp.ones(K))
    assert not G.ok
    assert jnp.isnan(G.logdet())
    assert jnp.isnan(G.solve(jnp.ones(N))).all()
    bad = scj.cholesky(scj.SymmetricMatrix(P, -values)).with_low_rank(C)
    assert not bad.ok
    assert jnp.isnan(bad.logdet())


def test_draws():
    values, C, _ = operands()
    D = jnp.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.1]])
    G = scj.cholesky(scj.SymmetricMatrix(P, values)).with_low_rank(C, D)
    x = G.sample(jax.random.key(0), shape=100_000)
    assert x.shape == (100_000, N)
    inverse = np.linalg.inv(dense(values) + C @ D @ C.T)
    np.testing.assert_allclose(np.cov(x.T), inverse, atol=0.01)
    np.testing.assert_allclose(G.diag_inverse(), np.diag(inverse), rtol=1e-10)
    assert G.sample(jax.random.key(0)).shape == (N,)


def test_same_as_the_scipy_face():
    values, C, _ = operands()
    ours = scj.cholesky(scj.SymmetricMatrix(P, values)).with_low_rank(C[:, 0])
    theirs = sc.cholesky(A).with_low_rank(np.asarray(C[:, 0]))
    np.testing.assert_allclose(ours.logdet(), theirs.logdet(), rtol=1e-12)
    empty = scj.cholesky(scj.SymmetricMatrix(P, values)).with_low_rank(C[:, :0])
    np.testing.assert_allclose(empty.logdet(), sc.cholesky(A).logdet(), rtol=1e-12)


@pytest.mark.parametrize(
    ("C", "D", "error", "match"),
    [
        (np.ones(3), None, ValueError, "C"),
        (np.ones((N, 2)), np.ones(3), ValueError, "D has shape"),
        (np.ones(N) * 1j, None, TypeError, "C is complex"),
        (np.ones(N), np.ones(1) * 1j, TypeError, "D is complex"),
    ],
)
def test_mistakes(C, D, error, match):
    F = scj.cholesky(scj.SymmetricMatrix(P, operands()[0]))
    with pytest.raises(error, match=match):
        F.with_low_rank(C, D)
