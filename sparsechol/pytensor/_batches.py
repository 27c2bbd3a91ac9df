"""Kernels on a batch of matrices in one call, many side by side, on all threads.

`Blockwise` runs an Op matrix by matrix. PyTensor's rewrites and derivatives know it, and so it
stands in a graph until they are done. Then, in every mode, a kernel takes its place that has the
whole batch:

    a (64, nnz) -> Blockwise(Factor) -> ...         a (64, nnz) -> Batch(Factor) -> ...
"""

from typing import Any

from pytensor.compile.mode import optdb
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.tensor.blockwise import Blockwise

from ._ops import Gather, Kernel, PartialInverse

AFTER_BLOCKWISE = 61  # after what PyTensor does to Blockwise; numba's own way with it is later
DIFFER = (
    "sparsechol: operands with batches of different shapes. Dimensions of length 1 fit others only"
    " where the types of the operands say so: pytensor.tensor.specify_broadcastable(x, axis)"
)


class GatheredInverse(Kernel):
    """A^-1 on the pattern of A, with weights: of a batch no inverse on the panels is stored."""

    operation = "gathered_inverse"


class Batch(Op):
    """A kernel on operands that all have the leading dimensions of one batch, some of length 1.

    It has no derivatives: it is made when a graph is compiled.
    """

    __props__ = ("kernel",)

    def __init__(self, kernel):
        self.kernel = kernel

    def __str__(self):
        return f"{self.kernel}, batch"

    def make_node(self, *operands):
        """Make a node; the result has the shape that `Blockwise` finds."""
        result: Any = Blockwise(self.kernel)(*operands)
        return Apply(self, [*operands], [result.type()])

    def perform(self, node, inputs, outputs):
        """Run the kernel."""
        outputs[0][0] = self.kernel.compute(inputs, batch_shape(node, [x.shape for x in inputs]))

    def infer_shape(self, *args):
        """Return the shape of the result, as `Blockwise` finds it."""
        *fgraph, node, shapes = args  # from PyTensor 3.1 on without the graph
        blockwise: Any = Blockwise(self.kernel)
        return blockwise.infer_shape(*fgraph, blockwise.make_node(*node.inputs), shapes)


def axes(node):
    """List for each dimension of the batch the operands that have its length."""
    kernel = node.op.kernel
    count = node.inputs[0].type.ndim - kernel.core_ranks[0]
    same = [x.type.broadcastable for x in node.inputs]
    return [[q for q, flags in enumerate(same) if not flags[axis]] for axis in range(count)]


def batch_shape(node, shapes):
    """Find the dimensions of a batch from the shapes of the operands."""
    found = []
    for axis, operands in enumerate(axes(node)):
        lengths = {shapes[q][axis] for q in operands} or {1}
        if len(lengths) > 1:
            raise ValueError(DIFFER)
        found.append(lengths.pop())
    return tuple(found)


@node_rewriter([Blockwise])
def take_batch(fgraph, node):
    """Put a kernel on a batch in the place of one that is run matrix by matrix."""
    kernel, operands = node.op.core_op, node.inputs
    if not isinstance(kernel, Kernel):
        return None
    if isinstance(kernel, Gather):
        before = operands[0].owner
        if is_partial_inverse(before) and len(fgraph.clients[operands[0]]) == 1:
            kernel = GatheredInverse(kernel.pattern, diagonal=kernel.diagonal, below=kernel.below)
            operands = before.inputs
    return [Batch(kernel)(*operands)]


def is_partial_inverse(node):
    """Say whether a node computes the partial inverses of a batch."""
    kernel = getattr(getattr(node, "op", None), "kernel", getattr(node, "op", None))
    return isinstance(getattr(kernel, "core_op", kernel), PartialInverse)


def register():
    """Register the rewrite, once, when the package is imported."""
    optdb.register(
        "sparsechol_batches",
        dfs_rewriter(take_batch),
        "fast_run",
        "fast_compile",
        position=AFTER_BLOCKWISE,
    )
