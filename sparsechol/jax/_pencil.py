"""log det(A + t B) and log det(A + s B + t C) in JAX: series of `sparsechol.logdet_pencil`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._scipy.null_space import NullSpaceLike
from .._scipy.pencil import PencilSeries
from .._scipy.pencil_pair import PencilPairSeries
from .._typing import MatrixLike


class LogdetPencil(PencilSeries):
    """Hold log det(A + t B) as a function of t; `logdet_pencil` makes it.

    Attributes
    ----------
    interval, ends, coefficients, error
        See `sparsechol.LogdetPencil`.
    """

    def __call__(self, t: ArrayLike) -> jax.Array:
        """Evaluate log det(A + t B), by arithmetic that JAX transforms in every way.

        Parameters
        ----------
        t : float or array_like

        Returns
        -------
        jax.Array of the shape of `t`
            NaN outside of the interval, with a gradient of zero.
        """
        t = jnp.asarray(t)
        kind = jnp.result_type(t, float)
        return self._evaluate(t.astype(kind), jnp).astype(kind)


def logdet_pencil(
    A: MatrixLike,
    B: MatrixLike,
    interval: Sequence[float],
    *,
    atol: float = 1e-8,
    null_space: NullSpaceLike | None = None,
) -> LogdetPencil:
    """Compute log det(A + t B) for all t of an interval, as a function that costs next to nothing.

    Parameters
    ----------
    A, B : (n, n) SciPy sparse array or matrix, or dense array
        Known values. The matrices are factored when the function is made, outside of any
        transformation.
    interval, atol, null_space
        As for `sparsechol.logdet_pencil`.

    Returns
    -------
    LogdetPencil

    Raises
    ------
    NotPositiveDefiniteError, ValueError
        As for `sparsechol.logdet_pencil`.

    Notes
    -----
    Differentiable any number of times in t. The error of `atol` is that in double precision; in
    single precision it is some roundings of the log-determinant.

    Examples
    --------
    >>> import jax, scipy.sparse as sp, sparsechol.jax as scj
    >>> f = scj.logdet_pencil(sp.eye_array(3), sp.diags_array([1.0, 2.0, 3.0]), (0, 10))
    >>> print(jax.grad(f)(1.0).round(4))  # 1/2 + 2/3 + 3/4
    1.9167
    """
    return LogdetPencil(A, B, interval, atol, null_space)


class LogdetPencilPair(PencilPairSeries):
    """Hold log det(A + s B + t C) as a function of s and t; `logdet_pencil_pair` makes it.

    Attributes
    ----------
    box, ends, coefficients, error
        See `sparsechol.LogdetPencilPair`.
    """

    def __call__(self, s: ArrayLike, t: ArrayLike) -> jax.Array:
        """Evaluate log det(A + s B + t C), by arithmetic that JAX transforms in every way.

        Parameters
        ----------
        s, t : float or array_like
            Of shapes that broadcast.

        Returns
        -------
        jax.Array
            NaN outside of the box, with a gradient of zero.
        """
        kind = jnp.result_type(s, t, float)
        s, t = jnp.broadcast_arrays(jnp.asarray(s, kind), jnp.asarray(t, kind))
        return self._evaluate(s, t, jnp).astype(kind)


def logdet_pencil_pair(
    A: MatrixLike,
    B: MatrixLike,
    C: MatrixLike,
    box: Sequence[Sequence[float]],
    *,
    atol: float = 1e-8,
    null_space: NullSpaceLike | None = None,
) -> LogdetPencilPair:
    """Compute log det(A + s B + t C) for a box, as a function that costs next to nothing.

    Parameters
    ----------
    A, B, C : (n, n) SciPy sparse array or matrix, or dense array
        Known values. The matrices are factored when the function is made, outside of any
        transformation.
    box, atol, null_space
        As for `sparsechol.logdet_pencil_pair`.

    Returns
    -------
    LogdetPencilPair

    Raises
    ------
    NotPositiveDefiniteError, ValueError
        As for `sparsechol.logdet_pencil_pair`.

    Notes
    -----
    Differentiable any number of times in s and t.

    Examples
    --------
    >>> import jax, scipy.sparse as sp, sparsechol.jax as scj
    >>> B, C = sp.diags_array([1.0, 2.0, 3.0]), sp.diags_array([1.0, 0.0, 1.0])
    >>> f = scj.logdet_pencil_pair(sp.eye_array(3), B, C, ((0, 10), (0, 10)))
    >>> print(round(float(jax.grad(f)(1.0, 1.0)), 4))  # 1/3 + 2/3 + 3/5
    1.6
    """
    return LogdetPencilPair(A, B, C, box, atol, null_space)
