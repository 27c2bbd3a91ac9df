"""log det(A + t B) for all t of an interval, in JAX: the series of `sparsechol.logdet_pencil`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .._scipy.null_space import NullSpaceLike
from .._scipy.pencil import PencilSeries
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
