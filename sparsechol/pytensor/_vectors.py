"""Kernels on one vector, which numba compiles faster than those on a matrix with one column.

A function of the user gives a kernel one vector as a matrix with one column, and takes the column
of the result. Each of these steps is a node of the graph, and what is computed in between runs on
matrices with one column as well as on vectors. Before numba compiles a graph, the steps go into
the kernel, and those of two kernels that follow each other cancel:

    x -> x[:, None] -> MatVec -> [:, 0]  ...        x -> OneVector(MatVec) -> ...
"""

from typing import Any

import numpy as np
from pytensor.compile.mode import optdb
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.tensor.type import TensorType

from .._core.numeric.operations import NAMES
from ._ops import Kernel, QuadForm


class OneVector(Op):
    """A kernel whose operands and result are vectors where they had one column.

    It has neither the operand that the kernel does not read nor derivatives: it is made when a
    graph is compiled.
    """

    __props__ = ("kernel",)

    def __init__(self, kernel):
        self.kernel = kernel

    def __str__(self):
        return f"{self.kernel}, one vector"

    @property
    def result(self):
        """The letter of the result."""
        return self.kernel.result

    @property
    def shape(self):
        """The shape of the result."""
        return self.kernel.core_shape(self.result, 1)[:1]

    def make_node(self, *operands):
        """Make a node of operands of which none is a matrix."""
        dtype = operands[0].type.dtype
        return Apply(self, [*operands], [TensorType(dtype, self.shape)()])

    def perform(self, node, inputs, outputs):
        """Run the kernel on matrices with one column."""
        letters = NAMES[self.kernel.operation].split(">")[0]
        pairs = zip(letters, inputs, strict=True)
        operands = [x[:, None] if c == "x" else x for c, x in pairs]
        found: list = [[None]]
        unused = [np.empty(self.kernel.core_shape(c, 1)) for c in self.kernel.unused]
        self.kernel.perform(node, [*unused, *operands], found)
        outputs[0][0] = np.reshape(found[0][0], self.shape)

    def infer_shape(self, *args):
        """Return the shape of the result."""
        return [self.shape]


def has_one_column(x):
    return x.type.ndim == 2 and x.type.shape[1] == 1


@node_rewriter([Kernel, QuadForm])
def take_one_vector(fgraph, node):
    """Put a kernel on one vector in the place of one on a matrix with one column."""
    if isinstance(node.op, QuadForm):
        _, x, y = node.inputs
        if not (has_one_column(x) and has_one_column(y)):
            return None
        return [(column_of(x) * column_of(y)).sum()[None]]
    letters = node.op.letters
    matrices = [x for x, c in zip(node.inputs, letters, strict=True) if c == "x"]
    if not matrices or not all(map(has_one_column, matrices)):
        return None
    read = [column_of(x) if c == "x" else x for x, c in zip(node.inputs, letters, strict=True)][
        len(node.op.unused) :
    ]
    out: Any = OneVector(node.op)(*read)
    return [out[:, None] if node.op.result == "x" else out]


def column_of(x):
    """Return the only column of a matrix."""
    return x.dimshuffle(0)


def register():
    """Register the rewrite, once, when the package is imported; it runs before all others."""
    optdb.register("sparsechol_one_vector", dfs_rewriter(take_one_vector), "numba", position=-0.01)
