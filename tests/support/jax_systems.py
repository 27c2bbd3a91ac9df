"""Small systems, and the same computations with dense JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp

import sparsechol.jax as scj
from support.helpers import random_spd

# 64-bit types on or off for a while: where JAX keeps that changes with its version.
x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


class System:
    """A random matrix with packed values `a`, and its dense counterpart as a function of them."""

    def __init__(self, dtype=np.float64, n=7, seed=3, kind="random"):
        rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.n = n
        self.A = random_spd(rng, n, kind, dtype)
        self.P = scj.analyze(sp.csc_array(self.A))
        self.a = jnp.asarray(self.P.values(self.A))
        self.da = self.draw(rng, self.a.shape)
        self.b = self.draw(rng, (n, 2))
        self.weights = self.draw(rng, (n, 2)).real
        self.column = np.repeat(np.arange(n), np.diff(self.P.indptr))
        indptr, self.L_row = self.P.factor_pattern()
        self.L_column = np.repeat(np.arange(n), np.diff(indptr))
        self.inverse_perm = np.argsort(self.P.perm)

    def draw(self, rng, shape):
        x = rng.standard_normal(shape)
        if self.dtype.kind == "c":
            x = x + 1j * rng.standard_normal(shape)
        return jnp.asarray(x.astype(self.dtype))

    def matrix(self, a):
        return scj.SymmetricMatrix(self.P, a)

    def factor(self, a):
        return scj.cholesky(self.matrix(a))

    def dense(self, a):
        lower = jnp.zeros((self.n, self.n), a.dtype).at[self.P.indices, self.column].set(a)
        strict = jnp.tril(lower, -1)
        return strict + strict.conj().T + jnp.diag(jnp.diag(lower).real)

    def dense_L(self, a):
        return jnp.linalg.cholesky(self.dense(a)[self.P.perm][:, self.P.perm])


def measure(x):
    """Return a smooth real function of all entries of an array."""
    x = x * (1 + 0.1 * jnp.arange(x.size).reshape(x.shape))
    value = jnp.sum(jnp.sin(x.real))
    return value + jnp.sum(jnp.cos(0.7 * x.imag)) if jnp.iscomplexobj(x) else value


def differ(x, y):
    """Return the largest difference of leaves of two trees, relative to 1 + the largest entry."""
    pairs = zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
    pairs = [(np.asarray(p), np.asarray(q)) for p, q in pairs]
    for p, q in pairs:
        assert p.shape == q.shape
    return max(np.max(abs(p - q), initial=0) / (1 + np.max(abs(q), initial=0)) for p, q in pairs)
