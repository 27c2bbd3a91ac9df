"""Minimize sums of squares with sparse Jacobians, with derivatives of the implicit function."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from scipy.sparse import csc_array

from .._exceptions import NotPositiveDefiniteError
from .._typing import OrderingLike
from ..coloring._pattern import symmetrized
from ._compat import is_concrete
from ._factor import Factor, cholesky
from ._matrix import SymmetricMatrix
from ._gram import gram
from ._sparse_derivatives import sparse_hessian, sparse_jacobian
from ._trust_region import METHODS, Model, scale_of
from ._typing import Pytree

LOSSES: dict[str, Callable] = {
    "linear": lambda z: z,
    "soft_l1": lambda z: 2 * (jnp.sqrt(1 + z) - 1),
    "huber": lambda z: jnp.where(z <= 1, z, 2 * jnp.sqrt(jnp.maximum(z, 1)) - 1),
    "cauchy": jnp.log1p,
    "arctan": jnp.arctan,
}

# Why the iteration ended; positive where it found a minimum. The first four are SciPy's.
MAXITER, GTOL, FTOL, XTOL = 0, 1, 2, 3
NOT_FINITE, SINGULAR = -1, -2
RUNNING = -9
MESSAGES = {
    MAXITER: "the largest number of iterations was reached",
    GTOL: "the gradient is small enough (gtol)",
    FTOL: "the cost changes little enough (ftol)",
    XTOL: "the step is small enough (xtol)",
    NOT_FINITE: "residuals or their derivatives are not finite: x is the last good point",
    SINGULAR: "J^T J is singular: some parameters are free",
}


@dataclass(frozen=True)
class Parameters:
    """The layout of a pytree of parameters in one vector, and their names for messages."""

    tree: Any
    paths: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, x: Pytree) -> "Parameters":
        """Read the layout of a pytree of arrays."""
        found, tree = jax.tree_util.tree_flatten_with_path(x)
        paths = tuple(jax.tree_util.keystr(path) for path, _ in found)
        return cls(tree, paths, tuple(np.shape(leaf) for _, leaf in found))

    @property
    def size(self) -> int:
        """Number of elements of the vector."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def unravel(self, vector: jax.Array) -> Pytree:
        """Return the pytree of a vector."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        parts = jnp.split(vector, ends[:-1])
        leaves = [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return jax.tree.unflatten(self.tree, leaves)

    def name(self, k: int) -> str:
        """Return the name of element k of the vector, such as ``x['poses'][3, 0]``."""
        for path, shape in zip(self.paths, self.shapes, strict=True):
            size = int(np.prod(shape))
            if k < size:
                at = ", ".join(map(str, np.unravel_index(k, shape)))
                return f"x{path}[{at}]" if at else f"x{path}"
            k -= size
        raise IndexError(k)

    def named(self, numbers, most: int = 6) -> str:
        """Name the first of some elements."""
        numbers = sorted(map(int, numbers))
        names = ", ".join(self.name(k) for k in numbers[:most])
        return names + (f" and {len(numbers) - most} more" if len(numbers) > most else "")


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "cost", "status", "iterations", "information"),
    meta_fields=("_parameters",),
)
@dataclass(frozen=True)
class LeastSquares:
    """Result of `least_squares`, a pytree.

    Attributes
    ----------
    x : pytree of arrays
        The solution, a pytree like `x0`.
    cost : jax.Array
        ``C^2 / 2 sum(rho((r / C)^2))`` at x, with residuals r and ``f_scale`` C; half the sum of
        squares if the loss is linear.
    status : int array
        Why the iteration ended: the gradient (1), the cost (2) or the step (3) is small enough, as
        in SciPy; 0 after `maxiter` iterations; -1 where residuals or derivatives are not finite;
        -2 where ``J^T J`` is singular.
    iterations : int array
        Steps that were tried.
    information : SymmetricMatrix
        ``J^T W J`` at x, with the weights W of the loss: the precision matrix of the normal
        approximation of x (of the change of x, where there is a retraction) if residuals have
        variance one.
    """

    x: Pytree
    cost: jax.Array
    status: jax.Array
    iterations: jax.Array
    information: SymmetricMatrix
    _parameters: Parameters

    @property
    def converged(self) -> jax.Array:
        """True where a minimum was found."""
        return self.status > 0

    @property
    def message(self) -> str:
        """Why the iteration ended, in words; outside of transformations."""
        return MESSAGES[int(self.status)]

    def _factor(self) -> Factor:
        F = cholesky(self.information)
        if is_concrete(self.information.values) and F.ok.ndim == 0 and not F.ok:
            raise_singular(self.information, self._parameters)
        return F

    def standard_errors(self) -> Pytree:
        """Compute the standard errors of all parameters.

        Returns
        -------
        pytree of arrays
            Like `x0`, or like `tangent`: roots of the diagonal of the inverse of `information`.
            Multiply by ``sqrt(2 * cost / (m - n))`` where the variance of the m residuals of n
            parameters is not known to be one.

        Raises
        ------
        NotPositiveDefiniteError
            Outside of transformations, if the parameters are not determined. It names them.
            Inside, the result is NaN.

        Notes
        -----
        Differentiable any number of times, like `covariance_blocks`.
        """
        return self._parameters.unravel(jnp.sqrt(self._factor().diag_inverse()))

    def covariance_blocks(self, i: ArrayLike, j: ArrayLike) -> jax.Array:
        """Compute blocks of the covariance matrix of the parameters.

        Parameters
        ----------
        i, j : (..., p) and (..., q) array_like of int, static
            Numbers of parameters in the order of `jax.tree.leaves`, each of them raveled: rows and
            columns of each block. Leading axes are broadcast. For an array x0 of shape (N, d),
            those of rows a are ``np.arange(N * d).reshape(N, d)[a]``.

        Returns
        -------
        (..., p, q) jax.Array
            Entries of the inverse of `information`.

        Raises
        ------
        NotPositiveDefiniteError
            See `standard_errors`.
        IndexError
            If a number is no parameter.
        """
        i, j = np.asarray(i), np.asarray(j)
        if not (i.ndim and j.ndim):
            raise ValueError(f"i and j have shapes {i.shape} and {j.shape}: (..., p) is needed")
        return self._factor().inverse_entries(i[..., :, None], j[..., None, :])


def raise_singular(M: SymmetricMatrix, parameters: Parameters) -> None:
    """Raise an error that names the parameters that are not determined."""
    try:
        M.pattern.factorize(np.asarray(M.values))
    except NotPositiveDefiniteError as error:
        rows = error.rows or (error.row or 0,)
        together = "can move together" if len(rows) > 1 else "can move"
        text = (
            f"the residuals do not determine all parameters: {parameters.named(rows)} {together}"
            " and change no residual to first order. Fix some of them, or add residuals that say"
            " what is known of them (a prior); method='lm' finds a solution without that, which has"
            " no covariances"
        )
        raise NotPositiveDefiniteError(text, error.row, error.pivot, None, tuple(rows)) from None
    except ValueError:  # not finite: the status says it
        return


def least_squares(
    residual: Callable[..., Pytree],
    x0: Pytree,
    *args: Pytree,
    method: Literal["lm", "gn", "dogleg"] = "lm",
    loss: str | Callable[[jax.Array], jax.Array] = "linear",
    f_scale: float | jax.Array = 1.0,
    ftol: float | None = None,
    xtol: float | None = None,
    gtol: float | None = None,
    maxiter: int = 100,
    retract: Callable[[Pytree, Pytree], Pytree] | None = None,
    tangent: Pytree = None,
    ordering: OrderingLike = "auto",
) -> LeastSquares:
    """Minimize a sum of squares, or of a robust loss, with a sparse Jacobian.

    Parameters
    ----------
    residual : callable
        ``residual(x, *args)`` returns a real floating point array of any shape, or a pytree of
        them. Indices that say which parameters a residual has (the edges of a graph) must be
        constants of the function; an index among `args` may take any value, and makes the Jacobian
        dense.
    x0 : pytree of arrays
        The starting point.
    *args : pytrees of arrays
        Further arguments of `residual`. The solution is differentiable in them, and in the
        variables of the closure of `residual`.
    method : {'lm', 'gn', 'dogleg'}, optional
        Steps of Levenberg and Marquardt, of Gauss and Newton, or Powell's dogleg.
    loss : {'linear', 'soft_l1', 'huber', 'cauchy', 'arctan'} or callable, optional
        The function rho of `scipy.optimize.least_squares`, applied to the square of each residual
        over `f_scale`. A callable returns ``rho(z)`` of an array z; JAX differentiates it.
    f_scale : float or scalar array, optional
        The size of residuals from which on a robust loss counts less. Where a robust loss has many
        minima, solve with a large one first, and go on from there with smaller ones.
    ftol, xtol, gtol : float, optional
        The iteration ends where a step changes, and promises to change, the cost by at most
        ``ftol * cost``; where its length is at most ``xtol * (xtol + norm(x))``; where the gradient
        is at most `gtol`. By default the root of the rounding unit, 1.5e-8 in double precision.
    maxiter : int, optional
        Most steps that are tried.
    retract : callable, optional
        ``retract(x, d)`` moves the point x by a small change d, say that of a rotation; then d, and
        not a difference of points, is what a step computes. ``retract(x, 0)`` is x. By default
        ``x + d``.
    tangent : pytree of arrays, optional
        Zeros of the shapes of a change d, if these are not the shapes of `x0`.
    ordering : optional
        The fill-reducing ordering of ``J^T J``, see `sparsechol.analyze`.

    Returns
    -------
    LeastSquares
        ``x``, ``cost``, ``converged``, ``status``, ``iterations`` and the ``information`` matrix,
        from which ``standard_errors()`` and ``covariance_blocks(i, j)`` come. The derivatives of x
        in `args`, of every order and in both modes, are those of the implicit function. They take
        the exact Hessian of the cost, and each costs a solve.

    Raises
    ------
    ValueError
        If no residual depends on one of the parameters, which is named; or a name is unknown.
    TypeError
        If parameters or residuals are not real floating point numbers.
    NotPositiveDefiniteError
        Outside of transformations, if ``J^T J`` is singular where 'gn' or 'dogleg' need its
        inverse. The error names the parameters that are free. Inside, `status` is -2.

    Notes
    -----
    The pattern of the Jacobian J is found and colored, and that of ``J^T W J`` analyzed, once for
    each trace: use `jax.jit` for a function that is called often, and `jax.vmap` for many problems.
    W are the weights ``rho'((r / f_scale)^2)`` of the residuals (iteratively reweighted least
    squares), so that ``J^T W J`` is never indefinite. A step to a point whose residuals are not
    finite is not taken.

    Examples
    --------
    Fit a decay through three points, and see how its rate follows the first of them:

    >>> import jax, jax.numpy as jnp, numpy as np, sparsechol.jax as scj
    >>> t = np.array([0.0, 1.0, 2.0])
    >>> residual = lambda x, y: x[0] * jnp.exp(-x[1] * t) - y
    >>> fit = lambda y: scj.least_squares(residual, jnp.array([1.0, 0.0]), y).x
    >>> y = jnp.array([2.0, 1.0, 0.5])
    >>> print(np.asarray(fit(y)).round(4))
    [2.     0.6931]
    >>> print(np.asarray(jax.jacobian(fit)(y)[1]).round(3))
    [ 0.333 -0.5   -0.667]
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {tuple(METHODS)}, not {method!r}")
    if not callable(loss) and loss not in LOSSES:
        raise ValueError(f"loss must be one of {tuple(LOSSES)} or a function, not {loss!r}")
    rho = loss if callable(loss) else LOSSES[loss]
    problem = Problem(residual, x0, args, (rho, f_scale), (retract, tangent), ordering)
    root = float(jnp.finfo(problem.start.dtype).eps) ** 0.5
    tolerances = tuple(root if tol is None else float(tol) for tol in (ftol, xtol, gtol))
    minimize = _implicit(problem, method, tolerances, int(maxiter))
    (x, cost, values), (status, iterations) = minimize(problem.start, problem.args)
    information = SymmetricMatrix(problem.gram.pattern, values)
    if is_concrete(status) and status == SINGULAR:
        raise_singular(information, problem.parameters)
    x = problem.unravel(x)
    return LeastSquares(x, cost, status, iterations, information, problem.parameters)


class Problem:
    """Residuals as a function of a change d of a point x, with their sparse Jacobian in d at zero.

    All functions are of vectors: points x and changes d are raveled.

    Attributes
    ----------
    start : jax.Array
        The first point.
    args : tuple
        Four: the arguments of the residuals, with the variables of their closure; the variables of
        the closures of the retraction and of the loss; and `f_scale`.
    zero : ndarray
        No change.
    parameters : Parameters
        The layout of a change.
    """

    def __init__(self, residual, x0, args, loss, chart, ordering):
        (rho, f_scale), (retract, tangent) = loss, chart
        x, self.unravel = ravel_pytree(x0)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"x0 has type {x.dtype}: real floating point numbers are needed")
        self.start = jax.lax.stop_gradient(x)
        self.parameters = Parameters.of(x0 if tangent is None else tangent)
        self.zero = np.zeros(self.parameters.size, x.dtype)
        if retract is None and self.zero.shape != x.shape:
            raise ValueError("tangent without retract must have the shapes of x0")

        def moved(x, d):
            if retract is None:
                return x + d
            return ravel_pytree(retract(self.unravel(x), self.parameters.unravel(d)))[0]

        def residuals(d, x, *args):
            return ravel_pytree(residual(self.unravel(moved(x, d)), *args))[0]

        self._moved, of_moved = jax.closure_convert(moved, x, self.zero)
        residuals, consts = jax.closure_convert(residuals, self.zero, x, *args)
        self._residuals = jax.jit(residuals)
        r = jax.eval_shape(self._residuals, self.zero, x, *args, *consts)
        self._rho, of_rho = jax.closure_convert(rho, r)
        f_scale = jnp.asarray(f_scale, x.dtype)
        self.args = ((*args, *consts), tuple(of_moved), tuple(of_rho), f_scale)
        self._jacobian = sparse_jacobian(self._residuals, self.zero, x, *self.args[0])
        self._check_columns()
        self.gram = gram(self._jacobian, ordering=ordering)

    def _check_columns(self):
        """Refuse parameters without residuals."""
        free = np.flatnonzero(np.diff(self._jacobian.sparsity.indptr) == 0)
        if free.size:
            raise ValueError(
                f"no residual depends on {self.parameters.named(free)}: leave these parameters out,"
                " or add residuals that say what is known of them"
            )

    def moved(self, x, d, args):
        """Return the point x moved by d."""
        return self._moved(x, d, *args[1])

    def cost(self, d, x, args):
        """Return the cost at a point x moved by d."""
        z = (self._residuals(d, x, *args[0]) / args[3]) ** 2
        return 0.5 * args[3] ** 2 * jnp.sum(self._rho(z, *args[2]))

    def gradient(self, x, args):
        """Return the gradient of the cost in d at zero."""
        return jax.grad(self.cost)(self.zero, x, args)

    def matrix(self, x, args) -> SymmetricMatrix:
        """Return ``J^T W J`` at a point, with the weights ``rho'``."""
        z = (self._residuals(self.zero, x, *args[0]) / args[3]) ** 2
        _, pull = jax.vjp(lambda z: self._rho(z, *args[2]), z)
        a = self._jacobian.values(self.zero, x, *args[0])
        return self.gram.values(self.gram.from_columns(a), *pull(jnp.ones_like(z)))

    def hessian(self, x, args) -> SymmetricMatrix:
        """Return the Hessian of the cost in d at zero."""
        P = self.gram.pattern
        lower = csc_array((np.ones(len(P.indices), np.int8), P.indices, P.indptr), shape=P.shape)
        point = self.zero, x, args
        H = sparse_hessian(self.cost, *point, sparsity=symmetrized(lower), ordering=P.perm)
        return H.matrix(*point)


def _implicit(problem: Problem, method, tolerances, maxiter):
    """Return the solution as a function of the arguments, with its derivative.

    Beside x are the cost and the matrix there: the iteration knows them.
    """

    @jax.custom_jvp
    def minimize(start, args):
        last = _iterate(problem, METHODS[method], start, args, tolerances, maxiter)
        model = last.model
        return (last.x, model.cost, model.matrix.values), (last.status, last.count)

    def there(x, args):
        return problem.cost(problem.zero, x, args), problem.matrix(x, args).values

    @minimize.defjvp
    def _(primals, tangents):
        (start, args), (_, changes) = primals, tangents
        results, counts = minimize(start, args)
        x = results[0]
        _, change = jax.jvp(lambda args: problem.gradient(x, args), (args,), (changes,))
        d = -cholesky(problem.hessian(x, args)).solve(change)
        _, dx = jax.jvp(lambda d: problem.moved(x, d, args), (problem.zero,), (d,))
        _, others = jax.jvp(there, (x, args), (dx, changes))
        none = cast("Any", np.zeros((), jax.dtypes.float0))  # the tangent of an integer
        return (results, counts), ((dx, *others), (none, none))

    return minimize


class State(NamedTuple):
    """What the iteration carries.

    Attributes
    ----------
    x : jax.Array
        The last point that was accepted.
    model, solved : Model, and what the method computes from it
        Those of x, or of the point before if `fresh`.
    control
        What the method carries.
    cost : jax.Array
        The cost at x.
    fresh : bool array
        True if x is new.
    status, count : int arrays
    """

    x: jax.Array
    model: Model
    solved: Any
    control: Any
    cost: jax.Array
    fresh: jax.Array
    status: jax.Array
    count: jax.Array


def _model(problem, x, cost, scale, args) -> Model:
    """Return the quadratic model at a point."""
    M = problem.matrix(x, args)
    return Model(cost, problem.gradient(x, args), M, scale_of(M, scale))


def _iterate(problem, method, start, args, tolerances, maxiter) -> State:
    """Take steps until one of the tolerances holds.

    The model is computed in one place of the program, at the head of the loop: compiling it takes
    longer than anything else. The loop ends when the model of the last point is known.
    """
    _, _, gtol = tolerances

    def look(state):
        """Compute the model of a new point, and see whether it is the last one."""
        before = jnp.where(state.count > 0, state.model.scale, 0)
        model = _model(problem, state.x, state.cost, before, args)
        finite = jnp.isfinite(model.cost) & jnp.all(jnp.isfinite(model.matrix.values))
        flat = jnp.max(jnp.abs(model.gradient), initial=0.0) <= gtol
        status = jnp.where(flat & (state.status == RUNNING), GTOL, state.status)
        return state._replace(
            model=model,
            solved=method.solved(model),
            fresh=jnp.zeros_like(state.fresh),
            status=jnp.where(finite, status, NOT_FINITE),
        )

    def turn(state):
        state = jax.lax.cond(state.fresh, look, lambda state: state, state)
        ended = (state.status != RUNNING) | (state.count >= maxiter)
        attempt = partial(_attempt, problem, method, args, tolerances)
        return jax.lax.cond(ended, lambda state: state, attempt, state)

    def unfinished(state):
        return state.fresh | ((state.status == RUNNING) & (state.count < maxiter))

    cost = problem.cost(problem.zero, start, args)
    P, none = problem.gram.pattern, jnp.asarray(problem.zero)
    nothing = Model(cost, none, SymmetricMatrix(P, jnp.zeros(len(P.indices), none.dtype)), none)
    count = jnp.zeros((), int)
    first = State(
        start,
        nothing,
        jax.tree.map(jnp.zeros_like, jax.eval_shape(method.solved, nothing)),
        method.begin(cost),
        cost,
        jnp.ones((), bool),
        jnp.full_like(count, RUNNING),
        count,
    )
    last = jax.lax.while_loop(unfinished, turn, first)
    return last._replace(status=jnp.where(last.status == RUNNING, MAXITER, last.status))


def _attempt(problem, method, args, tolerances, state) -> State:
    """Try a step: take it, or let the method learn from it."""
    ftol, xtol, _ = tolerances
    x, model = state.x, state.model
    step, promise, ok = method.propose(model, state.solved, state.control)
    there = problem.moved(x, step, args)
    cost = problem.cost(problem.zero, there, args)
    change, finite = model.cost - cost, jnp.isfinite(cost)
    # Where the cost changes by rounding alone it says nothing of the step.
    rounding = 10 * jnp.finfo(cost.dtype).eps * model.cost
    blind = (promise <= rounding) & (jnp.abs(change) <= rounding)
    gain = jnp.where(blind, 1, change / promise)
    taken = ok & finite & ((gain > 0) | (not method.descends))

    small = ftol * jnp.maximum(model.cost, jnp.finfo(cost.dtype).tiny)
    short = jnp.linalg.norm(step) <= xtol * (xtol + jnp.linalg.norm(x))
    reasons = [
        (~ok & (not method.adapts), SINGULAR),
        (ok & ~finite & (short | (not method.descends)), NOT_FINITE),
        (ok & (promise <= small) & (jnp.abs(change) <= small), FTOL),
        (ok & short, XTOL),
    ]
    conditions, values = zip(*reasons, strict=True)
    return state._replace(
        x=jnp.where(taken, there, x),
        control=method.adapt(model, state.control, step, jnp.where(ok, gain, jnp.nan)),
        cost=jnp.where(taken, cost, state.cost),
        fresh=taken,
        status=jnp.select(conditions, values, RUNNING),
        count=state.count + 1,
    )
