"""The functions of `pytensor_systems` with dense matrices, in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from support.pytensor_systems import B0, COLUMN, B, N, P


def dense(a):
    lower = jnp.zeros((N, N)).at[P.indices, COLUMN].set(a)
    return lower + lower.T - jnp.diag(jnp.diag(lower))


def factor(a):
    return jnp.linalg.cholesky(dense(a)[P.perm][:, P.perm])


def backward(a, b):
    return solve_triangular(factor(a), b, lower=True, trans="T")


def logp(a, x):
    constant = N * np.log(2 * np.pi)
    return 0.5 * (jnp.linalg.slogdet(dense(a))[1] - constant - x @ dense(a) @ x)


def quad_form(a, x):
    return jnp.sum(x * (dense(a) @ x), axis=0)


FUNCTIONS = {
    "logdet": lambda a: jnp.linalg.slogdet(dense(a))[1],
    "solve": lambda a: jnp.linalg.solve(dense(a), jnp.sin(B * a[0])),
    "solve vector": lambda a: jnp.linalg.solve(dense(a), jnp.sin(B0 * a[0])),
    "partial_inverse": lambda a: jnp.linalg.inv(dense(a))[P.indices, COLUMN],
    "diag_inverse": lambda a: jnp.diag(jnp.linalg.inv(dense(a))),
    "solve_triangular": lambda a: solve_triangular(factor(a), (B * a[1])[P.perm], lower=True),
    "draw": lambda a: backward(a, B0 * a[1])[np.argsort(P.perm)],
    "unpermuted": lambda a: backward(a, B * a[1]),
    "quad_form": lambda a: quad_form(a, jnp.cos(B * a[0])),
    "matvec": lambda a: dense(a) @ (B * a[2]),
    "gmrf_logp": lambda a: logp(a, jnp.sin(a[:N]) - a[1]),
}


def measure(x):
    x = x.ravel()
    return jnp.sum(jnp.sin(x * (1 + 0.1 * jnp.arange(x.shape[0]))))


def derivatives(f, values, change):
    """Value, gradient, and derivatives of the gradient along a change, once and twice."""

    def along(g):
        return lambda a: jax.jvp(g, (a,), (change,))[1]

    g = jax.grad(f)
    return jax.jit(lambda a: (f(a), g(a), along(g)(a), along(along(g))(a)))(values)
