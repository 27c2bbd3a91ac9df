"""Sparsity rules for the Ops of this package."""

from ..._sparsity import propagate
from ..._sparsity.kernels import connect
from .._ops import Kernel, QuadForm
from .._walk import rule

TRIANGULAR = ("solve_triangular", "factor_product", "factor_outer")


def moving(op, operands):
    """Without the operands that the Op does not move with."""
    return [None if q in op.fixed else ids for q, ids in enumerate(operands)]


@rule(Kernel)
def kernel(walk, op, node, operands):
    options = {"lower": op.lower, "permute": op.permute} if op.operation in TRIANGULAR else {}
    shape = walk.shape(node.outputs[0])
    ids = connect(walk.sets, op.operation, op.pattern, moving(op, operands), shape, **options)
    return [ids]


@rule(QuadForm)
def quad_form(walk, op, node, operands):
    """Each on all of the matrix and on its own vector."""
    of_a, of_x, _ = moving(op, operands)
    terms = []
    if of_a is not None:
        terms.append(propagate.union_all(walk.sets, [of_a], ()))
    if of_x is not None:
        terms.append(propagate.union_along(walk.sets, of_x, (0,)))
    return [propagate.union(walk.sets, *terms, shape=walk.shape(node.outputs[0]))]
