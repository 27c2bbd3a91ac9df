"""Damped Newton steps toward a minimum: the rules, which the searches of all frameworks share.

A step d from x solves ``(H + damping diag(s)) d = -gradient`` (Levenberg 1944, Marquardt 1963). It
promises the decrease of the quadratic model, and is taken if f gains a part of that. The damping is
carried from step to step, by the gain: less after a good step, none where it is little; more after
a step that was refused, or where the matrix is not positive definite.

The scale s of a row is what it lacks to be dominated by its diagonal, and a small part of the sum
of its magnitudes. So a damping of one always makes the matrix positive definite (Gershgorin, 1931),
and where a density is not concave in some of its unknowns, the others are hardly damped.

Arrays are those of a framework, whose module of functions is `xp`.
"""

from typing import Any, NamedTuple

from ._status import FTOL, MAXITER, NOT_FINITE, SINGULAR, STUCK

DOMINATED = 1e-2  # part of a scale that a row has which lacks nothing
NOWHERE = 1e-8  # the scale of a row of zeros

SUFFICIENT = 1e-4  # least part of the promise with which a step is taken
POOR, GOOD = 0.25, 0.75  # parts of the promise: below the damping rises, above it falls
FIRST = 0.1  # the damping after the first step that was refused
GROWTH = 4  # of the damping where a step is refused; twice as much the next time
FALL = 5  # of the damping after a good step
LEAST = 1e-4  # the smallest damping but none
AGAIN = 0.1  # part of the last damping with which to begin again
SMALLEST = 1e-8  # with which to begin again
MOST = 1e10  # the damping at which a search ends
IDLE = 10  # steps in a row that promise nothing, where the Hessian is not positive definite
ROUNDINGS = 100  # of f: it says nothing of a step that promises less


class Damping(NamedTuple):
    """What is carried from step to step.

    Attributes
    ----------
    now : array
        The damping of the next step.
    again : array
        That with which to begin where a step without any is refused.
    growth : array
        By how much it grows if the next step is refused.
    """

    now: Any
    again: Any
    growth: Any


class State(NamedTuple):
    """Where a search stands.

    Attributes
    ----------
    x, value : array
        The last point that was accepted, and f there.
    damping : Damping
    taken, settled : bool array
        Whether the last step was taken; whether it was the last one, without damping.
    definite : bool array
        Whether the Hessian was positive definite when it was last tried without damping.
    idle, count : int array
        Steps in a row that promised next to nothing; steps that were tried.
    """

    x: Any
    value: Any
    damping: Damping
    taken: Any
    settled: Any
    definite: Any
    idle: Any
    count: Any


def begin(x: Any, value: Any, no: Any, none: Any) -> State:
    """Return the state at the starting point, given a false and a zero of the framework."""
    zero = 0 * value
    return State(x, value, Damping(zero, zero + FIRST, zero + GROWTH), no, no, no, none, none)


def scale(xp: Any, rows: Any, diagonal: Any) -> Any:
    """Return the scale of each row, given the sum of its magnitudes and its diagonal entry."""
    lack = xp.maximum(rows - abs(diagonal) - diagonal, 0)
    return lack + DOMINATED * rows + NOWHERE


def after(
    xp: Any, state: State, x: Any, value: Any, promised: Any, ok: Any, *, tol: float, eps: float
) -> State:
    """Return the state after a step was tried.

    Parameters
    ----------
    xp : module
    state : State
        Before.
    x, value : array
        Where the step leads, and f there.
    promised : array
        How much lower the quadratic model is there.
    ok : bool array
        Whether the damped matrix was positive definite.
    tol : float
        A step is small that promises at most ``tol * (1 + abs(f))``.
    eps : float
        The rounding unit.

    Returns
    -------
    State
    """
    now, again, growth = state.damping
    size = abs(state.value)
    small = ok & (promised <= tol * (1 + size))
    # Where f changes by rounding alone it says nothing of the step. NaN is refused.
    blind = (promised <= ROUNDINGS * eps * (x.shape[0] + size)) & xp.isfinite(value)
    change = state.value - value
    taken = ok & (blind | (change >= SUFFICIENT * promised))
    good = blind | (change >= GOOD * promised)
    less = xp.where(good, now / FALL, xp.where(change < POOR * promised, 2 * now, now))
    less = xp.where(small | (less < LEAST), 0, less)
    last = xp.maximum(AGAIN * now, SMALLEST)
    following = Damping(
        xp.where(taken, less, xp.maximum(now * growth, again)),
        xp.where(taken & (now > 0), last, again),
        xp.where(taken, GROWTH, 2 * growth),
    )
    return State(
        xp.where(taken, x, state.x),
        xp.where(taken, value, state.value),
        following,
        taken,
        taken & small & (now <= 0),
        xp.where(now > 0, state.definite, ok),
        xp.where(taken, xp.where(small, state.idle + 1, 0), state.idle),
        state.count + 1,
    )


def ended(xp: Any, state: State, maxiter: Any) -> Any:
    """Say whether the search is over."""
    hopeless = (state.damping.now > MOST) | (state.idle >= IDLE) | ~xp.isfinite(state.value)
    return state.settled | hopeless | (state.count >= maxiter)


def status(xp: Any, state: State, gradient: Any) -> Any:
    """Say why it is over, given the gradient at the last point."""
    finite = xp.isfinite(state.value) & xp.all(xp.isfinite(gradient))
    reason = xp.where(state.damping.now > MOST, STUCK, MAXITER)
    reason = xp.where(state.definite, reason, SINGULAR)
    return xp.where(state.settled, FTOL, xp.where(finite, reason, NOT_FINITE))
