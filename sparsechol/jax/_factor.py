"""Factor: a factorization as a pytree."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._scipy.symbolic_factor import SymbolicFactor
from . import _primitives as primitives
from ._matrix import SymmetricMatrix, as_vectors, is_traced

stop = jax.lax.stop_gradient


def cholesky(M: SymmetricMatrix, check: bool = False) -> "Factor":
    """Factor a matrix.

    Parameters
    ----------
    M : SymmetricMatrix
    check : bool, optional
        Outside of transformations: raise where `M` is not positive definite. By default, and in
        every transformation, the factor is then NaN, with all that is computed from it, and
        ``Factor.ok`` is False.

    Returns
    -------
    Factor

    Raises
    ------
    NotPositiveDefiniteError
        With ``check=True``; it names the row and column of the matrix.
    ValueError, TypeError
        If the values do not fit the pattern, or ``check=True`` inside a transformation.

    Examples
    --------
    >>> import jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> P = scj.analyze(np.array([[4.0, 1.0], [1.0, 5.0]]))
    >>> F = scj.cholesky(scj.SymmetricMatrix(P, jnp.array([4.0, 1.0, 5.0])))
    >>> print(F.solve(jnp.array([5.0, 6.0])).round(4), F.ok)
    [1. 1.] True
    """
    a, P = M.checked(), M.pattern
    if check and is_traced(a):
        raise ValueError(
            "check=True needs values that are known: inside jit, grad or vmap look at Factor.ok"
        )
    F = Factor(P, a, stop(primitives.cholesky(P, stop(a))))
    if check and not F.ok:
        P.factorize(np.asarray(a))  # says what is wrong, and where
    return F


@jax.tree_util.register_pytree_with_keys_class
class Factor:
    """Cholesky factor of a `SymmetricMatrix`, ``P A P^T = L L^H``; made by `cholesky`.

    A pytree with two leaves, the values of A and the factor; the pattern is static. All methods
    are differentiable any number of times in the values of A (and in b), in both modes, and are
    batched by `jax.vmap`; nothing is factored again. The factor itself has no derivative but
    through A.

    Attributes
    ----------
    pattern : SymbolicFactor
    shape : tuple of int
    dtype : dtype
    """

    def __init__(self, pattern: SymbolicFactor, values: jax.Array, factor: jax.Array):
        self.pattern = pattern
        self._a = values
        self._l = factor

    def tree_flatten_with_keys(self):
        keys = map(jax.tree_util.GetAttrKey, ("values", "factor"))
        return tuple(zip(keys, (self._a, self._l), strict=True)), self.pattern

    @classmethod
    def tree_unflatten(cls, pattern, leaves):
        return cls(pattern, *leaves)

    @property
    def shape(self) -> tuple[int, int]:
        return self.pattern.shape

    @property
    def dtype(self):
        return self._a.dtype

    def __repr__(self) -> str:
        return f"<Factor of shape {self.shape}, values {jax.typeof(self._a)}>"

    @property
    def matrix(self) -> SymmetricMatrix:
        """What was factored."""
        return SymmetricMatrix(self.pattern, self._a)

    @property
    def ok(self) -> jax.Array:
        """Whether the matrix is positive definite, a boolean; of a batch one for each matrix."""
        if self.shape[0] == 0:
            return jnp.ones(self._l.shape[:-1], bool)
        return jnp.isfinite(self._l[..., 0])

    @property
    def _attached(self) -> jax.Array:
        """The factor as a function of A."""
        return primitives.attach(self.pattern, self._checked(), stop(self._l))

    def _checked(self) -> jax.Array:
        if self._a.ndim != 1:
            raise ValueError(
                f"the factor is a batch of shape {self._a.shape[:-1]}: use its methods under"
                " jax.vmap"
            )
        return self._a

    def solve(self, b: Any) -> jax.Array:
        """Solve ``A x = b``.

        Parameters
        ----------
        b : (n,) or (n, k) array_like
            Real or complex. The precision is that of the factor.

        Returns
        -------
        x : jax.Array of the shape of `b`
        """
        a, l = self._checked(), stop(self._l)
        return on_columns(b, self, lambda x: primitives.solve(self.pattern, a, l, x))

    def solve_triangular(self, b: Any, trans: Any = "N", permute: bool = True) -> jax.Array:
        """Solve with L, L^T or L^H.

        Parameters
        ----------
        b : (n,) or (n, k) array_like
        trans : {'N', 'T', 'C', 0, 1, 2}, optional
            ``L y = P b`` (default), ``L^T P x = b``, or ``L^H P x = b``.
        permute : bool, optional
            Whether P is applied; without it all is in the order of ``pattern.perm``.

        Returns
        -------
        jax.Array of the shape of `b`
        """
        if trans not in ("N", "T", "C", 0, 1, 2):
            raise ValueError(f"trans must be 'N', 'T', 'C', 0, 1 or 2, not {trans!r}")
        lower, plain = trans in ("N", 0), trans in ("T", 1)
        l = self._attached

        def apply(x):
            if plain:
                x = jnp.conj(x)
            x = primitives.solve_triangular(self.pattern, l, x, lower, bool(permute))
            return jnp.conj(x) if plain else x

        return on_columns(b, self, apply)

    def logdet(self) -> jax.Array:
        """log det A, a real scalar."""
        return primitives.logdet(self.pattern, self._checked(), stop(self._l))

    def partial_inverse(self, pattern: str = "matrix") -> jax.Array:
        """Entries of A^-1 where A, or L, has some.

        Parameters
        ----------
        pattern : {'matrix', 'factor'}, optional

        Returns
        -------
        values : jax.Array
            'matrix': the lower triangle, packed as the values of A are. 'factor': in the order of
            ``pattern.factor_pattern()``, rows and columns permuted as those of L.
        """
        if pattern not in ("matrix", "factor"):
            raise ValueError(f"pattern must be 'matrix' or 'factor', not {pattern!r}")
        s = primitives.partial_inverse(self.pattern, self._attached)
        read = primitives.gather if pattern == "matrix" else primitives.entries
        return read(self.pattern, s)

    def diag_inverse(self) -> jax.Array:
        """Diagonal of A^-1, (n,) and real: marginal variances."""
        s = primitives.partial_inverse(self.pattern, self._attached)
        return primitives.diagonal(self.pattern, s)

    @property
    def L(self) -> jax.Array:
        """Entries of L by column, in the order of ``pattern.factor_pattern()``."""
        return primitives.entries(self.pattern, self._attached)

    def sample(self, key: jax.Array, shape: tuple[int, ...] | int = ()) -> jax.Array:
        """Draw from the normal distribution with mean zero and precision matrix A.

        Parameters
        ----------
        key : random key
        shape : tuple of int, optional
            Shape of the draws.

        Returns
        -------
        x : jax.Array of shape ``(*shape, n)``
            ``P^T L^-H z`` with standard normal z, a smooth function of the values of A.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        n = self.shape[0]
        z = jax.random.normal(key, (math.prod(shape), n), self.dtype)
        return self.solve_triangular(z.T, "C").T.reshape(*shape, n)


def on_columns(b: Any, A: "SymmetricMatrix | Factor", apply: Any) -> jax.Array:
    """A linear map of (n, k) arrays of A's type on b of shape (n,) or (n, k), real or complex."""
    b = as_vectors(b, A.shape, "b")
    columns = b[:, None] if b.ndim == 1 else b
    if columns.dtype.kind == "c" and A.dtype.kind != "c":
        # A real matrix acts on the real and the imaginary part alike.
        parts = jnp.concatenate([columns.real, columns.imag], axis=1).astype(A.dtype)
        real, imaginary = jnp.split(apply(parts), 2, axis=1)
        return jax.lax.complex(real, imaginary).reshape(b.shape)
    return apply(columns.astype(A.dtype)).reshape(b.shape)
