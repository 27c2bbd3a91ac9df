"""The Op `Program`: arrays of known shapes, and what is computed with them, in one function.

PyTensor gives numba a function for each Op, with wrappers around it, and numba simplifies the code
of each again in every function that calls it: a graph of a hundred Ops takes it a minute. Where all
shapes are known, most Ops are a loop that can be written down, and most of the others only say
where elements are. In graphs that have Ops of this package, `GatherPrograms` puts Ops of these
kinds together, as many as can run one after the other:

    program                 factor             program                  solve
    x = theta[1:]           of a pattern       for i in range(100):     of a pattern
    for i in range(100):                           v = exp(w[i])
        ...                                        ...

`_numba_programs` writes them. They are made where numba compiles, after all rewrites that
derivatives or other backends could need.
"""

from collections import defaultdict
from functools import cached_property

import numpy as np
import pytensor
from pytensor.compile.mode import Mode, optdb
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.traversal import toposort
from pytensor.tensor.basic import Split

from ._ops import Kernel
from ._program_rules import can_write, rule_of, split_shapes

PLAIN = Mode(linker="py", optimizer=None)
AFTER_FUSION = 49.2  # and before Ops write into their operands


class Program(Op):
    """Outputs as functions of inputs.

    Parameters
    ----------
    inputs : list of variables
        Placeholders.
    outputs : list of variables
        What depends on them, and on nothing else.
    """

    __props__ = ()

    def __init__(self, inputs, outputs):
        self.inputs, self.outputs = inputs, outputs

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)

    def make_node(self, *inputs):
        """Make a node."""
        return Apply(self, list(inputs), [x.type() for x in self.outputs])

    @cached_property
    def nodes(self):
        """The nodes between inputs and outputs, in order."""
        return list(toposort(self.outputs, blockers=self.inputs))

    @cached_property
    def _in_python(self):
        return pytensor.function(self.inputs, self.outputs, mode=PLAIN, on_unused_input="ignore")

    def perform(self, node, inputs, outputs):
        """Run the Ops one by one, for linkers that do not compile."""
        for storage, x in zip(outputs, self._in_python(*inputs), strict=True):
            storage[0] = x


class GatherPrograms(GraphRewriter):
    """Put programs in the place of Ops that can be written down."""

    def apply(self, fgraph):
        """Change a graph in place."""
        if not any(isinstance(node.op, Kernel) for node in fgraph.apply_nodes):
            return
        for nodes in parts(fgraph):
            replace(fgraph, nodes)


def parts(fgraph):
    """List sets of nodes of which each can be one program.

    The level of a node is how often a path to it changes between nodes that can be written down and
    others: no path leaves a level and comes back.
    """
    level, found = {}, defaultdict(list)
    for node in fgraph.toposort():
        know_shapes(node)
        written = can_write(node)
        before = [level[x.owner] for x in node.inputs if x.owner is not None]
        level[node] = max((k + (written != kind) for k, kind in before), default=0), written
        if written:
            found[level[node]].append(node)
    return [nodes for nodes in found.values() if len(nodes) > 1]


def know_shapes(node):
    """Let the types of outputs say which shapes they have, now that those of inputs are known."""
    shapes = [getattr(x.type, "shape", ()) for x in node.outputs]
    if rule_of(node.op) is None or not any(None in shape for shape in shapes):
        return
    if isinstance(node.op, Split):
        found = split_shapes(node) or shapes
    else:
        found = [x.type.shape for x in node.op.make_node(*node.inputs).outputs]
    for x, shape, known in zip(node.outputs, shapes, found, strict=True):
        both = zip(shape, known, strict=True)
        x.type = x.type.clone(shape=[m if n is None else n for n, m in both])


def replace(fgraph, nodes):
    """Replace nodes by one program."""
    inside = set(nodes)
    results = [
        x
        for node in nodes
        for x in node.outputs
        if any(client not in inside for client, _ in fgraph.clients[x])
    ]
    reads = list(
        dict.fromkeys(
            x for node in nodes for x in node.inputs if x.owner not in inside and not in_text(x)
        )
    )
    placeholders = [x.type() for x in reads]
    copies = dict(zip(reads, placeholders, strict=True))
    for node in nodes:
        operands = [copies.get(x, x) for x in node.inputs]
        copy = Apply(node.op, operands, [x.clone() for x in node.outputs])
        copies.update(zip(node.outputs, copy.outputs, strict=True))
    new = Program(placeholders, [copies[x] for x in results]).make_node(*reads)
    fgraph.replace_all(list(zip(results, new.outputs, strict=True)), reason="sparsechol_programs")


def in_text(x):
    """Say whether a variable is a constant with equal elements, which stands in the text."""
    if not isinstance(x, Constant):
        return False
    data = np.asarray(x.data)
    return data.size > 0 and data.tobytes() == data.flat[0].tobytes() * data.size


def register():
    """Register the rewrite, once, when the package is imported."""
    optdb.register("sparsechol_programs", GatherPrograms(), "numba", position=AFTER_FUSION)
