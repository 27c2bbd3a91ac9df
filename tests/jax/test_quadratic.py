"""Quadratic forms with the inverse, of sparse and traced rows, against dense JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.experimental.sparse import BCOO, BCSR
from jax.test_util import check_grads

import sparsechol.jax as scj
from sparsechol._scipy.quadratic import rows_in_inverse
from support.helpers import random_spd

N = 40
A = random_spd(np.random.default_rng(0), N, "banded")
P = scj.analyze(A)
VALUES = jnp.asarray(P.values(A))


def some_rows(kind=float):
    """Rows in the pattern, many enough to pay, and rows with elements anywhere, one of them empty.

    Returns
    -------
    (73, 40) csr_array
    """
    rng = np.random.default_rng(1)
    i, j = np.triu(A, 1).nonzero()
    some = rng.choice(i.size, 60)
    near = np.zeros((60, N))
    near[np.arange(60), i[some]], near[np.arange(60), j[some]] = rng.standard_normal((2, 60))
    far = rng.standard_normal((13, N)) * (rng.random((13, N)) < 0.1)
    far[4] = 0
    B = np.vstack([near, far]).astype(kind)
    return sp.csr_array(B * np.exp(1j * rng.uniform(0, 6, B.shape)) if kind is complex else B)


def dense(values):
    column = np.repeat(np.arange(N), np.diff(P.indptr))
    L = jnp.zeros((N, N), values.dtype).at[P.indices, column].set(values)
    return L + jnp.tril(L, -1).conj().T


def wanted(values, B):
    return jnp.einsum("ri,ij,rj->r", B, jnp.linalg.inv(dense(values)), jnp.conj(B)).real


def found(values, B):
    return scj.cholesky(scj.SymmetricMatrix(P, values)).inverse_quadratic(B)


@pytest.mark.parametrize("kind", [float, complex])
def test_sparse_and_dense(kind):
    B = some_rows(kind)
    inside = rows_in_inverse(P, B, 4 * P.nnz)
    assert inside[:60].all()
    assert not inside.all()
    expected = wanted(VALUES, B.toarray())
    forms = B, B.toarray(), BCSR.from_scipy_sparse(B), BCOO.from_scipy_sparse(B), B.tocoo()
    for given in forms:
        np.testing.assert_allclose(found(VALUES, given), expected, rtol=1e-10, atol=1e-12)
    traced = jax.jit(found)(VALUES, jnp.asarray(B.toarray()))
    np.testing.assert_allclose(traced, expected, rtol=1e-10, atol=1e-12)
    hidden = jax.jit(found)(VALUES, BCOO.from_scipy_sparse(B))  # its indices are traced
    np.testing.assert_allclose(hidden, expected, rtol=1e-10, atol=1e-12)


def test_repeated_places_and_one_row():
    B = BCOO((jnp.array([1.0, 2.0, -1.0]), np.array([[0, 3], [0, 3], [0, 5]])), shape=(1, N))
    b = np.zeros(N)
    b[[3, 5]] = 3.0, -1.0
    expected = wanted(VALUES, b[None])
    np.testing.assert_allclose(found(VALUES, B), expected, rtol=1e-12)
    np.testing.assert_allclose(found(VALUES, b), expected[0], rtol=1e-12)
    np.testing.assert_allclose(found(VALUES, BCOO.fromdense(b)), expected[0], rtol=1e-12)
    with pytest.raises(ValueError, match=r"\(2, 3\): it is \(40,\) or \(m, 40\)"):
        found(VALUES, np.ones((2, 3)))


@pytest.mark.slow
def test_derivatives():
    """In the values of A and the numbers of B, twice, in both modes."""
    B = some_rows()
    weights = np.random.default_rng(2).standard_normal(B.shape[0])
    places = np.stack(B.tocoo().coords, axis=1)

    def total(values, b):
        return weights @ found(values, BCOO((b, places), shape=B.shape))

    def reference(values, b):
        return weights @ wanted(values, BCOO((b, places), shape=B.shape).todense())

    at = VALUES, jnp.asarray(B.data)
    for slope, expected in zip(
        jax.jit(jax.grad(total, (0, 1)))(*at), jax.grad(reference, (0, 1))(*at), strict=True
    ):
        np.testing.assert_allclose(slope, expected, rtol=1e-8, atol=1e-9)
    check_grads(jax.jit(total), at, order=2, rtol=1e-4)


@pytest.mark.slow
def test_batches():
    B = some_rows()
    many = VALUES * jnp.array([[1.0], [2.0]])
    both = jax.vmap(lambda a: found(a, B))(many)
    np.testing.assert_allclose(both, [wanted(a, B.toarray()) for a in many], rtol=1e-10, atol=1e-12)
