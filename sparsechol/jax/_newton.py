"""Minimize by Newton's method on sparse Hessians, with derivatives of the implicit function."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from .._damping import DOMINATED, after, begin, ended, scale, status
from .._status import NEWTON
from .._typing import OrderingLike
from ._dense_sums import SplitHessian, split_hessian
from ._factor import cholesky
from ._low_rank import LowRankMatrix
from ._matrix import SymmetricMatrix
from ._outcome import Outcome
from ._parameters import Parameters, raveled_start
from ._sparse_hessians import SparseHessian, sparse_hessian
from ._typing import Pytree


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
        or its derivatives are not finite, -2 where the Hessian is not positive definite, -3 where
        no step helps.
    iterations : int array
        Steps that were tried.
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
    """Minimize a function with a sparse Hessian by damped Newton steps.

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
        Most steps that are tried.
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
    a function that is called often. Where a step does not gain enough, or the Hessian is not
    positive definite, its diagonal is raised (Levenberg 1944, Marquardt 1963), mostly in the rows
    that are not dominated by it. How much is carried from step to step, so that f need not be
    convex away from its minimum.

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
    rules = {"tol": tol, "eps": float(jnp.finfo(start.dtype).eps)}

    def step(state):
        """Try steps from a point until one is taken."""
        gradient, M = jax.grad(f)(state.x, *args), hessian.matrix(state.x, *args)
        scale = _scale(M)

        def attempt(state):
            damping = state.damping.now
            F = cholesky(_with_diagonal(M, damping * scale))
            d = -F.solve(gradient)
            promised = (damping * jnp.sum(scale * d**2) - gradient @ d) / 2
            there = state.x + d
            return after(jnp, state, there, f(there, *args), promised, F.ok, **rules)

        def refused(state):
            return ~state.taken & unfinished(state)

        return jax.lax.while_loop(refused, attempt, state._replace(taken=no))

    def unfinished(state):
        return ~ended(jnp, state, maxiter)

    no, none = jnp.zeros((), bool), jnp.zeros((), int)
    first = begin(start, f(start, *args), no, none)
    last = jax.lax.while_loop(unfinished, step, first)
    gradient = jax.grad(f)(last.x, *args)
    norm = jnp.max(jnp.abs(gradient), initial=0.0)
    return last.x, Ending(status(jnp, last, gradient), last.count, norm)


def _scale(M: SymmetricMatrix | LowRankMatrix):
    """Return by how much each row is damped."""
    if isinstance(M, LowRankMatrix):
        correction = M.diagonal() - M.matrix.diagonal()
        return _scale(M.matrix) + DOMINATED * jnp.abs(correction)
    rows = M.with_values(jnp.abs(M.values)) @ jnp.ones(M.shape[0], M.dtype)
    return scale(jnp, rows, M.diagonal())


def _with_diagonal(M, added):
    """Add to the diagonal."""
    if isinstance(M, LowRankMatrix):
        return M._replace(matrix=_with_diagonal(M.matrix, added))
    return M.with_values(M.values.at[M.pattern.indptr[:-1]].add(added))
