"""Split off what makes a Hessian dense: sums over many variables in which a scalar is not linear.

The formulas are those of `sparsechol.jax._dense_sums`: with sums s = h(x, s), f(x) = F(x, s) and
the derivatives p of f in s, the Hessian of f is that of G(x, s) = F + p h in x, a sparse matrix,
and C D C^T with C = (ds/dx^T, d^2G/dx ds) and D = ((d^2G/ds^2, I), (I, 0)).
"""

import math
import warnings

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_grad, grad
from pytensor.scalar import Add
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce

from .._exceptions import SparsityWarning
from .._sparsity import linear_maps as choice
from ._detect import jacobian_pattern
from ._graphs import COPY_INNER, joined, rebuilt, rows_of_jacobian
from ._linear_maps import PRODUCTS, is_linear, moving_part


def is_sum(node):
    """Say whether a node adds what may be many elements."""
    if isinstance(node.op, CAReduce):
        return isinstance(node.op.scalar_op, Add)
    core = node.op.core_op if isinstance(node.op, Blockwise) else node.op
    return isinstance(core, PRODUCTS)


def nonlinear_sums(expr, wrt):
    """Return the few sums in which a scalar is not linear."""
    nodes, moving = moving_part(expr, wrt)
    used: set = set()  # by what is not linear
    for node in reversed(nodes):
        if not is_linear(node, moving) or not used.isdisjoint(node.outputs):
            used.update(x for x in node.inputs if x in moving)
    return [
        node.outputs[0]
        for node in nodes
        if is_sum(node)
        and node.outputs[0] in used
        and isinstance(node.outputs[0].type, pt.TensorType)
        and 0 < size_of(node.outputs[0]) <= choice.MOST
    ]


def size_of(x):
    """Return the number of elements, zero if it is not known."""
    return 0 if None in x.type.shape else math.prod(x.type.shape)


def dense_sums(problem):
    """Find the sums that make a Hessian dense, those of more variables than a sparse one has.

    Returns
    -------
    sums : list of variables
    anchors : ndarray of int
        See `sparsechol._sparsity.linear_maps.anchors`.
    """
    sums = nonlinear_sums(problem.expr, problem.wrt) if problem.shape[1] > choice.SHORT else []
    if not sums:
        return [], np.zeros(0, int)
    A = jacobian_pattern(
        joined(sums), problem.wrt, givens=problem.givens, on_unknown=problem.on_unknown
    )
    sizes = [*map(size_of, sums)]
    long = [not flag for flag in choice.short(A, sizes)]
    return choice.choose(sums, long), choice.anchors(A[np.repeat(long, sizes)])


def warn_of_dense_sums(problem):
    """Warn where a sum over many variables makes the Hessian dense, and say which."""
    found, _ = dense_sums(problem)
    if found:
        names = ", ".join(dict.fromkeys(map(described, found)))
        warnings.warn(
            f"the function is not linear in a sum over many variables ({names}), which makes its"
            " Hessian dense: leave the term out, and add it to the factor as a change of low rank"
            " (with_low_rank); laplace splits such terms off",
            SparsityWarning,
            stacklevel=4,
        )


class Split:
    """A scalar as a function of a vector x and of some of its sums.

    Attributes
    ----------
    held : scalar variable
        G, a function of x and of placeholders of s and p.
    """

    def __init__(self, expr, x, sums, anchors):
        self.x, self.sums, self.anchors = x, sums, anchors
        self.sizes = [*map(size_of, sums)]
        self.values, self.slopes = (x.type.clone(shape=(sum(self.sizes),))() for _ in "sp")
        ends = np.cumsum([0, *self.sizes])
        given = {
            y: self.values[begin:end].reshape(y.type.shape).astype(y.type.dtype)
            for y, begin, end in zip(sums, ends[:-1], ends[1:], strict=True)
        }
        [outer] = rebuilt([expr], given)
        self.held = outer + (self.slopes * joined([itself(y, given) for y in sums])).sum()
        self.there = {self.values: joined(sums), self.slopes: joined(grad(expr, sums))}

    def matrix(self, sparse):
        """Return the whole Hessian, given that of G in x as a `SymmetricMatrix`.

        What the anchors add to its diagonal is taken away by columns of C.

        Returns
        -------
        LowRankFactor
        """
        k, (n, _) = sum(self.sizes), sparse.shape
        second = grad(self.held, self.values)
        J = rows_of_jacobian(joined(self.sums), [self.x], k)
        c = rows_of_jacobian(second, [self.x], k)
        d = rows_of_jacobian(second, [self.values], k)
        values, c, d = rebuilt([sparse.values, c, d], self.there)
        sparse = sparse.with_values(values)
        diagonal = disconnected_grad(sparse.diagonal())
        sizes, there = pt.abs(diagonal), diagonal[self.anchors]
        added = (pt.abs(there) + pt.switch(there > 0, 0, sizes.mean())).astype(sparse.dtype)
        units = np.zeros((self.anchors.size, n), sparse.dtype)
        units[np.arange(self.anchors.size), self.anchors] = 1
        C = pt.concatenate([J, c, units]).T
        below = np.eye(k, 2 * k, dtype=sparse.dtype)
        D = pt.concatenate([pt.concatenate([d, below[:, :k]], axis=1), below])
        D = pt.linalg.block_diag(D, -pt.diag(added))
        return sparse.add_diagonal(added @ units).with_low_rank(C, D)


def itself(y, given):
    """Return a sum as a function of x and of the sums before it."""
    node = y.owner
    inputs = rebuilt(node.inputs, given)
    copy = node.clone_with_new_inputs(inputs, strict=False, **COPY_INNER)
    return copy.outputs[node.outputs.index(y)]


def described(x):
    """Name a sum: by its own name, or by its Op and what it adds, and the line if it is known."""
    trace = getattr(x.tag, "trace", None)
    line = trace[-1][-1] if trace and trace[-1] else None
    name = x.name or f"{x.owner.op} of {x.owner.inputs[0]}"
    return f"{name}, at {line[0]}:{line[1]}" if line else name
