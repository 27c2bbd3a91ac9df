"""Newton's method and Laplace's approximation on sparse Hessians, with implicit derivatives."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ._factor import cholesky
from ._matrix import SymmetricMatrix
from ._sparse_derivatives import SparseHessian, sparse_hessian

HALVINGS = 30  # of a step
SHIFTS = 12  # of the diagonal


class Minimum(NamedTuple):
    """What `newton` returns.

    Attributes
    ----------
    x : pytree of arrays
        The minimizer, like `x0`.
    converged : bool array
    iterations : int array
    """

    x: Any
    converged: jax.Array
    iterations: jax.Array


class Laplace(NamedTuple):
    """What `laplace` returns.

    Attributes
    ----------
    log_marginal : jax.Array
    mode : pytree of arrays
        Like `x0`.
    precision : SymmetricMatrix
        Of the normal approximation of the latent values: the Hessian of ``-logjoint`` at the mode.
    """

    log_marginal: jax.Array
    mode: Any
    precision: SymmetricMatrix


def newton(
    f: Any,
    x0: Any,
    *args: Any,
    tol: float | None = None,
    maxiter: int = 100,
    ordering: Any = "auto",
) -> Minimum:
    """Minimize a convex function with a sparse Hessian by damped Newton steps.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a real floating point number, twice differentiable in x.
    x0 : pytree of arrays
        Where to start.
    *args : pytrees of arrays
        What else `f` takes; the minimizer is differentiable in them, and in what `f` takes from its
        closure.
    tol : float, optional
        The method has converged where a step promises to lower f by less than ``tol * (1 + |f|)``;
        one more step is taken then. By default the rounding unit.
    maxiter : int, optional
    ordering : optional
        The fill-reducing ordering of the Hessian, as for `analyze`.

    Returns
    -------
    Minimum
        ``(x, converged, iterations)``. Derivatives of x of every order, in both modes, are those of
        the implicit function, and cost a solve each.

    Notes
    -----
    The pattern of the Hessian is found, colored and analyzed once for each trace: compile what is
    called often. Steps are halved until f decreases enough (Armijo). Where the Hessian is not
    positive definite, its diagonal is raised until it is.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> f = lambda x, t: jnp.sum(jnp.exp(x) - t * x) + jnp.sum((x[1:] - x[:-1]) ** 2)
    >>> t = jnp.array([1.0, 2.0, 3.0])
    >>> print(np.asarray(scj.newton(f, jnp.zeros(3), t).x).round(3))
    [0.418 0.677 0.921]
    >>> slopes = jax.grad(lambda t: scj.newton(f, jnp.zeros(3), t).x.sum())(t)
    >>> print(np.asarray(slopes).round(3))
    [0.574 0.51  0.448]
    """
    problem = Problem(f, x0, args, ordering)
    x, converged, iterations = problem.minimum(tol, maxiter)
    return Minimum(problem.unravel(x), converged, iterations)


class Problem:
    """A function of one vector and of arguments, those of its closure too, and its Hessian."""

    def __init__(self, f, x0, args, ordering):
        x, self.unravel = ravel_pytree(x0)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"x0 has type {x.dtype}: real floating point numbers are needed")
        self.start = jax.lax.stop_gradient(x)
        self.f, consts = jax.closure_convert(
            lambda x, *args: f(self.unravel(x), *args), self.start, *args
        )
        self.args = (*args, *consts)
        self.hessian = sparse_hessian(self.f, self.start, *self.args, ordering=ordering)

    def minimum(self, tol, maxiter):
        """Where it is, whether it was found, and in how many steps."""
        tol = float(jnp.finfo(self.start.dtype).eps if tol is None else tol)
        return _implicit(self.f, self.hessian, tol, int(maxiter))(self.start, self.args)


def _implicit(f, hessian: SparseHessian, tol, maxiter):
    """The minimizer as a function of the arguments, with its derivative."""

    @jax.custom_jvp
    def minimize(start, args):
        return _iterate(f, hessian, start, args, tol, maxiter)

    @minimize.defjvp
    def _(primals, tangents):
        (start, args), (_, changes) = primals, tangents
        x, converged, iterations = minimize(start, args)
        _, change = jax.jvp(lambda args: jax.grad(f)(x, *args), (args,), (changes,))
        dx = -cholesky(hessian.matrix(x, *args)).solve(change)
        none = np.zeros((), jax.dtypes.float0)
        return (x, converged, iterations), (dx, none, none)

    return minimize


def _iterate(f, hessian, start, args, tol, maxiter):
    """Damped steps until one of them promises next to nothing, and that one."""

    def step(state):
        x, value, _, count = state
        gradient = jax.grad(f)(x, *args)
        direction, definite = _direction(hessian.matrix(x, *args), gradient)
        promised = -gradient @ direction / 2
        x, value = _search(f, args, x, value, direction, promised)
        small = jnp.abs(promised) <= tol * (1 + jnp.abs(value))
        return x, value, definite & small & jnp.isfinite(value), count + 1

    def unfinished(state):
        _, value, settled, count = state
        return ~settled & (count < maxiter) & jnp.isfinite(value)

    first = step((start, f(start, *args), False, 0))
    x, _, settled, count = jax.lax.while_loop(unfinished, step, first)
    return x, settled, jnp.asarray(count)


def _direction(M: SymmetricMatrix, gradient):
    """Newton's, with as much added to the diagonal as it takes for it to be one of descent.

    And whether nothing was added.
    """
    diagonal = M.pattern.indptr[:-1]
    unit = 1e-6 * (1 + jnp.max(jnp.abs(M.values[diagonal]), initial=0.0))

    def solved(shift):
        F = cholesky(SymmetricMatrix(M.pattern, M.values.at[diagonal].add(shift)))
        return F.ok, -F.solve(gradient)

    def raised(state):
        _, _, shift, count = state
        shift = jnp.maximum(10 * shift, unit)
        return *solved(shift), shift, count + 1

    first = (*solved(jnp.zeros_like(unit)), jnp.zeros_like(unit), 0)
    _, direction, shift, _ = jax.lax.while_loop(lambda s: ~s[0] & (s[3] < SHIFTS), raised, first)
    return direction, shift == 0


def _search(f, args, x, value, direction, promised):
    """Half the step until f decreases by a part of what the step promises."""
    rounding = 10 * jnp.finfo(x.dtype).eps * (1 + jnp.abs(value))

    def too_high(state):
        length, _, there, count = state
        enough = there <= value - 1e-4 * length * promised + rounding
        return ~enough & (count < HALVINGS)

    def half(state):
        length, _, _, count = state
        return at(length / 2, count + 1)

    def at(length, count):
        y = x + length * direction
        return length, y, f(y, *args), count

    _, y, there, _ = jax.lax.while_loop(too_high, half, at(jnp.ones_like(value), 0))
    return y, there


def laplace(
    logjoint: Any,
    x0: Any,
    *theta: Any,
    tol: float | None = None,
    maxiter: int = 100,
    ordering: Any = "auto",
) -> Laplace:
    """Laplace's approximation of the log of an integral: the marginal density of a latent model.

    Parameters
    ----------
    logjoint : callable
        ``logjoint(x, *theta)``, the log of the joint density of data and latent x: a real number,
        concave in x, with a sparse Hessian.
    x0 : pytree of arrays
        Where the search for the mode starts.
    *theta : pytrees of arrays
        Parameters.
    tol, maxiter, ordering : optional
        See `newton`.

    Returns
    -------
    Laplace
        ``(log_marginal, mode, precision)``: the log of the integral of ``exp(logjoint(x, *theta))``
        over x, exact where `logjoint` is quadratic in x, and the normal approximation of x. NaN
        where no mode is found.

    Notes
    -----
    With the mode x and H, the Hessian of ``-logjoint`` there, it is ``logjoint(x) + n/2 log(2 pi) -
    logdet(H)/2`` (Tierney and Kadane, 1986). All of it is differentiable any number of times in
    theta: derivatives go through the mode, by the implicit function theorem, and through H
    (Kristensen et al., 2016. TMB: automatic differentiation and Laplace approximation. J. Stat.
    Softw. 70(5)).

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
    problem = Problem(lambda x, *theta: -logjoint(x, *theta), x0, theta, ordering)
    x, converged, _ = problem.minimum(tol, maxiter)
    x = jnp.where(converged, x, jnp.nan)
    H = problem.hessian.matrix(x, *problem.args)
    volume = 0.5 * (x.size * np.log(2 * np.pi) - cholesky(H).logdet())
    return Laplace(volume - problem.f(x, *problem.args), problem.unravel(x), H)
