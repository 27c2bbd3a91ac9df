"""Laplace approximation of an integral over a latent field, with exact derivatives."""

from typing import ClassVar, NamedTuple

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

from .._typing import OnUnknown, OrderingLike
from ._detect import check_floats, gradient
from ._graphs import Fixed, frontier, rebuilt
from ._matrix import SymmetricMatrix
from ._sparse_derivatives import Sparsity, sparse_hessian

SUFFICIENT = 1e-4  # least part of the promised gain with which a step is taken
GOOD = 0.75  # part of the promised gain from which the damping may fall
LEAST = 1 / 64  # smallest damping but none
MOST = 1e10  # damping at which the search ends
PATIENCE = 2  # steps that are taken after one that was refused before the damping falls


class Laplace(NamedTuple):
    """A Laplace approximation, as `laplace` returns it.

    Attributes
    ----------
    log_marginal : scalar variable
    mode : (n,) tensor variable
    precision : SymmetricMatrix
        Precision matrix of the normal approximation: the negative Hessian at the mode.
    """

    log_marginal: Variable
    mode: Variable
    precision: SymmetricMatrix


def laplace(
    logjoint: Variable,
    x: Variable,
    x0: pt.TensorLike | None = None,
    *,
    sparsity: Sparsity | None = None,
    givens: dict[Variable, ArrayLike] | None = None,
    maxiter: int = 100,
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
        ``log_marginal``, ``mode`` and ``precision``. All of them are NaN where no mode is found.

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
    field = Field(x, logjoint, g, H.with_values(-H.values))
    start = pt.zeros(H.shape[0], x.type.dtype) if x0 is None else pt.as_tensor_variable(x0)
    found, succeeded = field.search(start.astype(x.type.dtype), maxiter)
    mode = Implicit(field)(found, *field.reads)
    value, precision = field.at(mode, "value", "precision")
    n = H.shape[0]
    log_marginal = value + 0.5 * n * np.log(2 * np.pi) - 0.5 * precision.logdet()
    log_marginal, mode, values = (
        pt.switch(succeeded, part, np.nan).astype(part.type.dtype)
        for part in (log_marginal, mode, precision.values)
    )
    return Laplace(log_marginal, mode, precision.with_values(values))


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
        """Find the mode, and say whether the last step is as small as rounding allows."""
        eps = np.finfo(start.type.dtype).eps

        def step(x, value, damping, wait, _, *inner):
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
                done,
            ]
            following = [y.astype(s.type.dtype) for y, s in zip(following, states, strict=True)]
            return following, until(done | (damping > MOST))

        none = pt.zeros((), "int64")
        states = [start, self.at(start, "value"), pt.zeros((), start.type.dtype), none, none]
        x, *_, done = pytensor.scan(
            step, outputs_info=states, non_sequences=self.fixed.passed, n_steps=maxiter,
            return_updates=False,
        )  # fmt: skip
        return disconnected_grad(x[-1]), pt.eq(disconnected_grad(done[-1]), 1)


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
