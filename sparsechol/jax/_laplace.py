"""Integrate latent values out by Laplace's approximation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .._exceptions import NotPositiveDefiniteError
from .._status import NEWTON, SINGULAR
from .._typing import OrderingLike
from ._compat import is_concrete
from ._factor import cholesky
from ._low_rank import LowRankMatrix
from ._matrix import SymmetricMatrix
from ._newton import Minimization
from ._outcome import Outcome
from ._typing import Pytree
from ._uncertainty import Uncertainty, chosen, uncertainty


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        *("log_marginal", "mode", "precision", "status", "iterations", "gradient_norm"),
        *("_last", "_args"),
    ),
    meta_fields=("_problem",),
)
@dataclass(frozen=True)
class Laplace(Outcome):
    """Result of `laplace`, a pytree.

    Attributes
    ----------
    log_marginal : jax.Array
    mode : pytree of arrays
        The mode of the latent values, a pytree like `x0`.
    precision : SymmetricMatrix or LowRankMatrix
        The precision matrix of the normal approximation of the latent values: the Hessian of
        ``-logjoint`` at the mode. `cholesky` takes both.
    status : int array
        Why the search for the mode ended: 2 at a mode, 0 after `maxiter` iterations; -1 where
        `logjoint` or its derivatives are not finite, -2 where the Hessian of ``-logjoint`` is not
        positive definite, -3 where no step helps. What is NaN is so where it is not 2.
    iterations : int array
        Newton steps that were tried.
    gradient_norm : jax.Array
        The largest entry of the gradient of `logjoint` in x at the last point, without its sign. It
        has no derivative.
    """

    log_marginal: jax.Array
    mode: Pytree
    precision: SymmetricMatrix | LowRankMatrix
    status: jax.Array
    iterations: jax.Array
    gradient_norm: jax.Array
    _last: jax.Array = field(repr=False)
    _args: tuple = field(repr=False)
    _problem: Minimization = field(repr=False)

    _messages: ClassVar[dict[int, str]] = NEWTON

    @property
    def message(self) -> str:
        """Why the search ended, in words; of one problem, outside of transformations.

        Where a singular Hessian is the reason, it names the latent values that are not determined.
        """
        status = self._known_status()
        return self._messages[status] + (self._undetermined() if status == SINGULAR else "")

    def _undetermined(self) -> str:
        """Say which latent values are not determined at the last point."""
        problem = self._problem
        M = problem.hessian.matrix(self._last, *self._args)
        apart = ""
        if isinstance(M, LowRankMatrix):  # whose sparse part must be definite by itself
            M, apart = M.matrix, ", but for sums over many latent values"
        try:
            M.pattern.factorize(np.asarray(M.values))
        except NotPositiveDefiniteError as error:
            if error.rows:
                return (
                    f": {problem.names.named(error.rows)} can move together, and the density stays"
                    f" the same to second order{apart}"
                )
            return f": its pivot at {problem.names.name(error.row or 0)} is {error.pivot:.3g}"
        except ValueError:
            return ": it is not finite"
        return apart or " but for rounding"

    def uncertainty(self, argnums: int | Sequence[int] | None = None) -> Uncertainty:
        """Compute how exactly parameters and latent values are known, as TMB's ``sdreport`` does.

        To be called where the parameters maximize `log_marginal` (or that and the log of a prior).

        Parameters
        ----------
        argnums : int or sequence of int, optional
            Which of the arguments `theta` are parameters, all others being known. By default all of
            floating point numbers.

        Returns
        -------
        Uncertainty
            Covariances and standard errors of parameters, of latent values, and of functions of
            both.

        Raises
        ------
        ValueError
            If there are no parameters; outside of transformations also if no mode was found.
        NotPositiveDefiniteError
            Outside of transformations, if the parameters are not determined, or do not maximize
            `log_marginal`. The error names some. Inside, the covariance is NaN.

        Notes
        -----
        The covariance V of the parameters is the inverse of the exact Hessian of
        ``-log_marginal``. It takes a solve for each parameter and for each pair. Latent values x
        have the covariance ``H^-1 + J V J^T``, with the precision matrix H, and the Jacobian J of
        the mode in the parameters (Kass and Steffey, 1989): what the first term lacks is that the
        parameters are estimates.

        Examples
        --------
        >>> import jax.numpy as jnp, sparsechol.jax as scj
        >>> y = jnp.array([1.0, 0.0, 2.0, 3.0])
        >>> def logjoint(x, mean):
        ...     return -0.5 * jnp.sum((x - mean) ** 2 + (y - x) ** 2)
        >>> report = scj.laplace(logjoint, jnp.zeros(4), 1.5).uncertainty()
        >>> print(report.standard_errors().round(4), report.latent_standard_errors().round(4))
        0.7071 [0.7906 0.7906 0.7906 0.7906]
        """
        if is_concrete(self.status) and np.ndim(self.status) == 0 and not self.converged:
            raise ValueError(f"there is no mode to be uncertain of: {self.message}")
        given = self._args[: self._problem.given]
        known = self._last, given, self._args[len(given) :]
        return uncertainty(self._problem, log_integral, known, chosen(given, argnums))


def laplace(
    logjoint: Callable[..., jax.Array],
    x0: Pytree,
    *theta: Pytree,
    tol: float | None = None,
    maxiter: int = 1000,
    ordering: OrderingLike = "auto",
) -> Laplace:
    """Integrate latent values out of a density by Laplace's approximation.

    Parameters
    ----------
    logjoint : callable
        ``logjoint(x, *theta)`` returns the log of the joint density of data and latent x: a real
        number, concave in x at its mode, with a sparse Hessian.
    x0 : pytree of arrays
        The starting point of the search for the mode.
    *theta : pytrees of arrays
        Parameters of the density.
    tol, maxiter, ordering : optional
        See `newton`.

    Returns
    -------
    Laplace
        ``log_marginal``, ``mode`` and ``precision``: the log of the integral of
        ``exp(logjoint(x, *theta))`` over x, and the mean and precision matrix of the normal
        approximation of x. The integral is exact if `logjoint` is quadratic in x. All are NaN if no
        mode is found; ``converged``, ``status``, ``message``, ``iterations`` and ``gradient_norm``
        say how the search for it ended. ``uncertainty()`` computes standard errors.

    Notes
    -----
    With the mode x, and the Hessian H of ``-logjoint`` there, the log of the integral is
    ``logjoint(x) + n/2 log(2 pi) - logdet(H)/2`` (Tierney and Kadane, 1986). These results are
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
    last, ending = problem.solve(tol, maxiter)
    x = jnp.where(ending.status > 0, last, jnp.nan)
    value, H = log_integral(problem, x, problem.args)
    last = jax.lax.stop_gradient(last)
    known = last, problem.args, problem
    return Laplace(value, problem.unravel(x), H, *ending, *known)


def log_integral(
    problem: Minimization, x: jax.Array, args: tuple
) -> tuple[jax.Array, SymmetricMatrix | LowRankMatrix]:
    """Return the approximation, given the mode, and the precision matrix there."""
    H = problem.hessian.matrix(x, *args)
    volume = 0.5 * (x.size * np.log(2 * np.pi) - cholesky(H).logdet())
    return volume - problem.f(x, *args), H
