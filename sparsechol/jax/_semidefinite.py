"""Define SemidefiniteFactor: the factor of a semidefinite matrix with known null space."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._scipy.null_space import NullSpace, low_rank_entries
from .._scipy.pivots import EPS
from .._scipy.symbolic_factor import SymbolicFactor
from .._scipy.symmetry import ROUNDINGS
from .._typing import Entries
from ._conditioned import Conditioned
from ._matrix import SymmetricMatrix, as_vectors, static_entries
from ._rows import low_rank_quadratic, read_static_rows


def coordinates(N: NullSpace, x: jax.Array) -> jax.Array:
    """Return ``V^H x`` in blocks, (blocks, w, k), of an (n, k) array."""
    basis = jnp.asarray(N.basis_as(x.dtype).conj())
    if N.blocks == 1:
        return (basis.T @ x)[None]
    terms = basis[:, :, None] * x[:, None, :]
    return jax.ops.segment_sum(terms, N.labels, num_segments=N.blocks)


def expand(N: NullSpace, y: jax.Array) -> jax.Array:
    """Return ``V y``, (n, k), of coordinates in blocks."""
    basis = jnp.asarray(N.basis_as(y.dtype))
    if N.blocks == 1:
        return basis @ y[0]
    return jnp.einsum("iw,iwk->ik", basis, y[N.labels])


def project(N: NullSpace, x: jax.Array) -> jax.Array:
    """Return ``x - V V^H x`` of an (n,) or (n, k) array."""
    columns = x[:, None] if x.ndim == 1 else x
    return (columns - expand(N, coordinates(N, columns))).reshape(x.shape)


def annihilates(N: NullSpace, values: jax.Array) -> jax.Array:
    """Tell whether Q V is zero but for rounding, as `NullSpace.require` does; a constant."""
    values = jax.lax.stop_gradient(values)
    if N.basis.dtype.kind == "c" and values.dtype.kind != "c":
        raise TypeError("null_space= is complex and the matrix is real: pass a real basis")
    V = jnp.asarray(N.basis_as(values.dtype)).astype(values.dtype)
    product = jnp.abs(SymmetricMatrix(N.pattern, values) @ V)
    sizes = jnp.concatenate([jnp.abs(V), jnp.ones((N.pattern.shape[0], 1), product.dtype)], axis=1)
    sums = SymmetricMatrix(N.pattern, jnp.abs(values)) @ sizes
    eps, span = EPS[values.dtype], np.abs(N.basis).max(axis=0, initial=0).astype(product.dtype)
    allowed = eps**0.5 * sums[:, :-1] + ROUNDINGS * eps * sums[:, -1:] * span
    return (product <= allowed).all()


@jax.tree_util.register_pytree_with_keys_class
class SemidefiniteFactor:
    """Factor of a positive semidefinite `SymmetricMatrix` with known null space.

    `cholesky` makes it, given ``null_space=``. Its inverse is the pseudo-inverse ``A^+``, its
    determinant the product of the nonzero eigenvalues. It is a pytree of the values of A and the
    factor `grounded` of ``A + E D E^H``, A with rows of the null space grounded; the null space is
    static.

    Attributes
    ----------
    null_space : NullSpace
    grounded : Factor
        It has what A has not: L, and solves with it.
    pattern : SymbolicFactor
    shape : tuple of int
    dtype : dtype

    Notes
    -----
    Every method is differentiable any number of times, in both modes, and `jax.vmap` batches it. A
    derivative is that along changes of A that keep its null space, ``dA V = 0``: values that depend
    on parameters such that ``A V = 0`` for all of them. The gradient in the packed values is one of
    many with the same products with these changes; alone it has no meaning.

    Examples
    --------
    The derivative in the strength t of all edges is (n - 1) / t:

    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> Q = np.array([[1.0, -1.0, 0.0], [-1.0, 2.0, -1.0], [0.0, -1.0, 1.0]])
    >>> P = scj.analyze(Q)
    >>> M = scj.SymmetricMatrix(P, P.values(Q))
    >>> f = lambda t: scj.cholesky(t * M, null_space="components").logdet()
    >>> print(jax.grad(f)(4.0).round(4))
    0.5
    """

    def __init__(self, null_space: NullSpace, values: jax.Array, grounded):
        self.null_space = null_space
        self._a = values
        self.grounded = grounded

    def tree_flatten_with_keys(self):
        """Return the children with their names, and the null space, as JAX asks for them."""
        keys = map(jax.tree_util.GetAttrKey, ("values", "grounded"))
        return tuple(zip(keys, (self._a, self.grounded), strict=True)), self.null_space

    @classmethod
    def tree_unflatten(cls, null_space, children):
        """Make an object from what `tree_flatten_with_keys` returns."""
        return cls(null_space, *children)

    def __repr__(self) -> str:
        return (
            f"<SemidefiniteFactor of shape {self.shape}, rank {self.rank}, values"
            f" {jax.typeof(self._a)}>"
        )

    @property
    def pattern(self) -> SymbolicFactor:
        """The analyzed pattern."""
        return self.null_space.pattern

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix."""
        return self.pattern.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self._a.dtype

    @property
    def rank(self) -> int:
        """The order of the matrix less the dimension of its null space."""
        return self.shape[0] - self.null_space.dimension

    @property
    def matrix(self) -> SymmetricMatrix:
        """The matrix that was factored."""
        return SymmetricMatrix(self.pattern, self._a)

    @property
    def ok(self) -> jax.Array:
        """True where the matrix is semidefinite with this null space; as `Factor.ok`."""
        return self.grounded.ok

    @property
    def rcond(self) -> jax.Array:
        """Reciprocal condition number of the grounded matrix, see `Factor.rcond`."""
        return self.grounded.rcond

    def logdet(self) -> jax.Array:
        """Return the logarithm of the product of the nonzero eigenvalues, a real scalar.

        Returns
        -------
        jax.Array, a scalar
        """
        N = self.null_space
        diagonal = self._a[N.scaled].real
        return self.grounded.logdet() - jnp.log(diagonal).sum() - N.log_volume

    def slogdet(self) -> tuple[jax.Array, jax.Array]:
        """Return the sign and the logarithm of the product of the nonzero eigenvalues.

        Returns
        -------
        sign : jax.Array
            One, of the type of A; NaN where A is not semidefinite with this null space.
        logabsdet : jax.Array
            A real scalar.
        """
        return self.grounded.slogdet()[0], self.logdet()

    def solve(self, b: ArrayLike) -> jax.Array:
        """Compute ``A^+ b``: the shortest of all x for which ``A x`` is nearest to b.

        Parameters
        ----------
        b : (n,) or (n, k) array_like
            Real or complex. The solution has the precision of the factor.

        Returns
        -------
        x : jax.Array of the shape of `b`
            Orthogonal to the null space.
        """
        b = as_vectors(b, self.shape, "b")
        b = b.astype(
            jnp.result_type(self.dtype, jnp.complex64) if b.dtype.kind == "c" else self.dtype
        )
        return project(self.null_space, self.grounded.solve(project(self.null_space, b)))

    def sample(self, key: jax.Array, *, shape: tuple[int, ...] | int = ()) -> jax.Array:
        """Draw from the normal distribution with mean zero and covariance ``A^+``.

        Parameters
        ----------
        key : random key
        shape : int or tuple of int, optional
            Shape of the draws.

        Returns
        -------
        x : jax.Array of shape ``(*shape, n)``
            Orthogonal to the null space; a smooth function of the values of A.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        x = self.grounded.sample(key, shape=math.prod(shape))
        return project(self.null_space, x.T).T.reshape(*shape, self.shape[0])

    def partial_inverse(self, *, entries: Entries = "matrix") -> jax.Array:
        """Compute entries of ``A^+`` where A, or L of the grounded factor, has entries.

        Parameters
        ----------
        entries : {'matrix', 'factor'}, optional
            As for `Factor.partial_inverse`.

        Returns
        -------
        values : jax.Array
        """
        Z, n = self.grounded.partial_inverse(entries=entries), self.shape[0]
        if entries == "matrix":
            indptr, rows = self.pattern.indptr, self.pattern.indices
            columns = np.repeat(np.arange(n), np.diff(indptr))
        else:
            indptr, rows = self.pattern.factor_pattern()
            rows, columns = self.pattern.perm[rows], np.repeat(self.pattern.perm, np.diff(indptr))
        return Z - low_rank_entries(*self._low_rank(), rows, columns)

    def diag_inverse(self) -> jax.Array:
        """Compute the diagonal of ``A^+``, (n,) and real.

        Returns
        -------
        (n,) jax.Array
        """
        V, X = self._low_rank()
        return self.grounded.diag_inverse() - 2 * (V * X.conj()).real.sum(axis=1)

    def inverse_entries(self, rows: ArrayLike, columns: ArrayLike) -> jax.Array:
        """Compute any entries of ``A^+``, also outside every pattern.

        Parameters
        ----------
        rows, columns : array_like of int, static
            As for `Factor.inverse_entries`.

        Returns
        -------
        jax.Array of the broadcast shape

        Raises
        ------
        IndexError
            If a row or column lies outside the matrix.
        """
        labels = self.null_space.labels
        rows, columns = static_entries(rows, columns, self.shape[0])
        term = low_rank_entries(*self._low_rank(), rows, columns)
        term = jnp.where(labels[rows] == labels[columns], term, 0)
        return self.grounded.inverse_entries(rows, columns) - term

    def inverse_quadratic(self, B: Any) -> jax.Array:
        """Compute ``b A^+ b^H`` for each row b of B: variances of B x, x an intrinsic field.

        Parameters
        ----------
        B
            As for `Factor.inverse_quadratic`.

        Returns
        -------
        () or (m,) real jax.Array
        """
        rows, shape = read_static_rows(B, self.shape[0])
        term = low_rank_quadratic(*self._low_rank(), rows, self.null_space.labels)
        return self.grounded.inverse_quadratic(B) - term.reshape(shape)

    def _low_rank(self) -> tuple[jax.Array, jax.Array]:
        """Return V and X of ``A^+ = W - V X^H - X V^H`` in blocks."""
        N = self.null_space
        V = jnp.asarray(N.basis_as(self.dtype))
        WV = self.grounded.solve(V)
        return V, WV - expand(N, coordinates(N, WV)) / 2

    def condition(self, C: ArrayLike, e: ArrayLike = 0.0) -> Conditioned:
        """Condition an intrinsic field with precision matrix A on constraints ``C x = e``.

        Parameters
        ----------
        C : (n,) or (m, n) array_like or SciPy sparse matrix
            A row for each constraint. There are at least as many as the null space has dimensions.
        e : () or (m,) array_like, optional

        Returns
        -------
        Conditioned
            Proper: its density is proportional to ``exp(-x^T A x / 2)`` on the plane.

        Raises
        ------
        ValueError, TypeError
            As for `sparsechol.SemidefiniteFactor.condition`, where `C` is not traced; else the
            results are NaN.
        """
        return Conditioned.of(self.grounded, self._a, self.logdet(), self.null_space, C, e)
