"""Minimize by Newton's method on sparse Hessians, with derivatives of the implicit function."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from .._status import FTOL, MAXITER, NEWTON, NOT_FINITE, SINGULAR
from .._typing import OrderingLike
from ._dense_sums import SplitHessian, split_hessian
from ._factor import cholesky
from ._low_rank import LowRankMatrix
from ._matrix import SymmetricMatrix
from ._outcome import Outcome
from ._parameters import Parameters, raveled_start
from ._sparse_hessians import SparseHessian, sparse_hessian
from ._typing import Pytree

HALVINGS = 30  # most halvings of a step
SHIFTS = 12  # most shifts of the diagonal


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "status", "iterations", "gradient_norm"),
    meta_fields=(),
)
@dataclass(frozen=True)
class Minimum(Outcome):
    """Result of `newton`, a pytree.

    Attributes
    ----------
    x : pytree of arrays
        The minimizer, a pytree like `x0`; where none was found, the last point.
    status : int array
        Why the iteration ended: 2 at a minimum, 0 after `maxiter` iterations; -1 where the function
        or its derivatives are not finite, -2 where the Hessian is not positive definite.
    iterations : int array
        Steps that were taken.
    gradient_norm : jax.Array
        The largest entry of the gradient at the last point, without its sign. It has no derivative.
    """

    x: Pytree
    status: jax.Array
    iterations: jax.Array
    gradient_norm: jax.Array

    _messages: ClassVar[dict[int, str]] = NEWTON


class Ending(NamedTuple):
    """How a search ended, see `Minimum`."""

    status: jax.Array
    iterations: jax.Array
    gradient_norm: jax.Array


def newton(
    f: Callable[..., jax.Array],
    x0: Pytree,
    *args: Pytree,
    tol: float | None = None,
    maxiter: int = 1000,
    ordering: OrderingLike = "auto",
) -> Minimum:
    """Minimize a convex function with a sparse Hessian by damped Newton steps.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` returns a real floating point number, twice differentiable in x.
    x0 : pytree of arrays
        The starting point, real floating point. All is computed in its type.
    *args : pytrees of arrays
        Further arguments of `f`. The minimizer is differentiable in them, and in the variables of
        the closure of `f`.
    tol : float, optional
        The iteration stops after a step that promised to lower f by at most ``tol * (1 + |f|)``.
        By default the rounding unit.
    maxiter : int, optional
        Most steps.
    ordering : optional
        The fill-reducing ordering of the Hessian, see `sparsechol.analyze`.

    Returns
    -------
    Minimum
        ``x``, ``converged``, ``status``, ``message``, ``iterations`` and ``gradient_norm``. The
        derivatives of x, of every order and in both modes, are those of the implicit function; each
        costs a solve.

    Notes
    -----
    The pattern of the Hessian is found, colored and analyzed once for each trace: use `jax.jit` for
    a function that is called often. Each step is halved until f decreases enough (Armijo's rule). A
    Hessian that is not positive definite is replaced by one with a larger diagonal.

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
    problem = Minimization(f, x0, args, ordering)
    x, ending = problem.solve(tol, maxiter)
    return Minimum(problem.unravel(x), *ending)


class Minimization:
    """A function of one vector and of arguments, with its sparse Hessian.

    The variables of the function's closure are among the arguments.
    """

    def __init__(self, f: Callable, x0: Pytree, args: tuple, ordering: OrderingLike):
        x, self.unravel = raveled_start(x0)
        self.start = jax.lax.stop_gradient(x)
        self.names = Parameters.of(x0)

        def value(x, *args):
            y = f(self.unravel(x), *args)
            real = isinstance(y, jax.Array) and jnp.issubdtype(y.dtype, jnp.floating)
            return y.astype(x.dtype) if real else y

        self.f, consts = jax.closure_convert(value, self.start, *args)
        self.args, self.given = (*args, *consts), len(args)
        self.hessian = split_hessian(sparse_hessian, self.f, self.start, self.args, ordering)

    def solve(self, tol: float | None, maxiter: int) -> tuple[jax.Array, Ending]:
        """Return the minimizer, and how the search for it ended."""
        tol = float(jnp.finfo(self.start.dtype).eps if tol is None else tol)
        search = partial(_iterate, self.f, self.hessian, tol=tol, maxiter=int(maxiter))
        return _implicit(self.f, self.hessian, search)(self.start, self.args)

    def near(self, x: jax.Array, args: tuple) -> jax.Array:
        """Return the minimizer as a function of the arguments, given what it is for these."""
        return _implicit(self.f, self.hessian, lambda x, _: (x, ()))(x, args)[0]


def _implicit(f, hessian: SparseHessian | SplitHessian, search):
    """Return the result of a search as a function of the arguments, with its derivative."""

    @jax.custom_jvp
    def minimize(start, args):
        return search(start, args)

    @minimize.defjvp
    def _(primals, tangents):
        (start, args), (_, changes) = primals, tangents
        x, ending = minimize(start, args)
        _, change = jax.jvp(lambda args: jax.grad(f)(x, *args), (args,), (changes,))
        dx = -cholesky(hessian.matrix(x, *args)).solve(change)
        return (x, ending), (dx, jax.tree.map(_no_change, ending))

    return minimize


def _no_change(y: jax.Array) -> Any:
    """Return the tangent of a constant."""
    real = jnp.issubdtype(y.dtype, jnp.floating)
    return jnp.zeros_like(y) if real else cast("Any", np.zeros(y.shape, jax.dtypes.float0))


def _iterate(f, hessian, start, args, *, tol, maxiter):
    """Take damped steps, the last of which promised next to nothing."""

    def step(state):
        x, value, _, _, count = state
        gradient = jax.grad(f)(x, *args)
        direction, definite = _direction(hessian.matrix(x, *args), gradient)
        promised = -gradient @ direction / 2
        x, value = _search(f, args, x, value, direction, promised)
        small = jnp.abs(promised) <= tol * (1 + jnp.abs(value))
        return x, value, definite & small & jnp.isfinite(value), definite, count + 1

    def unfinished(state):
        _, value, settled, _, count = state
        return ~settled & (count < maxiter) & jnp.isfinite(value)

    first = step((start, f(start, *args), False, False, 0))
    x, value, settled, definite, count = jax.lax.while_loop(unfinished, step, first)
    gradient = jax.grad(f)(x, *args)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
    reasons = [(settled, FTOL), (~finite, NOT_FINITE), (~definite, SINGULAR)]
    conditions, values = zip(*reasons, strict=True)
    status = jnp.select(conditions, values, MAXITER)
    return x, Ending(status, jnp.asarray(count), jnp.max(jnp.abs(gradient), initial=0.0))


def _direction(M: SymmetricMatrix | LowRankMatrix, gradient):
    """Return Newton's direction, and whether the Hessian is positive definite.

    If it is not, multiples of the identity are added until the direction is one of descent.
    """
    unit = 1e-6 * (1 + jnp.max(jnp.abs(M.diagonal()), initial=0.0))

    def solved(shift):
        F = cholesky(_shifted(M, shift))
        return F.ok, -F.solve(gradient)

    def raised(state):
        _, _, shift, count = state
        shift = jnp.maximum(10 * shift, unit)
        return *solved(shift), shift, count + 1

    first = (*solved(jnp.zeros_like(unit)), jnp.zeros_like(unit), 0)
    _, direction, shift, _ = jax.lax.while_loop(lambda s: ~s[0] & (s[3] < SHIFTS), raised, first)
    return direction, shift == 0


def _shifted(M, shift):
    """Add a multiple of the identity."""
    if isinstance(M, LowRankMatrix):
        return M._replace(matrix=_shifted(M.matrix, shift))
    return M.with_values(M.values.at[M.pattern.indptr[:-1]].add(shift))


def _search(f, args, x, value, direction, promised):
    """Halve the step until f decreases by a part of what the step promises."""
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
