"""Steps of nonlinear least squares: Levenberg-Marquardt, Gauss-Newton, and Powell's dogleg.

`Model` holds what is known at a point. A control is what a method carries from step to step: the
damping, or the radius of the trust region. A method is four functions:

    begin(cost)                       the first control
    solved(model)                     what is computed once for each accepted point
    propose(model, solved, control)   a step, by how much it promises to lower the cost, and
                                      whether the matrix could be factored
    adapt(model, control, step, gain) the control after a step that gained so much of its promise

Levenberg and Marquardt's damping follows Nielsen, H. B. (1999). Damping parameter in Marquardt's
method. IMM, TU Denmark; its scale is that of Moré, J. J. (1978). The Levenberg-Marquardt algorithm:
implementation and theory. For the dogleg see Powell, M. J. D. (1970). A hybrid method for nonlinear
equations.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .._status import FTOL, GTOL, MAXITER, NOT_FINITE, SINGULAR, XTOL
from ._factor import cholesky
from ._matrix import SymmetricMatrix

RUNNING = -9  # the status while no reason to end is known

DAMPING = 1e-8  # of the first step, in units of the scale: nearly Gauss and Newton
LARGEST_DAMPING = 1e30


class Model(NamedTuple):
    """The model ``cost + g^T d + d^T A d / 2`` of the cost at a point, and the scale D."""

    cost: jax.Array
    gradient: jax.Array
    matrix: SymmetricMatrix
    scale: jax.Array


class Method(NamedTuple):
    """The functions of a method; see the head of this file."""

    begin: Callable[..., Any]
    solved: Callable[..., Any]
    propose: Callable[..., Any]
    adapt: Callable[..., Any]
    descends: bool = True  # whether a step that raises the cost is refused
    adapts: bool = False  # whether a matrix that cannot be factored is no end


def scale_of(M: SymmetricMatrix, before: jax.Array) -> jax.Array:
    """Return the scale of the parameters: the largest diagonal of A so far, and nowhere zero.

    A parameter whose column of J is zero does not move. It has the scale of the one that is least
    determined, any positive number, so that parameters may have units of any size.

    Returns
    -------
    (n,) jax.Array
    """
    diagonal = M.diagonal()
    least = jnp.min(jnp.where(diagonal > 0, diagonal, jnp.inf), initial=jnp.inf)
    scale = jnp.where(diagonal > 0, diagonal, jnp.where(jnp.isfinite(least), least, 1))
    return jnp.maximum(scale, before)


def _promise(model, step):
    """Return by how much the model is lower after a step."""
    return -(model.gradient @ step) - step @ (model.matrix @ step) / 2


def _nothing(*_):
    return ()


# ---- Levenberg and Marquardt ----


def _first_damping(cost):
    return jnp.full_like(cost, DAMPING), jnp.full_like(cost, 2)


def _damped_step(model, _, control):
    """Solve ``(A + damping D) step = -g``."""
    damping, _ = control
    M, added = model.matrix, damping * model.scale
    F = cholesky(M.with_values(M.values.at[M.pattern.indptr[:-1]].add(added)))
    step = -F.solve(model.gradient)
    return step, step @ (added * step - model.gradient) / 2, F.ok


def _next_damping(model, control, step, gain):
    """Divide by at most 10 after a good step; multiply by ever more after bad ones."""
    damping, growth = control
    good = gain > 0  # NaN is not
    less = damping * jnp.maximum(0.1, 1 - (2 * gain - 1) ** 3)
    more = jnp.minimum(damping * growth, LARGEST_DAMPING)
    return jnp.where(good, less, more), jnp.where(good, 2, 2 * growth)


# ---- Gauss and Newton ----


def _newton_step(model):
    F = cholesky(model.matrix)
    return -F.solve(model.gradient), F.ok


def _whole_step(model, newton, _):
    step, ok = newton
    return step, _promise(model, step), ok


# ---- Powell's dogleg ----


def _first_radius(cost):
    return jnp.full_like(cost, jnp.inf)


def _dogleg_step(model, newton, radius):
    """Go from steepest descent's minimum toward Gauss and Newton's step, as far as the radius."""
    newton, ok = newton
    downhill = -model.gradient / model.scale
    curvature = downhill @ (model.matrix @ downhill)
    slope = -(model.gradient @ downhill)
    cauchy = _ratio(slope, curvature) * downhill
    inner, outer = _length(model, cauchy), _length(model, newton)
    # The part of the way between both at which the length is the radius.
    between = newton - cauchy
    a, b = _product(model, between, between), _product(model, between, cauchy)
    c = jnp.maximum(jnp.where(jnp.isfinite(radius), radius, outer) ** 2 - inner**2, 0)
    root = jnp.sqrt(b**2 + a * c)
    part = jnp.where(b > 0, _ratio(c, b + root), _ratio(root - b, a))
    step = jnp.where(inner < radius, cauchy + part * between, _ratio(radius, inner) * cauchy)
    step = jnp.where(outer <= radius, newton, step)
    return step, _promise(model, step), ok


def _next_radius(model, radius, step, gain):
    length = _length(model, step)
    larger = jnp.where(gain > 0.75, jnp.maximum(radius, 3 * length), radius)
    return jnp.where(gain >= 0.25, larger, jnp.minimum(radius, length) / 4)  # NaN is smaller


def _ratio(a, b):
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


def _product(model, x, y):
    return x @ (model.scale * y)


def _length(model, x):
    return jnp.sqrt(_product(model, x, x))


METHODS = {
    "lm": Method(_first_damping, _nothing, _damped_step, _next_damping, adapts=True),
    "gn": Method(_nothing, _newton_step, _whole_step, _nothing, descends=False),
    "dogleg": Method(_first_radius, _newton_step, _dogleg_step, _next_radius),
}


# ---- the iteration ----


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
    M, gradient = problem.normal_equations(x, args)
    return Model(cost, gradient, M, scale_of(M, scale))


def iterate(problem, method, start, args, tolerances, maxiter) -> State:
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


def _short(problem, model, x, step, xtol):
    """Tell whether a step is short, also in units in which all parameters count the same."""
    short = jnp.linalg.norm(step) <= xtol * (xtol + jnp.linalg.norm(x))
    if not problem.flat:
        return short
    unit = jnp.sqrt(model.scale / jnp.max(model.scale, initial=0.0))
    return short & (jnp.linalg.norm(unit * step) <= xtol * (xtol + jnp.linalg.norm(unit * x)))


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
    short = _short(problem, model, x, step, xtol)
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
