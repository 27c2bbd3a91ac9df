"""Densities of linear maps of random variables, which PyMC derives; imported where PyMC is.

With x = K^-1 z the density of x is that of z = K x, times abs(det K) for each column.
"""

import pytensor.tensor as pt
from pymc.logprob.abstract import MeasurableOp, _logprob, _logprob_helper
from pymc.logprob.rewriting import measurable_ir_rewrites_db
from pymc.logprob.utils import check_potential_measurability, filter_measurable_variables
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.tensor.blockwise import Blockwise

from . import _ops as ops

INVERTIBLE = (ops.Solve, ops.SolveTriangular, ops.PlainSolve)


class MeasurableSolve(MeasurableOp, Op):
    """A solve of which the last operand is random; it is a mark in the graph and never runs."""

    __props__ = ("op",)

    def __init__(self, op):
        self.op = op

    def make_node(self, *operands):
        """Make a node with the operands and the result of the solve."""
        node = self.op.make_node(*operands)
        return Apply(self, node.inputs, [x.type() for x in node.outputs])

    def perform(self, node, inputs, outputs):
        """Refuse to run."""
        raise NotImplementedError("PyMC has not replaced this Op by its density")


def core_of(op):
    """Return the Op of one matrix."""
    return op.core_op if isinstance(op, Blockwise) else op


@node_rewriter([Blockwise, *INVERTIBLE])
def find_measurable_solves(fgraph, node):
    """Mark a solve with a random right-hand side and a matrix that is not random."""
    *matrix, z = node.inputs
    [x] = node.outputs
    if (
        not isinstance(core_of(node.op), INVERTIBLE)
        or not filter_measurable_variables([z])
        or check_potential_measurability(matrix)
        or z.type.broadcastable[:-2] != x.type.broadcastable[:-2]
    ):
        return None
    return [MeasurableSolve(node.op)(*node.inputs)]


@_logprob.register(MeasurableSolve)
def logprob_of_solve(op, values, *operands, **kwargs):
    """Return the log density, summed over rows and columns."""
    [x], core, z = values, core_of(op.op), operands[-1]
    there, log_det = inverse(core, x, *operands[:-1])
    logp = _logprob_helper(z, there, **kwargs)
    logp = logp.sum(axis=tuple(range(z.type.ndim - 2, logp.type.ndim)))
    return logp + x.shape[-1] * log_det


def inverse(op, x, *matrix):
    """Return K x and log abs(det K) of a solve with K."""
    P = op.pattern
    if isinstance(op, ops.Solve):
        log_det = ops.LogAbsDet if op.signed else ops.LogDet
        return ops.matvec(P, matrix[0], x), log_det(P)(*matrix)
    is_plain = isinstance(op, ops.PlainSolve)
    diagonal = matrix[0][..., P.indptr[:-1]] if is_plain else ops.diagonal(P, matrix[0])
    there = op.other("product", op.lower)(matrix[0], x)
    return there, pt.log(pt.abs(diagonal)).sum(axis=-1)


measurable_ir_rewrites_db.register("sparsechol_solves", find_measurable_solves, "basic", "linalg")
