"""Integrate latent values out by Laplace's approximation."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._typing import OrderingLike
from ._factor import cholesky
from ._matrix import SymmetricMatrix
from ._newton import Minimization
from ._typing import Pytree


class Laplace(NamedTuple):
    """Result of `laplace`.

    Attributes
    ----------
    log_marginal : jax.Array
    mode : pytree of arrays
        The mode of the latent values, a pytree like `x0`.
    precision : SymmetricMatrix
        The precision matrix of the normal approximation of the latent values: the Hessian of
        ``-logjoint`` at the mode.
    """

    log_marginal: jax.Array
    mode: Pytree
    precision: SymmetricMatrix


def laplace(
    logjoint: Callable[..., jax.Array],
    x0: Pytree,
    *theta: Pytree,
    tol: float | None = None,
    maxiter: int = 100,
    ordering: OrderingLike = "auto",
) -> Laplace:
    """Integrate latent values out of a density by Laplace's approximation.

    Parameters
    ----------
    logjoint : callable
        ``logjoint(x, *theta)`` returns the log of the joint density of data and latent x: a real
        number, concave in x, with a sparse Hessian.
    x0 : pytree of arrays
        The starting point of the search for the mode.
    *theta : pytrees of arrays
        Parameters of the density.
    tol, maxiter, ordering : optional
        See `newton`.

    Returns
    -------
    Laplace
        ``(log_marginal, mode, precision)``: the log of the integral of ``exp(logjoint(x, *theta))``
        over x, and the mean and precision matrix of the normal approximation of x. The integral is
        exact if `logjoint` is quadratic in x. The log and the mode are NaN if no mode is found.

    Notes
    -----
    With the mode x, and the Hessian H of ``-logjoint`` there, the log of the integral is
    ``logjoint(x) + n/2 log(2 pi) - logdet(H)/2`` (Tierney and Kadane, 1986). All results are
    differentiable any number of times in theta. The derivatives go through the mode, by the
    implicit function theorem, and through H (Kristensen et al., 2016. TMB: automatic
    differentiation and Laplace approximation. J. Stat. Softw. 70(5)).

    Examples
    --------
    Counts on a chain, given the log of the precision of its steps:

    >>> import jax, jax.numpy as jnp, sparsechol.jax as scj
    >>> y = jnp.array([1.0, 0.0, 2.0, 3.0])
    >>> def logjoint(x, t):
    ...     walk = 1.5 * t - 0.5 * jnp.exp(t) * jnp.sum((x[1:] - x[:-1]) ** 2)
    ...     return walk + jnp.sum(y * x - jnp.exp(x))
    >>> marginal = lambda t: scj.laplace(logjoint, jnp.zeros(4), t).log_marginal
    >>> value, slope = jax.value_and_grad(marginal)(0.5)
    >>> print(f"{value:.3f} {slope:.3f}")
    -0.698 0.141
    """
    problem = Minimization(lambda x, *theta: -logjoint(x, *theta), x0, theta, ordering)
    x, converged, _ = problem.solve(tol, maxiter)
    x = jnp.where(converged, x, jnp.nan)
    H = problem.hessian.matrix(x, *problem.args)
    volume = 0.5 * (x.size * np.log(2 * np.pi) - cholesky(H).logdet())
    return Laplace(volume - problem.f(x, *problem.args), problem.unravel(x), H)
