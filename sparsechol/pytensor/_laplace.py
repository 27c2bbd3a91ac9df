"""Laplace approximation of an integral over a latent field, with exact derivatives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytensor
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.compile.builders import OpFromGraph
from pytensor.gradient import disconnected_grad, disconnected_type, pullback
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.graph.traversal import graph_inputs
from pytensor.scan.utils import until
from pytensor.tensor.rewriting.basic import register_specialize

from .._damping import DOMINATED, Damping, State, after, begin, ended, scale, status
from .._sparsity import linear_maps as choice
from .._status import NEWTON
from .._typing import OnUnknown, OrderingLike
from ._dense_sums import Split, dense_sums
from ._detect import check_floats, gradient
from ._graphs import Fixed, frontier, rebuilt
from ._low_rank import LowRankFactor
from ._matrix import SymmetricMatrix
from ._sparse_derivatives import Problem, Sparsity, sparse_hessian
from ._uncertainty import Uncertainty


@dataclass(frozen=True)
class Laplace:
    """A Laplace approximation, as `laplace` returns it.

    Attributes
    ----------
    log_marginal : scalar variable
    mode : (n,) tensor variable
    precision : SymmetricMatrix or LowRankFactor
        Precision matrix of the normal approximation: the negative Hessian at the mode. It has a
        part of low rank where `logjoint` is not linear in sums over many latent values.
    status : scalar variable of int64
        Why the search for the mode ended: 2 at a mode, 0 after `maxiter` iterations; -1 where
        `logjoint` or its gradient are not finite, -2 where the negative Hessian is not positive
        definite, -3 where no step helps. What is NaN is so where it is not 2.
    iterations : scalar variable of int64
        Newton steps that were tried.
    gradient_norm : scalar variable
        The largest entry of the gradient of `logjoint` in x at the last point, without its sign. It
        has no derivative.
    """

    log_marginal: Variable
    mode: Variable
    precision: SymmetricMatrix | LowRankFactor
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
    Newton steps in a loop find the mode. Where a step does not gain enough, or the negative Hessian
    is not positive definite, its diagonal is raised (Levenberg 1944, Marquardt 1963), mostly in the
    rows that are not dominated by it. How much is carried from step to step, so that `logjoint`
    need not be concave away from its mode.
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
    H = curvature(logjoint, x, sparsity, givens=givens, ordering=ordering, on_unknown=on_unknown)
    density = Field(x, logjoint, g, H)
    start = pt.zeros(H.shape[0], x.type.dtype) if x0 is None else pt.as_tensor_variable(x0)
    last = density.search(start.astype(x.type.dtype), maxiter)
    found = last.x
    mode = Implicit(density)(found, *density.reads)
    value, precision = density.at(mode, "value", "precision")
    n, logdet = H.shape[0], precision.logdet()
    log_marginal = value + 0.5 * n * np.log(2 * np.pi) - 0.5 * logdet
    slope = disconnected_grad(density.at(found, "gradient"))
    log_marginal, mode, *arrays = (
        pt.switch(last.settled, part, np.nan).astype(part.type.dtype)
        for part in (log_marginal, mode, *arrays_of(precision))
    )
    ending = status(pt, last, slope).astype("int64"), last.count, pt.max(pt.abs(slope))
    return Laplace(log_marginal, mode, density.matrix(*arrays), *ending, density, givens)


def curvature(logjoint, x, sparsity, *, givens, on_unknown, ordering):
    """Build the Hessian of -logjoint, split where sums make it dense.

    Returns
    -------
    SymmetricMatrix or LowRankFactor
    """
    options = {"givens": givens, "on_unknown": on_unknown}
    kind = {"format": "symmetric", "ordering": ordering, **options}
    if sparsity is None:
        sums, anchors = dense_sums(Problem(logjoint, [x], chunk_size=None, **options))
        split = Split(-logjoint, x, sums, anchors) if sums else None
        if split is not None and sum(split.sizes) <= choice.MOST:
            return split.matrix(sparse_hessian(split.held, x, **kind))
    H = sparse_hessian(logjoint, x, sparsity=sparsity, **kind)
    return H.with_values(-H.values)


def arrays_of(Q):
    """Return what a precision matrix is made of."""
    return [Q.matrix.values, Q._C, Q._D] if isinstance(Q, LowRankFactor) else [Q.values]


def scale_of(Q, x):
    """Return by how much each row is damped."""
    if isinstance(Q, LowRankFactor):
        correction = Q.diagonal() - Q.matrix.diagonal()
        return scale_of(Q.matrix, x) + DOMINATED * pt.abs(correction)
    rows = Q.with_values(abs(Q.values)) @ pt.ones_like(x)
    return scale(pt, rows, Q.diagonal())


class Field:
    """The logarithm of a density as a function of its latent field, with derivatives."""

    def __init__(self, x, value, gradient, precision):
        self.x, self.arrays = x, arrays_of(precision)
        self.pattern = getattr(precision, "matrix", precision).pattern
        self.parts = {"value": value, "gradient": gradient}
        whole = [value, gradient, *self.arrays]
        self.fixed, self.reads = Fixed(whole, [x]), frontier(whole, [x])

    def matrix(self, values, *correction):
        """Return a precision matrix, given what it is made of."""
        Q = SymmetricMatrix(self.pattern, values)
        return LowRankFactor(Q, *correction) if correction else Q

    def at(self, x, *names, inner=None, reads=None):
        """Evaluate some of the parts at another point, the precision matrix last.

        `inner` is what a loop passes on; `reads` replaces all that the parts read.
        """
        replacements = {} if inner is None else self.fixed.received(inner)
        if reads is not None:
            replacements = dict(zip(self.reads, reads, strict=True))
        arrays = self.arrays if "precision" in names else []
        wanted = [self.parts[name] for name in names if name in self.parts]
        parts = rebuilt([*wanted, *arrays], {self.x: x, **replacements})
        found = parts[: len(wanted)] + ([self.matrix(*parts[len(wanted) :])] if arrays else [])
        return found[0] if len(found) == 1 else found

    def search(self, outside, maxiter):
        """Find the mode; without derivatives.

        Returns
        -------
        State
            Where the search ended.
        """
        eps = float(np.finfo(outside.type.dtype).eps)

        def step(*states):
            state, inner = unflattened(states)
            g, Q = self.at(state.x, "gradient", "precision", inner=inner)
            damped = state.damping.now * scale_of(Q, state.x)
            d = Q.add_diagonal(damped).solve(g)
            promised = 0.5 * ((damped * d**2).sum() + (g * d).sum())
            there = state.x + d
            value, ok = -self.at(there, "value", inner=inner), pt.isfinite(promised)
            state = after(pt, state, there, value, promised, ok, tol=eps, eps=eps)
            following = [y.astype(s.type.dtype) for y, s in zip(flat(state), first, strict=True)]
            return following, until(ended(pt, state, maxiter))

        no, none = pt.zeros((), "bool"), pt.zeros((), "int64")
        reads = [y for y in dict.fromkeys((outside, *self.fixed.passed)) if is_no_constant(y)]
        copies = {y: y.type() for y in reads}
        passed = [copies.get(y, y) for y in self.fixed.passed]
        start = copies.get(outside, outside)
        first = flat(begin(start, -self.at(start, "value", inner=passed), no, none))
        traces = pytensor.scan(
            step, outputs_info=first, non_sequences=passed, n_steps=maxiter, return_updates=False
        )
        ends = [trace[-1] for trace in traces]
        # One Op, which compiles as what is in it: in a batch the traces have different lengths.
        inside = [*copies.values()]
        others = [y for y in graph_inputs(ends, inside) if is_no_constant(y) and y not in inside]
        apart = [[False] * len(ends) for _ in (*inside, *others)]
        search = OpFromGraph([*inside, *others], ends, inline=True, connection_pattern=apart)
        found = search(*reads, *others, return_list=True)
        last, _ = unflattened([disconnected_grad(y) for y in found])
        return last


def is_no_constant(x):
    """Say whether a value has to be passed on."""
    return not isinstance(x, Constant)


def flat(state):
    """Return the arrays of a state in a list."""
    return [*state[:2], *state.damping, *state[3:]]


def unflattened(arrays):
    """Return the state whose arrays come first, and what follows them."""
    x, value, now, again, growth, *rest = arrays
    count = len(State._fields) - 3
    return State(x, value, Damping(now, again, growth), *rest[:count]), rest[count:]


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
        solution = self.field.matrix(*rebuilt(arrays_of(Q), there)).solve(ct)
        found = iter(rebuilt(gradients, {**there, weights: solution}))
        return [
            disconnected_type(),
            *(next(found) if is_float(y) else disconnected_type() for y in reads),
        ]

    L_op = pullback


def is_float(x):
    """Say whether there may be a derivative in a variable."""
    return getattr(x.type, "dtype", "").startswith("float")


@register_specialize("fast_compile")
@node_rewriter([Implicit])
def without_implicit(fgraph, node):
    """Put the mode itself in the place of what only carries its derivatives."""
    return [node.inputs[0]]
