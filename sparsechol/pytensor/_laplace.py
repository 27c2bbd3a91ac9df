"""Laplace approximation of an integral over a latent field, with exact derivatives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.gradient import disconnected_grad, disconnected_type, pullback
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.scan.utils import until
from pytensor.tensor.rewriting.basic import register_canonicalize

from .._status import MAXITER, NEWTON, NOT_FINITE, SINGULAR, STUCK, XTOL
from .._typing import OnUnknown, OrderingLike
from ._detect import check_floats, gradient
from ._graphs import Fixed, frontier, rebuilt
from ._matrix import SymmetricMatrix
from ._sparse_derivatives import Sparsity, sparse_hessian
from ._uncertainty import Uncertainty

SUFFICIENT = 1e-4  # least part of the promised gain with which a step is taken
GOOD = 0.75  # part of the promised gain from which the damping may fall
LEAST = 1 / 64  # smallest damping but none
MOST = 1e10  # damping at which the search ends
PATIENCE = 2  # steps that are taken after one that was refused before the damping falls


@dataclass(frozen=True)
class Laplace:
    """A Laplace approximation, as `laplace` returns it.

    Attributes
    ----------
    log_marginal : scalar variable
    mode : (n,) tensor variable
    precision : SymmetricMatrix
        Precision matrix of the normal approximation: the negative Hessian at the mode.
    status : scalar variable of int64
        Why the search for the mode ended: 3 at a mode, 0 after `maxiter` iterations; -1 where
        `logjoint` or its gradient are not finite, -2 where the negative Hessian is not positive
        definite, -3 where no step helps. What is NaN is so where it is not 3.
    iterations : scalar variable of int64
        Newton steps that were tried.
    gradient_norm : scalar variable
        The largest entry of the gradient of `logjoint` in x at the last point, without its sign. It
        has no derivative.
    """

    log_marginal: Variable
    mode: Variable
    precision: SymmetricMatrix
    status: Variable
    iterations: Variable
    gradient_norm: Variable
    _density: "Field" = field(repr=False)
    _givens: dict = field(repr=False)

    @property
    def converged(self) -> Variable:
        """True where a mode was found."""
        return pt.gt(self.status, 0)

    @staticmethod
    def message(status: int) -> str:
        """Say in words why the search ended.

        Parameters
        ----------
        status : int
            What a compiled function gives for `status`.

        Returns
        -------
        str

        Examples
        --------
        >>> import sparsechol.pytensor as scpt
        >>> print(scpt.Laplace.message(0))
        the largest number of iterations was reached (maxiter)
        """
        return NEWTON[int(status)]

    def uncertainty(self, parameters: Variable | Sequence[Variable]) -> Uncertainty:
        """Build how exactly parameters and latent values are known, as TMB's ``sdreport`` does.

        To be evaluated where the parameters maximize `log_marginal` (or that and the log of a
        prior).

        Parameters
        ----------
        parameters : tensor variable of floats, or sequence of them
            What `log_marginal` depends on, and is estimated; of known shapes (static, or by
            `givens` of `laplace`).

        Returns
        -------
        Uncertainty
            Covariances and standard errors of parameters, of latent values, and of functions of
            both. All of it is NaN where no mode is found, or the parameters are not determined.

        Raises
        ------
        TypeError, ValueError
            If `parameters` are not variables of floats, or their shapes are not known.

        Notes
        -----
        The covariance V of the parameters is the inverse of the exact Hessian of
        ``-log_marginal``. It takes a solve for each parameter and for each pair. Latent values x
        have the covariance ``H^-1 + J V J^T``, with the precision matrix H, and the Jacobian J of
        the mode in the parameters (Kass and Steffey, 1989): what the first term lacks is that the
        parameters are estimates.

        Examples
        --------
        >>> import numpy as np, pytensor.tensor as pt, sparsechol.pytensor as scpt
        >>> x, mean, y = pt.vector("x", shape=(4,)), pt.scalar("mean"), np.arange(4.0)
        >>> logjoint = -0.5 * ((x - mean) ** 2 + (y - x) ** 2).sum()
        >>> report = scpt.laplace(logjoint, x).uncertainty(mean)
        >>> [error] = report.standard_errors()
        >>> print(error.eval({mean: 1.5}, mode="FAST_COMPILE").round(4))
        0.7071
        """
        return Uncertainty(self, parameters)


def laplace(
    logjoint: Variable,
    x: Variable,
    x0: pt.TensorLike | None = None,
    *,
    sparsity: Sparsity | None = None,
    givens: dict[Variable, ArrayLike] | None = None,
    maxiter: int = 1000,
    ordering: OrderingLike = "auto",
    on_unknown: OnUnknown = "dense",
) -> Laplace:
    """Approximate the logarithm of the integral of ``exp(logjoint)`` over x by Laplace's method.

    Parameters
    ----------
    logjoint : scalar variable of floats
        For example log p(y, x | theta): any graph that can be differentiated, for a gradient of the
        result three times.
    x : (n,) tensor variable of floats
        The latent field, a placeholder: the results do not depend on it.
    x0 : (n,) array_like or tensor variable, optional
        Where the search for the mode begins, by default at zero.
    sparsity, ordering, on_unknown
        As for `sparse_hessian`.
    givens : dict, optional
        See `jacobian_pattern`. An array `x0` shows the length of x.
    maxiter : int, optional
        Most Newton steps; steps that are refused count.

    Returns
    -------
    Laplace
        ``log_marginal``, ``mode`` and ``precision``. All of them are NaN where no mode is found;
        ``status``, ``message(status)``, ``converged``, ``iterations`` and ``gradient_norm`` say how
        the search for it ended. ``uncertainty(parameters)`` builds standard errors.

    Notes
    -----
    Newton steps in a loop find the mode. A multiple of the row sums of the Hessian damps each step
    (Levenberg, 1944; Marquardt, 1963), larger after a step that was refused, and smaller after
    steps that gained what they promised, so that `logjoint` need not be concave away from its mode.
    The pattern of the Hessian is found, colored and analyzed once, when the graph is built.

    Derivatives of every order are exact: those of the mode follow from the implicit function
    theorem, at the cost of a solve each, and the loop is not differentiated. `logjoint` has to be
    differentiable twice more often than the result.

    PyTensor does not convert loops that end early to JAX: there, `sparsechol.jax.laplace` is what
    runs.

    Examples
    --------
    For a normal density the approximation is exact:

    >>> import numpy as np, pytensor.tensor as pt, sparsechol.pytensor as scpt
    >>> x, tau = pt.vector("x", shape=(3,)), pt.scalar("tau")
    >>> found = scpt.laplace(-0.5 * tau * ((x - 1) ** 2).sum(), x)
    >>> float(found.log_marginal.eval({tau: 2.0}, mode="FAST_COMPILE").round(6))
    1.717095
    >>> print(1.5 * np.log(np.pi).round(6))
    1.717095
    """
    check_floats(x, "x")
    if x.type.ndim != 1:
        raise ValueError(f"x must be a vector, and {x} has {x.type.ndim} dimensions: use ravel")
    if maxiter < 1:
        raise ValueError(f"maxiter must be positive, not {maxiter}")
    givens = dict(givens or {})
    if x0 is not None and not isinstance(x0, Variable):
        x0 = np.asarray(x0, x.type.dtype)
        givens.setdefault(x, x0)
    g = gradient(logjoint, [x])
    H = sparse_hessian(
        logjoint, x, sparsity=sparsity, givens=givens, format="symmetric", ordering=ordering,
        on_unknown=on_unknown,
    )  # fmt: skip
    density = Field(x, logjoint, g, H.with_values(-H.values))
    start = pt.zeros(H.shape[0], x.type.dtype) if x0 is None else pt.as_tensor_variable(x0)
    found, succeeded, stuck, iterations = density.search(start.astype(x.type.dtype), maxiter)
    mode = Implicit(density)(found, *density.reads)
    value, precision = density.at(mode, "value", "precision")
    n, logdet = H.shape[0], precision.logdet()
    log_marginal = value + 0.5 * n * np.log(2 * np.pi) - 0.5 * logdet
    slope = disconnected_grad(density.at(found, "gradient"))
    status = pt.switch(pt.isfinite(logdet), pt.switch(stuck, STUCK, MAXITER), SINGULAR)
    status = pt.switch(pt.isfinite(value) & pt.all(pt.isfinite(slope)), status, NOT_FINITE)
    status = pt.switch(succeeded, XTOL, status).astype("int64")
    log_marginal, mode, values = (
        pt.switch(succeeded, part, np.nan).astype(part.type.dtype)
        for part in (log_marginal, mode, precision.values)
    )
    ending = status, iterations, pt.max(pt.abs(slope))
    return Laplace(log_marginal, mode, precision.with_values(values), *ending, density, givens)


class Field:
    """The logarithm of a density as a function of its latent field, with derivatives."""

    def __init__(self, x, value, gradient, precision):
        self.x, self.pattern = x, precision.pattern
        self.parts = {"value": value, "gradient": gradient, "precision": precision.values}
        self.fixed = Fixed(list(self.parts.values()), [x])
        self.reads = frontier(list(self.parts.values()), [x])

    def at(self, x, *names, inner=None, reads=None):
        """Evaluate some of the parts at another point.

        `inner` is what a loop passes on; `reads` replaces all that the parts read.
        """
        replacements = {} if inner is None else self.fixed.received(inner)
        if reads is not None:
            replacements = dict(zip(self.reads, reads, strict=True))
        parts = rebuilt([self.parts[name] for name in names], {self.x: x, **replacements})
        found = [
            SymmetricMatrix(self.pattern, part) if name == "precision" else part
            for name, part in zip(names, parts, strict=True)
        ]
        return found[0] if len(found) == 1 else found

    def search(self, start, maxiter):
        """Find the mode.

        Returns
        -------
        x : tensor variable
        succeeded : scalar variable
            Whether the last step is as small as rounding allows.
        stuck : scalar variable
            Whether no step helps.
        iterations : scalar variable
        """
        eps = np.finfo(start.type.dtype).eps

        def step(x, value, damping, wait, count, _, *inner):
            g, Q = self.at(x, "gradient", "precision", inner=inner)
            rows = Q.with_values(abs(Q.values)) @ pt.ones_like(x)
            d = Q.add_diagonal(damping * rows).solve(g)
            new = x + d
            new_value = self.at(new, "value", inner=inner)
            rounding = 100 * eps * (abs(value) + self.pattern.shape[0])
            promised = 0.5 * ((g * d).sum() + damping * (rows * d**2).sum())
            rises = new_value >= value + SUFFICIENT * promised - rounding
            falls = (new_value >= value + GOOD * promised - rounding) & (wait <= 0)
            small = pt.max(abs(d)) <= np.sqrt(eps) * (1 + pt.max(abs(x)))
            done = rises & small & pt.eq(damping, 0)
            less = pt.switch(damping > LEAST, damping / 4, 0)
            more = pt.maximum(4 * damping, LEAST)
            following = [
                pt.switch(rises, new, x),
                pt.switch(rises, new_value, value),
                pt.switch(rises, pt.switch(falls, less, damping), more),
                pt.switch(rises, wait - 1, PATIENCE),
                count + 1,
                done,
            ]
            following = [y.astype(s.type.dtype) for y, s in zip(following, states, strict=True)]
            return following, until(done | (damping > MOST))

        none = pt.zeros((), "int64")
        states = [start, self.at(start, "value"), pt.zeros((), start.type.dtype), none, none, none]
        x, _, damping, _, count, done = pytensor.scan(
            step, outputs_info=states, non_sequences=self.fixed.passed, n_steps=maxiter,
            return_updates=False,
        )  # fmt: skip
        succeeded, stuck = pt.eq(disconnected_grad(done[-1]), 1), pt.gt(damping[-1], MOST)
        return disconnected_grad(x[-1]), succeeded, disconnected_grad(stuck), count[-1]


class Implicit(Op):
    """The mode as a function of what the density reads: where its gradient is zero.

    It hands on the mode, its first operand, in which it has no derivative.
    """

    __props__ = ()
    view_map: ClassVar = {0: [0]}

    def __init__(self, field):
        self.field = field

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)

    def make_node(self, found, *reads):
        """Make a node whose output is like the mode that was found."""
        return Apply(self, [found, *reads], [found.type()])

    def perform(self, node, inputs, outputs):
        """Hand on the mode."""
        outputs[0][0] = inputs[0]

    def infer_shape(self, *args):
        """Return the shape of the mode."""
        return [args[-1][0]]

    def connection_pattern(self, node):
        """Say that the mode depends on all floats but the mode that was found."""
        return [[False], *([is_float(y)] for y in node.inputs[1:])]

    def pullback(self, inputs, outputs, cotangents):
        """Return the gradients by the implicit function theorem: of g(x, t) = 0 in t.

        They are formed for placeholders, in which what the density reads does not depend on each
        other, nor the mode on any of it. In their place the output of the Op is put, so that the
        results have derivatives as well.
        """
        x, ct = outputs[0].type(), cotangents[0]
        reads = [y.type() for y in inputs[1:]]
        g, Q = self.field.at(x, "gradient", "precision", reads=reads)
        weights = x.type()
        moving = [y for y in reads if is_float(y)]
        gradients = pullback(
            g, moving, weights, disconnected_inputs="ignore", return_disconnected="zero"
        )
        there = {x: outputs[0], **dict(zip(reads, inputs[1:], strict=True))}
        [values] = rebuilt([Q.values], there)
        solution = Q.with_values(values).solve(ct)
        found = iter(rebuilt(gradients, {**there, weights: solution}))
        return [
            disconnected_type(),
            *(next(found) if is_float(y) else disconnected_type() for y in reads),
        ]

    L_op = pullback


def is_float(x):
    """Say whether there may be a derivative in a variable."""
    return getattr(x.type, "dtype", "").startswith("float")


@register_canonicalize("fast_compile")
@node_rewriter([Implicit])
def without_implicit(fgraph, node):
    """Put the mode itself in the place of what only carries its derivatives."""
    return [node.inputs[0]]
