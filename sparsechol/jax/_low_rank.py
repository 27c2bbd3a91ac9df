"""LowRankFactor: A + C D C^H by the formula of Woodbury and the matrix determinant lemma.

With X = A^-1 C and K = I + D C^H X, of order k,

    (A + C D C^H)^-1 = A^-1 - X K^-1 D X^H,    det(A + C D C^H) = det A det K.

K takes any D, singular or with signs, and no eigenvectors, whose derivatives would not exist where
eigenvalues meet: everything is differentiable to any order.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ._matrix import SymmetricMatrix, as_vectors, static_entries
from ._rows import low_rank_quadratic, read_static_rows

if TYPE_CHECKING:
    from ._factor import Factor


class LowRankMatrix(NamedTuple):
    """Symmetric ``matrix + C D C^T``, the Hessian of a function with sums over many unknowns.

    `cholesky` takes it; `matrix` alone must be positive definite, too.

    Attributes
    ----------
    matrix : SymmetricMatrix
    C : (n, k) jax.Array
    D : (k, k) jax.Array
    """

    matrix: SymmetricMatrix
    C: jax.Array
    D: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.matrix.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.matrix.dtype

    def __matmul__(self, x: ArrayLike) -> jax.Array:
        x = as_vectors(x, self.shape, "x")
        return self.matrix @ x + self.C @ (self.D @ (self.C.T @ x))

    def diagonal(self) -> jax.Array:
        """Return the diagonal, (n,).

        Returns
        -------
        jax.Array
        """
        return self.matrix.diagonal() + ((self.C @ self.D) * self.C).sum(1)

    def todense(self) -> jax.Array:
        """Return the matrix as a dense array.

        Returns
        -------
        (n, n) jax.Array
        """
        return self.matrix.todense() + self.C @ self.D @ self.C.T


@jax.tree_util.register_pytree_with_keys_class
class LowRankFactor:
    """``A + C D C^H`` as a factor of A and a correction; made by `Factor.with_low_rank`.

    It is a pytree of the factor, C and D. Every method is differentiable any number of times in the
    values of A, in C and in D, and `jax.vmap` batches it. Where the matrix is not positive definite
    everything is NaN.

    Attributes
    ----------
    factor : Factor
        That of A.
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, factor: "Factor", C: jax.Array, D: jax.Array):
        self.factor = factor
        self._C = C
        self._D = D

    def tree_flatten_with_keys(self):
        """Return the leaves with their names, as JAX asks for them."""
        keys = map(jax.tree_util.GetAttrKey, ("factor", "C", "D"))
        return tuple(zip(keys, (self.factor, self._C, self._D), strict=True)), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        """Make an object from what `tree_flatten_with_keys` returns."""
        made = object.__new__(cls)
        made.factor, made._C, made._D = leaves
        return made

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.factor.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.factor.dtype

    def __repr__(self) -> str:
        return f"<LowRankFactor of shape {self.shape}: {self.factor}, rank {self._C.shape[-1]}>"

    @property
    def ok(self) -> jax.Array:
        """True where the matrix is positive definite."""
        return least_eigenvalue(self.factor, self._C, self._D) > 0

    def _parts(self) -> tuple[jax.Array, jax.Array]:
        """Return X and K; K is NaN where the matrix is not positive definite."""
        X = self.factor.solve(self._C)
        K = jnp.eye(X.shape[1], dtype=X.dtype) + self._D @ (self._C.conj().T @ X)
        return X, jnp.where(self.ok, K, jnp.nan)

    def _weights(self, K: jax.Array) -> jax.Array:
        """Return K^-1 D, Hermitian."""
        return jnp.linalg.solve(K, self._D)

    def solve(self, b: ArrayLike) -> jax.Array:
        """Solve ``(A + C D C^H) x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like

        Returns
        -------
        x : jax.Array of the shape of `b`
        """
        b = as_vectors(b, self.shape, "b")
        X, K = self._parts()
        return self.factor.solve(b) - X @ (self._weights(K) @ (X.conj().T @ b))

    def logdet(self) -> jax.Array:
        """Return the logarithm of the determinant, a real scalar.

        Returns
        -------
        jax.Array, a scalar
        """
        _, K = self._parts()
        return self.factor.logdet() + jnp.linalg.slogdet(K)[1]

    def diag_inverse(self) -> jax.Array:
        """Compute the diagonal of the inverse, (n,) and real.

        Returns
        -------
        (n,) jax.Array
        """
        X, K = self._parts()
        return self.factor.diag_inverse() - ((X @ self._weights(K)) * X.conj()).sum(1).real

    def inverse_entries(self, rows: ArrayLike, columns: ArrayLike) -> jax.Array:
        """Compute any entries of the inverse.

        Parameters
        ----------
        rows, columns : array_like of int, static
            Broadcast against each other; negative numbers count from the end.

        Returns
        -------
        jax.Array of the broadcast shape
        """
        rows, columns = static_entries(rows, columns, self.shape[0])
        found = self.factor.inverse_entries(rows, columns)
        X, K = self._parts()
        return found - ((X @ self._weights(K))[rows] * X.conj()[columns]).sum(-1)

    def inverse_quadratic(self, B: Any) -> jax.Array:
        """Compute ``b (A + C D C^H)^-1 b^H`` for each row b of B.

        Parameters
        ----------
        B
            As for `Factor.inverse_quadratic`.

        Returns
        -------
        () or (m,) real jax.Array
        """
        rows, shape = read_static_rows(B, self.shape[0])
        X, K = self._parts()
        term = low_rank_quadratic(X @ self._weights(K), X, rows) / 2
        return self.factor.inverse_quadratic(B) - term.reshape(shape)

    def sample(self, key: jax.Array, *, shape: tuple[int, ...] | int = ()) -> jax.Array:
        """Draw from the normal distribution with mean zero and this precision matrix.

        Parameters
        ----------
        key : random key
        shape : int or tuple of int, optional
            Shape of the draws.

        Returns
        -------
        x : jax.Array of shape ``(*shape, n)``
            A smooth function of A, C and D, which must be positive definite; else NaN.

        Notes
        -----
        ``x = M^-1 (L z + C D^1/2 w)`` with standard normal z and w and this matrix M (Papandreou
        and Yuille 2010).
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        first, second = jax.random.split(key)
        count = math.prod(shape)
        u = self.factor.sample(first, shape=count).T
        w = jax.random.normal(second, (self._C.shape[1], count), self.dtype)
        X, K = self._parts()
        pull = self._D @ (self._C.conj().T @ u) - jnp.linalg.cholesky(self._D) @ w
        return (u - X @ jnp.linalg.solve(K, pull)).T.reshape(*shape, self.shape[0])


def least_eigenvalue(factor: "Factor", C: jax.Array, D: jax.Array) -> jax.Array:
    """Return the least eigenvalue of ``A + C D C^H`` relative to A, or zero where it is rounding.

    It has no derivative: it is a constant.
    """
    factor, C, D = jax.lax.stop_gradient((factor, C, D))
    if not C.shape[1]:
        return jnp.where(factor.ok, 1.0, 0.0)
    R = jnp.linalg.qr(factor.solve_triangular(C), mode="r")
    w = jnp.linalg.eigvalsh(R @ D @ R.conj().T)
    least, size = jnp.minimum(1 + w.min(), 1), jnp.maximum(jnp.abs(w).max(), 1)
    return jnp.where(least > 16 * jnp.finfo(w.dtype).eps * size, least, 0)


def read_correction(
    factor: "Factor", C: ArrayLike, D: ArrayLike | None
) -> tuple[jax.Array, jax.Array]:
    """Return the columns and weights of a low-rank correction, (n, k) and (k, k)."""
    C = as_vectors(C, factor.shape, "C")
    C = C[:, None] if C.ndim == 1 else C
    k = C.shape[1]
    D = jnp.ones(k) if D is None else jnp.asarray(D)
    if D.shape not in ((k,), (k, k)):
        raise ValueError(f"D has shape {D.shape}: for {k} columns of C it is (k,) or (k, k)")
    for name, array in (("C", C), ("D", D)):
        if array.dtype.kind == "c" != factor.dtype.kind:
            raise TypeError(f"{name} is complex and the factor is real: factor A as complex")
    D = jnp.diag(D) if D.ndim == 1 else D
    return C.astype(factor.dtype), D.astype(factor.dtype)
