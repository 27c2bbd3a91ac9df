"""Minimize sums of squares with sparse Jacobians, with derivatives of the implicit function."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from .._exceptions import NotPositiveDefiniteError
from .._status import FTOL, GTOL, MAXITER, NOT_FINITE, SINGULAR, XTOL
from .._typing import OrderingLike
from ._compat import is_concrete
from ._factor import Factor, cholesky
from ._matrix import SymmetricMatrix, static_numbers
from ._outcome import Outcome
from ._parameters import Parameters
from ._residuals import LOSSES, Problem
from ._trust_region import METHODS, iterate
from ._typing import Pytree

MESSAGES = {
    MAXITER: "the largest number of iterations was reached",
    GTOL: "the gradient is small enough (gtol)",
    FTOL: "the cost changes little enough (ftol)",
    XTOL: "the step is small enough (xtol)",
    NOT_FINITE: "residuals or their derivatives are not finite: x is the last good point",
    SINGULAR: "J^T J is singular: some parameters are free",
}


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("x", "cost", "status", "iterations", "information"),
    meta_fields=("_parameters",),
)
@dataclass(frozen=True)
class LeastSquares(Outcome):
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
    _parameters: Parameters = field(repr=False)

    _messages = MESSAGES

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
        i, j = static_numbers(i, "i"), static_numbers(j, "j")
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
        The starting point, real floating point. All is computed in its type.
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
        ``ftol * cost``; where its length is at most ``xtol * (xtol + norm(x))``, also in units in
        which all parameters count the same; where no entry of the gradient is larger than `gtol`,
        an absolute number. By default the root of the rounding unit of the type of `x0`, 1.5e-8 in
        double precision.
    maxiter : int, optional
        Most steps that are tried.
    retract : callable, optional
        ``retract(x, d)`` moves the point x by a small change d, say that of a rotation; then d, and
        not a difference of points, is what a step computes. It returns a point of the structure and
        shapes of `x0`. ``retract(x, 0)`` is x. By default ``x + d``.
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
        If no residual depends on one of the parameters, which is named; if a name is unknown; if
        `retract` returns no point like `x0`; if `f_scale` is no positive number, where it is known.
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
    [ 0.364 -0.455 -0.545]
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {tuple(METHODS)}, not {method!r}")
    if not callable(loss) and loss not in LOSSES:
        raise ValueError(f"loss must be one of {tuple(LOSSES)} or a function, not {loss!r}")
    rho = loss if callable(loss) else LOSSES[loss]
    problem = Problem(residual, x0, args, (rho, f_scale), (retract, tangent), ordering)
    root = float(jnp.finfo(problem.zero.dtype).eps) ** 0.5
    tolerances = tuple(root if tol is None else float(tol) for tol in (ftol, xtol, gtol))
    minimize = _implicit(problem, method, tolerances, int(maxiter))
    (x, cost, values), (status, iterations) = minimize(*problem.release())
    information = SymmetricMatrix(problem.gram.pattern, values)
    if is_concrete(status) and status == SINGULAR:
        raise_singular(information, problem.parameters)
    x = problem.unravel(x)
    return LeastSquares(x, cost, status, iterations, information, problem.parameters)


def _implicit(problem: Problem, method, tolerances, maxiter):
    """Return the solution as a function of the arguments, with its derivative.

    Beside x are the cost and the matrix there: the iteration knows them.
    """

    @jax.custom_jvp
    def minimize(start, args):
        last = iterate(problem, METHODS[method], start, args, tolerances, maxiter)
        model = last.model
        return (last.x, model.cost, model.matrix.values), (last.status, last.count)

    def there(x, args):
        return problem.cost(problem.zero, x, args), problem.normal_equations(x, args)[0].values

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
