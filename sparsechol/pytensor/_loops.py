"""The Op `Entries`: expressions of scalars, evaluated for lists of operands and put into a vector.

Templates are its input. As a graph of vectors, each slot is gathered, each operation runs through
memory, and all results are joined: numba compiles every one of these steps for itself. The same
work is one loop for each template, in which nothing but the entries is stored:

    for each member of the template
        operands = vectors[positions]       gather
        results = expressions(operands)     registers
        entries[places] += results          scatter

`_numba_loops` compiles these loops. For all other backends, and for derivatives, the Op is written
out as the graph of vectors.
"""

from typing import NamedTuple

import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.compile.mode import Mode, optdb
from pytensor.gradient import disconnected_type, pullback
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.replace import _vectorize_node, vectorize_graph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.tensor.elemwise import Elemwise

from .._cached import cached_property
from ._graphs import rebuilt
from ._matrix import constant

JOINED = 6  # vectors that are joined at a time
REWRITES = {
    "include": ("canonicalize", "stabilize", "specialize"),
    "exclude": ("BlasOpt", "cxx_only"),
}
PLAIN = Mode(linker="py", optimizer=None)


class Slot(NamedTuple):
    """Where the operand of an expression comes from.

    Attributes
    ----------
    operand : scalar variable
        In the expressions.
    number : int
        Number of the input of the Op.
    positions : (count,) ndarray or None
        Elements of that input, which is a vector; None if it is a scalar for all members.
    """

    operand: Variable
    number: int
    positions: np.ndarray | None


class Loop(NamedTuple):
    """Expressions that are evaluated for each member of a template.

    Attributes
    ----------
    count : int
        Number of members.
    slots : list of Slot
    results : list of scalar variables
        Expressions of the operands.
    places : list of (count,) ndarrays
        The entries to which each result is added.
    """

    count: int
    slots: list[Slot]
    results: list[Variable]
    places: list[np.ndarray]

    @property
    def positions(self):
        """The positions of the operands that are elements of vectors."""
        return [slot.positions for slot in self.slots if slot.positions is not None]


class Entries(Op):
    """A vector to whose elements the results of loops are added.

    Its inputs are two tables of constants, by which the code of the loops is the same for any
    number of members, and vectors and scalars. `index` has for each member of each loop the
    positions of its operands and the places of its results. `counts` has the number of members of
    each loop, the least length of each of the other inputs, and the number of entries.

    Parameters
    ----------
    loops : list of Loop
    size : int
        Number of entries.
    dtype : str
        Type of the results and of the entries.
    """

    __props__ = ()

    def __init__(self, loops, size, dtype):
        self.loops, self.size, self.dtype = loops, size, dtype

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)

    def of(self, vectors):
        """Apply the Op to vectors and scalars."""
        rows, lengths = [np.zeros(0, int)], [0] * len(vectors)
        for loop in self.loops:
            rows.append(np.stack([*loop.positions, *loop.places], axis=1).ravel())
            for slot in loop.slots:
                if slot.positions is not None:
                    least = int(slot.positions.max()) + 1
                    lengths[slot.number] = max(lengths[slot.number], least)
        index = np.concatenate(rows).astype(np.uint32)
        members = [loop.count for loop in self.loops]
        counts = np.array([*members, *lengths, self.size], np.int64)
        return self(constant(index), pt.constant(counts), *vectors)

    def make_node(self, *inputs):
        """Make a node of two tables, and of vectors and scalars."""
        inputs = [pt.as_tensor_variable(x) for x in inputs]
        return Apply(self, inputs, [pt.vector(dtype=self.dtype, shape=(self.size,))])

    def expanded(self, index, counts, *vectors):
        """Write the loops out as a graph of vectors."""
        parts, places, start = [], [], 0
        for loop in self.loops:
            width = len(loop.positions) + len(loop.places)
            columns = columns_of(index, start, loop.count, width)
            start += loop.count * width
            values = {}
            for slot in loop.slots:
                x = vectors[slot.number]
                if slot.positions is not None:
                    place = columns.pop(0)
                    x = x[int(slot.positions[0])] if loop.count == 1 else x[place]
                values[slot.operand] = x
            parts += [full(x, loop.count) for x in rebuilt(loop.results, values)]
            places += columns
        return sums(parts, places, self.size, self.dtype)

    @cached_property
    def _compiled(self):
        return {}

    def perform(self, node, inputs, outputs):
        """Run the graph of vectors; rewrites put it in the place of the Op before."""
        types = tuple(x.type for x in node.inputs)
        if types not in self._compiled:
            variables = [kind() for kind in types]
            found = self.expanded(*variables)
            self._compiled[types] = pytensor.function(
                variables, found, mode=PLAIN, on_unused_input="ignore"
            )
        outputs[0][0] = self._compiled[types](*inputs)

    def infer_shape(self, *args):
        """Return the number of entries."""
        return [(pt.constant(self.size),)]

    def connection_pattern(self, node):
        """Say that the entries depend on all floats."""
        return [[is_float(x)] for x in node.inputs]

    def pullback(self, inputs, outputs, cotangents):
        """Differentiate the graph of vectors, in copies: inputs may depend on each other."""
        copies = [x if isinstance(x, Constant) else x.type() for x in inputs]
        floats = [x for x in copies if is_float(x)]
        found = pullback(
            self.expanded(*copies), floats, cotangents[0],
            disconnected_inputs="ignore", return_disconnected="zero",
        )  # fmt: skip
        originals = {c: x for c, x in zip(copies, inputs, strict=True) if c is not x}
        found = iter(rebuilt(found, originals))
        return [next(found) if is_float(x) else disconnected_type() for x in copies]

    L_op = pullback


def is_float(x):
    """Say whether there may be a derivative in a variable."""
    return x.type.dtype.startswith(("float", "complex"))


def columns_of(index, start, count, width):
    """Return the columns of the part of the table that a loop reads."""
    if isinstance(index, Constant):
        part = index.data[start : start + count * width].reshape(count, width).astype(np.int64)
        return [pt.constant(part[:, k]) for k in range(width)]
    part = index[start : start + count * width].reshape((count, width)).astype("int64")
    return [part[:, k] for k in range(width)]


def full(x, count):
    """Return a vector with an element for each member, or a scalar if there is one."""
    return x if x.type.ndim or count == 1 else pt.broadcast_to(x, (count,))


def sums(parts, places, size, dtype):
    """Sum the elements of vectors that go to the same place.

    The places are vectors of constants, or variables.
    """
    vectors, scalars = [], []
    for x in parts:
        if x.type.ndim == 0:
            scalars.append(x)
            continue
        vectors += [pt.stack(scalars)] if scalars else []
        scalars = []
        vectors.append(x)
    vectors += [pt.stack(scalars)] if scalars else []
    if not vectors:
        return pt.zeros(size, dtype)
    flat = joined_by_few(vectors)
    if all(isinstance(place, Constant) for place in places):
        known = np.concatenate([place.data for place in places])
        if each_once(known, size):
            order = np.argsort(known)
            return flat if (order == np.arange(size)).all() else flat[pt.constant(order)]
        places = [pt.constant(known)]
    return pt.inc_subtensor(pt.zeros(size, dtype)[pt.concatenate(places)], flat)


def each_once(places, size):
    """Say whether places are all those of a vector, each once."""
    return len(places) == size and len(np.unique(places)) == size


def joined_by_few(vectors):
    """Join vectors, few at a time: numba takes long to compile a join of many."""
    while len(vectors) > 1:
        groups = [vectors[k : k + JOINED] for k in range(0, len(vectors), JOINED)]
        vectors = [pt.concatenate(group) if len(group) > 1 else group[0] for group in groups]
    return vectors[0]


@_vectorize_node.register(Entries)
def vectorize_entries(op, node, *inputs):
    """Write the loops out, and take the rules of all that is in them."""
    found = op.expanded(*node.inputs)
    replace = dict(zip(node.inputs, inputs, strict=True))
    return vectorize_graph(found, replace).owner


# ---- loops ----


class Loops(Op):
    """The loops of `Entries`, for a backend that compiles them; the inputs are the same.

    Attributes
    ----------
    loops : list of Loop
        Whose results were simplified.
    add : bool
        Whether an entry may be the sum of several results.
    """

    __props__ = ()

    def __init__(self, loops, size, dtype):
        self.loops, self.size, self.dtype = loops, size, dtype
        places = [np.zeros(0, int), *(place for loop in loops for place in loop.places)]
        self.add = not each_once(np.concatenate(places), size)

    def __eq__(self, other):
        return self is other

    def __hash__(self):
        return id(self)

    def make_node(self, *inputs):
        """Make a node of two tables, and of vectors and scalars."""
        return Apply(self, list(inputs), [pt.vector(dtype=self.dtype, shape=(self.size,))])

    def perform(self, node, inputs, outputs):
        """Raise: the Op is for backends that compile it."""
        raise NotImplementedError

    def infer_shape(self, *args):
        """Return the number of entries."""
        return [(pt.constant(self.size),)]


def simplified(loops):
    """Rewrite the expressions of all loops at once; None if they are more than scalar operations.

    Expressions of different loops stay apart, because no operand belongs to two loops.
    """
    operands = [slot.operand for loop in loops for slot in loop.slots]
    graph = FunctionGraph(operands, [x for loop in loops for x in loop.results], clone=True)
    rewrite_graph(graph, **REWRITES)
    if not all(map(is_of_scalars, graph.apply_nodes)):
        return None
    new, results = iter(graph.inputs), iter(graph.outputs)
    return [
        loop._replace(
            slots=[slot._replace(operand=next(new)) for slot in loop.slots],
            results=[next(results) for _ in loop.results],
        )
        for loop in loops
    ]


def is_of_scalars(node):
    """Say whether a node applies one operation to scalars."""
    return (
        isinstance(node.op, Elemwise)
        and len(node.outputs) == 1
        and all(x.type.ndim == 0 for x in (*node.inputs, *node.outputs))
    )


@node_rewriter([Entries])
def compile_loops(fgraph, node):
    """Put loops in the place of entries, where a backend compiles them."""
    loops = simplified(node.op.loops)
    if loops is None:
        return None
    return Loops(loops, node.op.size, node.op.dtype).make_node(*node.inputs).outputs


@node_rewriter([Entries])
def write_out(fgraph, node):
    """Put a graph of vectors in the place of entries, for other backends."""
    return [node.op.expanded(*node.inputs)]


def register():
    """Register the rewrites, once, when the package is imported; they run before all others."""
    optdb.register("sparsechol_loops", dfs_rewriter(compile_loops), "numba", position=-0.03)
    optdb.register(
        "sparsechol_entries", dfs_rewriter(write_out), "fast_run", "fast_compile", position=-0.02
    )
