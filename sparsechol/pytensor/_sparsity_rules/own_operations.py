"""Sparsity rules for the Ops of this package."""

from ..._sparsity import propagate
from ..._sparsity.own_operations import connect
from .._ops import Kernel, QuadForm, Triangular
from .._rule_table import rule


def moving(op, operands):
    """Leave out operands in which the Op has no derivative."""
    return [None if q in op.fixed else ids for q, ids in enumerate(operands)]


@rule(Kernel)
def kernel(walk, op, node, operands):
    shape = walk.shape(node.outputs[0])
    of_moving = moving(op, operands)
    ids = connect(walk.sets, op.operation, op.pattern, of_moving, shape, **options_of(op))
    return [ids]


def options_of(op):
    """Return what an Op with a triangle passes to the rule of its operation."""
    if not isinstance(op, Triangular):
        return {}
    permute = {"permute": op.permute} if op.kind == "factor" else {}
    return {"lower": op.lower, **permute}


@rule(QuadForm)
def quad_form(walk, op, node, operands):
    """Connect each form with all of the matrix and with its own vector."""
    of_a, of_x, _ = moving(op, operands)
    terms = []
    if of_a is not None:
        terms.append(propagate.union_all(walk.sets, [of_a], ()))
    if of_x is not None:
        terms.append(propagate.union_along(walk.sets, of_x, (0,)))
    return [propagate.union(walk.sets, *terms, shape=walk.shape(node.outputs[0]))]
