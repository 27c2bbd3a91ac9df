"""Find what makes a Hessian dense: sums over many variables in which a scalar is not linear."""

import math
import warnings

import pytensor.tensor as pt
from pytensor.scalar import Add
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce

from .._exceptions import SparsityWarning
from .._sparsity import linear_maps as choice
from ._detect import jacobian_pattern
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


def warn_of_dense_sums(problem):
    """Warn where a sum over many variables makes the Hessian dense, and say which."""
    sums = nonlinear_sums(problem.expr, problem.wrt) if problem.shape[1] > choice.SHORT else []
    if not sums:
        return
    together = pt.concatenate([x.ravel() for x in sums])
    A = jacobian_pattern(
        together, problem.wrt, givens=problem.givens, on_unknown=problem.on_unknown
    )
    short = choice.short(A, [*map(size_of, sums)])
    found = choice.choose(sums, [not flag for flag in short])
    if found:
        names = ", ".join(dict.fromkeys(map(described, found)))
        warnings.warn(
            f"the function is not linear in a sum over many variables ({names}), which makes its"
            " Hessian dense: leave the term out, and add it to the factor as a change of low rank"
            " (with_low_rank); sparsechol.jax.laplace splits such terms off",
            SparsityWarning,
            stacklevel=4,
        )


def described(x):
    """Name a sum: by its own name, or by its Op and what it adds, and the line if it is known."""
    trace = getattr(x.tag, "trace", None)
    line = trace[-1][-1] if trace and trace[-1] else None
    name = x.name or f"{x.owner.op} of {x.owner.inputs[0]}"
    return f"{name}, at {line[0]}:{line[1]}" if line else name
