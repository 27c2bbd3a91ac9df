"""Define Conditioned: a Gaussian field under linear constraints, as a pytree."""

import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from scipy.sparse import issparse

from .._scipy.constraints import (
    FREE_ROUNDINGS,
    bordered,
    fix_null_space,
    orthonormal_rows,
    require_enough,
    rows_of,
)
from .._scipy.null_space import DEPENDENT, NullSpace, low_rank_entries
from .._scipy.pivots import EPS
from ._compat import is_concrete
from ._matrix import SymmetricMatrix, static_entries
from ._rows import low_rank_quadratic, read_static_rows

if TYPE_CHECKING:
    from ._factor import Factor


@jax.tree_util.register_pytree_with_keys_class
class Conditioned:
    """Distribution of a Gaussian field x with precision Q, given ``C x = e``.

    `Factor.condition` and `SemidefiniteFactor.condition` make it. The mean of the field before the
    constraints is an argument of the methods, by default zero. All methods are differentiable any
    number of times in Q, C, e and their arguments, and `jax.vmap` batches them. Each method takes
    the solves that it needs; under `jax.jit` equal ones are merged.

    Attributes
    ----------
    shape : tuple of int
        Shape of Q.
    constraints : int
        The number of constraints.

    Notes
    -----
    See `sparsechol.Conditioned`. What depends on a Q that is not definite is NaN, and so is
    everything where a traced C has dependent rows or leaves the field improper.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> Q = scj.SymmetricMatrix(scj.analyze(np.eye(3)), jnp.array([1.0, 2.0, 4.0]))
    >>> fixed = scj.cholesky(Q).condition(jnp.ones(3), 7.0)
    >>> print(fixed.mean().round(4))
    [4. 2. 1.]
    """

    def __init__(
        self,
        null_space: NullSpace | None,
        factor: "Factor",
        values: jax.Array,
        logdet: jax.Array,
        rows: jax.Array,
        e: jax.Array,
    ):
        self._null_space = null_space
        self._F, self._a, self._logdet = factor, values, logdet
        self._C, self._e = rows, e  # the rows are orthonormal

    @classmethod
    def of(
        cls,
        factor: "Factor",
        values: jax.Array,
        logdet: jax.Array,
        null_space: NullSpace | None,
        C: Any,
        e: ArrayLike,
    ) -> "Conditioned":
        """Make the distribution from the factor of Q, or of Q with rows grounded.

        Parameters
        ----------
        factor : Factor
        values, logdet : jax.Array
            The values of Q, and the logarithm of its (pseudo-)determinant.
        null_space : NullSpace or None
        C : (n,) or (m, n) array_like or SciPy sparse matrix
        e : () or (m,) array_like

        Returns
        -------
        Conditioned
        """
        if factor.dtype.kind == "c":
            raise TypeError(f"the precision matrix holds {factor.dtype}: it must be real")
        n, dtype = factor.shape[0], factor.dtype
        if issparse(C) or is_concrete(C):
            known = rows_of(C if issparse(C) else np.asarray(C), n)
            known, change = orthonormal_rows(known)
            fix_null_space(known, null_space)
            rows, change = jnp.asarray(known, dtype), jnp.asarray(change, dtype)
        else:
            rows, change = _orthonormal(jnp.asarray(C).astype(dtype), n, null_space)
        e = jnp.asarray(e)
        if e.shape not in ((), rows.shape[:1]):
            raise ValueError(
                f"e has shape {e.shape}: there are {len(rows)} constraints, it is ({len(rows)},)"
            )
        e = change @ jnp.broadcast_to(e, rows.shape[:1]).astype(dtype)
        return cls(null_space, factor, values, logdet, rows, e)

    def tree_flatten_with_keys(self):
        """Return the children with their names, and the null space, as JAX asks for them."""
        names = ("factor", "values", "logdet", "rows", "e")
        children = (self._F, self._a, self._logdet, self._C, self._e)
        keys = map(jax.tree_util.GetAttrKey, names)
        return tuple(zip(keys, children, strict=True)), self._null_space

    @classmethod
    def tree_unflatten(cls, null_space, children):
        """Make an object from what `tree_flatten_with_keys` returns."""
        return cls(null_space, *children)

    def __repr__(self) -> str:
        return f"<Conditioned of shape {self.shape}, {self.constraints} constraints>"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the precision matrix."""
        return self._F.shape

    @property
    def constraints(self) -> int:
        """Number of constraints."""
        return self._C.shape[-2]

    def _solved(self) -> tuple[jax.Array, jax.Array]:
        """Return M and log |det K|, see `sparsechol._scipy.constraints`."""
        N, n, dtype = self._null_space, self.shape[0], self._F.dtype
        V = jnp.asarray(np.zeros((n, 0)) if N is None else N.dense(), dtype)
        CV = self._C @ V
        m, k = CV.shape
        if m == k:
            return V @ jnp.linalg.inv(CV), 2 * jnp.linalg.slogdet(CV)[1]
        WC = self._WC()
        G = self._C @ WC
        scale = jax.lax.stop_gradient(G.diagonal().max())
        K = bordered(G, CV, scale, jnp)
        M = jnp.linalg.solve(K, jnp.hstack([WC / scale, V]).T)[:m].T
        return M, jnp.linalg.slogdet(K)[1] + (m - k) * jnp.log(scale)

    def _WC(self) -> jax.Array:
        """Return W C^T: a solve for each constraint."""
        return self._F.solve(self._C.T)

    def _low_rank(self) -> tuple[jax.Array, jax.Array]:
        """Return M and X of the covariance ``W - M X^T - X M^T``."""
        M, WC = self._solved()[0], self._WC()
        return M, WC - M @ (self._C @ WC) / 2

    def mean(self, mu: ArrayLike = 0.0) -> jax.Array:
        """Compute the mean.

        Parameters
        ----------
        mu : () or (n,) array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        (n,) jax.Array
            ``C mean = e``.
        """
        return self._corrected(self._mean(mu))

    def logpdf(self, x: ArrayLike, mu: ArrayLike = 0.0) -> jax.Array:
        """Compute the logarithm of the density.

        Parameters
        ----------
        x : (..., n) array_like
            Points with ``C x = e``.
        mu : () or (n,) array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        (...) jax.Array
            ``-inf`` where ``C x = e`` does not hold to half of the digits.
        """
        n, m, x = self.shape[0], self.constraints, jnp.asarray(x)
        if x.ndim == 0 or x.shape[-1] != n:
            raise ValueError(f"x has shape {x.shape}: its last dimension is {n}, as the matrix's")
        points = x.reshape(math.prod(x.shape[:-1]), n).astype(self._F.dtype)
        d = (points - self._corrected(self._mean(mu))).T
        squares = jnp.sum(d * (SymmetricMatrix(self._F.pattern, self._a) @ d), axis=0)
        logdet = self._logdet + self._solved()[1]
        density = (logdet - (n - m) * np.log(2 * np.pi) - squares) / 2
        return jnp.where(self._on_plane(points), density, -jnp.inf).reshape(x.shape[:-1])

    def _on_plane(self, points: jax.Array) -> jax.Array:
        """Tell of the points in the rows of an array whether C x = e; NaN counts as true."""
        points, C, e = jax.lax.stop_gradient((points, self._C, self._e))
        missed = jnp.abs(points @ C.T - e)
        size = jnp.abs(points) @ jnp.abs(C.T) + jnp.abs(e)
        return ~(missed > EPS[self._F.dtype] ** 0.5 * size).any(axis=1)

    def sample(
        self, key: jax.Array, *, shape: tuple[int, ...] | int = (), mu: ArrayLike = 0.0
    ) -> jax.Array:
        """Draw from the distribution: a draw without constraints, corrected by kriging.

        Parameters
        ----------
        key : random key
        shape : int or tuple of int, optional
            Shape of the draws.
        mu : () or (n,) array_like, optional
            The mean of the field without constraints.

        Returns
        -------
        x : jax.Array of shape ``(*shape, n)``
            A smooth function of Q, C, e and `mu`.
        """
        return self._corrected(self._mean(mu) + self._F.sample(key, shape=shape))

    def marginal_variances(self) -> jax.Array:
        """Compute the variance of each element.

        Returns
        -------
        (n,) jax.Array
        """
        M, X = self._low_rank()
        return jnp.maximum(self._F.diag_inverse() - 2 * (M * X).sum(axis=1), 0)

    def covariance_entries(self, rows: ArrayLike, columns: ArrayLike) -> jax.Array:
        """Compute any entries of the covariance matrix.

        Parameters
        ----------
        rows, columns : array_like of int, static
            Broadcast against each other; negative numbers count from the end.

        Returns
        -------
        jax.Array of the broadcast shape

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.
        """
        rows, columns = static_entries(rows, columns, self.shape[0])
        term = low_rank_entries(*self._low_rank(), rows, columns)
        return self._F.inverse_entries(rows, columns) - term

    def quadratic_variance(self, B: Any) -> jax.Array:
        """Compute the variance of each row of ``B x``.

        Parameters
        ----------
        B
            Real; as for `Factor.inverse_quadratic`.

        Returns
        -------
        () or (m,) jax.Array
        """
        rows, shape = read_static_rows(B, self.shape[0])
        term = low_rank_quadratic(*self._low_rank(), rows)
        return jnp.maximum(self._F.inverse_quadratic(B) - term.reshape(shape), 0)

    def _mean(self, mu) -> jax.Array:
        """Read a mean; a number stands for all elements."""
        n, mu = self.shape[0], jnp.asarray(mu)
        if mu.shape not in ((), (n,)):
            raise ValueError(f"mu has shape {mu.shape}: it is a number, or ({n},)")
        return jnp.broadcast_to(mu, (n,)).astype(self._F.dtype)

    def _corrected(self, x: jax.Array) -> jax.Array:
        """Return ``x + M (e - C x)`` of the points in the rows of an array."""
        return x + (self._e - x @ self._C.T) @ self._solved()[0].T


def _orthonormal(C: jax.Array, n: int, null_space: NullSpace | None) -> tuple[jax.Array, jax.Array]:
    """Make the rows of a traced C orthonormal; NaN where they leave no proper field."""
    C = C[None] if C.ndim == 1 else C
    if C.ndim != 2 or C.shape[1] != n or not 0 < C.shape[0] <= n:
        raise ValueError(
            f"C has shape {C.shape}: it is ({n},) or (m, {n}), a row for each of at most {n}"
            " constraints"
        )
    require_enough(len(C), null_space)
    Q, R = jnp.linalg.qr(C.T)
    size, norm = jnp.abs(jnp.diagonal(R)), jnp.linalg.norm(C, axis=1)
    good = (size > DEPENDENT * norm).all()
    if null_space is not None:
        V = null_space.dense().astype(C.dtype)
        least = jnp.linalg.svd(jax.lax.stop_gradient(Q.T @ V), compute_uv=False).min()
        good &= least > FREE_ROUNDINGS * EPS[C.dtype]
    change = jnp.linalg.inv(R).T
    return jnp.where(good, Q.T, jnp.nan), jnp.where(good, change, jnp.nan)
