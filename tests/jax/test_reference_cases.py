"""The test cases of the blog series that this package began with, against dense JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from jax.scipy.linalg import cho_factor, cho_solve, solve_triangular

import sparsechol.jax as scj
from support.jax_systems import differ


def make_matrix(n):
    one_d = sp.diags_array([[-1.0] * (n - 1), [2.0] * n, [-1.0] * (n - 1)], offsets=[-1, 0, 1])
    return (sp.kronsum(one_d, one_d) + sp.eye_array(n * n)).tocsc()


A = make_matrix(10)
N = A.shape[0]
DENSE = jnp.asarray(A.toarray())
LOWER = jnp.tril(DENSE)
T = scj.analyze_triangle(sp.tril(A))
P = scj.analyze(A)
ONES = jnp.ones(N)
DIAGONAL = np.arange(N)


def triangle(values, b, trans):
    return scj.solve_triangular(scj.TriangularMatrix(T, values), b, trans=trans)


def put(b, theta):
    return b.at[0].set(theta[0]).at[51].set(theta[1])


TRIANGULAR = {
    "f": (
        lambda t: triangle(
            jnp.asarray(T.values(A)).at[T.indptr[20]].add(t[0]).at[T.indptr[50]].add(t[1]),
            ONES,
            "T",
        ),
        lambda t: solve_triangular(
            LOWER.at[20, 20].add(t[0]).at[50, 50].add(t[1]), ONES, lower=True, trans="T"
        ),
    ),
    "g": (
        lambda t: triangle(jnp.asarray(T.values(A)), put(ONES, t), "T"),
        lambda t: solve_triangular(LOWER, put(ONES, t), lower=True, trans="T"),
    ),
    "h": (
        lambda t: triangle(
            jnp.asarray(T.values(A)).at[T.indptr[20]].add(t[0]), ONES.at[51].set(t[1]), "N"
        ),
        lambda t: solve_triangular(LOWER.at[20, 20].add(t[0]), ONES.at[51].set(t[1]), lower=True),
    ),
    "no_diff": (
        lambda t: triangle(jnp.asarray(T.values(A)), ONES, "N"),
        lambda t: solve_triangular(LOWER, ONES, lower=True),
    ),
}


def packed(scale, shift):
    return (scale * jnp.asarray(P.values(A))).at[P.indptr[:-1]].add(shift)


def full(scale, shift):
    return (scale * DENSE).at[DIAGONAL, DIAGONAL].add(shift)


def dense_solve(matrix, b):
    return cho_solve(cho_factor(matrix), b)


def sparse_solve(values, b):
    return scj.solve(scj.SymmetricMatrix(P, values), b)


SOLVE = {
    "f": (
        lambda t: sparse_solve(packed(t[0], t[1]), ONES),
        lambda t: dense_solve(full(t[0], t[1]), ONES),
    ),
    "g": (
        lambda t: sparse_solve(packed(1.0, 0.0), put(ONES, t)),
        lambda t: dense_solve(full(1.0, 0.0), put(ONES, t)),
    ),
    "h": (
        lambda t: sparse_solve(packed(1.0, t[0]), ONES.at[51].set(t[1])),
        lambda t: dense_solve(full(1.0, t[0]), ONES.at[51].set(t[1])),
    ),
    "no_diff": (
        lambda t: sparse_solve(packed(1.0, 0.0), ONES),
        lambda t: dense_solve(full(1.0, 0.0), ONES),
    ),
}


def check(sparse, dense, theta, direction):
    got, wanted = (
        jax.jit(lambda t, dt, f=f: jax.jvp(f, (t,), (dt,)))(theta, direction)
        for f in (sparse, dense)
    )
    assert differ(got, wanted) < 1e-12
    got, wanted = (jax.jit(jax.grad(lambda t, f=f: jnp.mean(f(t))))(theta) for f in (sparse, dense))
    assert differ(got, wanted) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIANGULAR)
def test_triangular_solve(backend, name):
    check(*TRIANGULAR[name], jnp.array([-142.0, 342.0]), jnp.array([1.0, 2.0]))


@pytest.mark.fast_cases(r"ffi-f")
@pytest.mark.parametrize("name", SOLVE)
def test_solve(backend, name):
    check(*SOLVE[name], jnp.array([2.0, 3.0]), jnp.array([1.0, 2.0]))


def test_cholesky_and_partial_inverse(backend):
    B = make_matrix(15)
    pattern = scj.analyze(B)
    F = scj.cholesky(scj.SymmetricMatrix(pattern, pattern.values(B)))
    dense = np.linalg.cholesky(B.toarray()[pattern.perm][:, pattern.perm])
    indptr, indices = pattern.factor_pattern()
    column = np.repeat(np.arange(225), np.diff(indptr))
    np.testing.assert_allclose(F.L, dense[indices, column], atol=1e-12)
    inverse = np.linalg.inv(B.toarray())
    column = np.repeat(np.arange(225), np.diff(pattern.indptr))
    np.testing.assert_allclose(F.partial_inverse(), inverse[pattern.indices, column], atol=1e-13)


@pytest.mark.slow
def test_log_determinant(backend):
    B = make_matrix(15)
    pattern, values, dense = scj.analyze(B), jnp.asarray(scj.analyze(B).values(B)), B.toarray()
    n = 225

    def sparse_log_det(t):
        x = (t[0] * values / n).at[pattern.indptr[:-1]].add(t[1])
        return scj.logdet(scj.SymmetricMatrix(pattern, x))

    def dense_log_det(t):
        x = (t[0] * jnp.asarray(dense) / n).at[np.arange(n), np.arange(n)].add(t[1])
        return 2.0 * jnp.sum(jnp.log(jnp.diag(jnp.linalg.cholesky(x))))

    check(sparse_log_det, dense_log_det, jnp.array([2.0, 3.0]), jnp.array([1.0, 2.0]))
