"""Sparsity rules for Ops with graphs inside, and for stacks of one Op."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.basic import Constant, Variable
from pytensor.scan.op import Scan
from pytensor.tensor.blockwise import Blockwise
from scipy.sparse import csr_array, vstack

from ..._sparsity import propagate
from ..._sparsity.sets import Sets
from .._graphs import IfElse
from .._rule_table import rule
from .._walk import NotKnownError, Source, apply_rule, has_derivatives, size
from .elementwise import CORES


@rule(OpFromGraph)
def from_graph(walk, op, node, operands):
    ids = {x: s for x, s in zip(op.inner_inputs, operands, strict=True) if s is not None}
    sources = {x: Source.of(walk, y) for x, y in zip(op.inner_inputs, node.inputs, strict=True)}
    inner = walk.inner(walk.sets, ids, sources)
    out = inner.run(op.inner_outputs)
    walk.asked |= inner.asked
    return out


@rule(IfElse)
def if_else(walk, op, node, operands):
    n = op.n_outs
    branches = operands[1 : 1 + n], operands[1 + n :]
    condition = walk.value(node.inputs[0])
    if condition is not None:
        return branches[0] if condition else branches[1]
    return [
        propagate.union(walk.sets, *(ids for ids in pair if ids is not None), shape=walk.shape(x))
        for x, *pair in zip(node.outputs, *branches, strict=True)
    ]


# ---- stacks ----


@rule(Blockwise)
def blockwise(walk, op, node, operands):
    batch = op.batch_ndim(node)
    core = CORES.get(type(op.core_op))
    if core is not None:
        try:
            return core(walk, op.core_op, node, operands, batch)
        except NotKnownError:
            pass
    return one_by_one(walk, op, node, operands, batch)


def one_by_one(walk, op, node, operands, batch):
    """Apply the rule of the Op at each place in the stack."""
    core = op._create_dummy_core_node(node.inputs)
    shapes = [walk.shape(x) for x in node.outputs]
    lead = shapes[0][:batch]
    out = [propagate.no_inputs(shape) for shape in shapes]
    for place in np.ndindex(*lead):
        inner = core_walk(walk, core, node.inputs, batch, place)
        found = apply_rule(inner, core, [inner.ids.get(x) for x in core.inputs])
        for array, ids in zip(out, found, strict=True):
            array[place] = 0 if ids is None else ids
        walk.asked |= inner.asked
    return out


def core_walk(walk, core, inputs, batch, place):
    """Make a walk of one node, with what is known at a place in the stack."""
    ids, sources = {}, {}
    for x, y in zip(core.inputs, inputs, strict=True):
        here = tuple(0 if n == 1 else q for n, q in zip(walk.shape(y)[:batch], place, strict=True))
        if walk.ids.get(y) is not None:
            ids[x] = np.asarray(walk.ids[y][here])
        sources[x] = slice_of(walk, y, here, batch)
    return walk.inner(walk.sets, ids, sources)


def slice_of(walk, y, here, batch):
    """Return what is known of a part of a variable."""
    known = y in walk.known or isinstance(y, Constant)

    def value():
        whole = walk.value(y)
        return None if whole is None else np.asarray(whole)[here]

    return Source(lambda: walk.shape(y)[batch:], value if known else None, y in walk.hidden)


# ---- loops ----

STEPS = 50_000  # nodes of loops that are walked step by step, at most


@rule(Scan)
def scan(walk, op, node, operands):
    loop = Loop(walk, op, node)
    return loop.closed() if op.info.as_while else loop.unrolled()


@dataclass
class Recurrent:
    """A variable that a loop carries: a buffer with one slice for each step.

    At step t the slices ``start + t + tap`` are read, and written.
    """

    outer: Variable
    inputs: list
    read: tuple
    written: tuple
    start: int
    buffer: np.ndarray
    values: list

    @property
    def places(self):
        return [self.start + tap for tap in self.read]


class Loop:
    """One Scan: what goes into a step and what comes out of it.

    Attributes
    ----------
    sequences, untraced, fixed : lists of pairs
        Variables of the inner graph, and of the outer one.
    carried : list of Recurrent
    outputs : list
        Of the inner graph, without the condition.
    """

    def __init__(self, walk, op, node):
        self.walk, self.op, self.node = walk, op, node
        inner, outer = op.inner_inputs, node.inputs
        self.count = int(walk.needed(outer[0]))
        self.sequences = pairs(op.inner_seqs(inner), op.outer_seqs(outer))
        self.untraced = pairs(op.inner_untraced_sit_sot(inner), op.outer_untraced_sit_sot(outer))
        self.fixed = pairs(op.inner_non_seqs(inner), op.outer_non_seqs(outer))
        self.carried = [*self._accumulated(), *self._remembered()]
        self.outputs = op.inner_outputs[: len(op.inner_outputs) - op.info.as_while]

    def _accumulated(self):
        """Return the variables of gradients of loops, which read and write a given buffer."""
        op, info = self.op, self.op.info
        groups = op.inner_mitmot_grouped(op.inner_inputs)
        outer = op.outer_mitmot(self.node.inputs)
        for x, inputs, read, written in zip(
            outer, groups, info.mit_mot_in_slices, info.mit_mot_out_slices, strict=True
        ):
            buffer = self.walk.or_none(x).copy()
            values = [None] * len(buffer)
            yield Recurrent(x, inputs, read, written, -min(0, *read), buffer, values)

    def _remembered(self):
        """Return the variables of which a few steps back are read, and the next is written."""
        op, info = self.op, self.op.info
        groups = op.inner_mitsot_grouped(op.inner_inputs)
        groups += [[x] for x in op.inner_sitsot(op.inner_inputs)]
        outer = op.outer_mitsot(self.node.inputs) + op.outer_sitsot(self.node.inputs)
        taps = info.mit_sot_in_slices + info.sit_sot_in_slices
        for x, inputs, read in zip(outer, groups, taps, strict=True):
            start = -min(read)
            first = self.walk.or_none(x)[:start]
            buffer = propagate.no_inputs((start + self.count, *first.shape[1:]))
            buffer[:start] = first
            value = self.walk.value(x)
            values = [None] * len(buffer)
            values[:start] = [None] * start if value is None else list(value[:start])
            yield Recurrent(x, inputs, read, (0,), start, buffer, values)

    # ---- what goes into a step ----

    def inputs(self):
        """Return the variables of the inner graph."""
        carried = [x for r in self.carried for x in r.inputs]
        return [
            *(x for x, _ in self.sequences), *carried, *(x for x, _ in self.untraced),
            *(x for x, _ in self.fixed),
        ]  # fmt: skip

    def operands(self, t, untraced):
        """Return what the inner inputs depend on at a step."""
        walk = self.walk
        sequences = [None if walk.ids.get(y) is None else walk.ids[y][t] for _, y in self.sequences]
        carried = [r.buffer[place + t] for r in self.carried for place in r.places]
        return [*sequences, *carried, *untraced, *(walk.ids.get(y) for _, y in self.fixed)]

    def sources(self, t=None):
        """Return what is known of the inner inputs at a step; without one, hide what changes."""
        found = {x: Source.of(self.walk, y) for x, y in self.fixed}
        for x, y in self.sequences:
            found[x] = self._slice(self.walk.shape(y)[1:], partial(self._value_of, y), t)
        for r in self.carried:
            for x, place in zip(r.inputs, r.places, strict=True):
                known = t is None or r.values[place + t] is not None
                value = partial(self._carried_value, r, place, t) if known else None
                found[x] = self._slice(r.buffer.shape[1:], value, t)
        for x, y in self.untraced:
            found[x] = Source(partial(self.walk.shape, y))
        return found

    def _slice(self, shape, value, t):
        if value is None:
            return Source(lambda: shape)
        return Source(lambda: shape, value if t is None else partial(value, t), hidden=t is None)

    def _value_of(self, y, t):
        whole = self.walk.value(y)
        return None if whole is None else whole[t]

    @staticmethod
    def _carried_value(r, place, t, _):
        return r.values[place + t]

    # ---- step by step ----

    def unrolled(self):
        step = self._step()
        untraced = [self.walk.ids.get(y) for _, y in self.untraced]
        yields = [[] for _ in range(self.op.info.n_nit_sot)]
        for t in range(self.count):
            out = iter(step(t, self.operands(t, untraced)))
            for r in self.carried:
                for tap in r.written:
                    ids = next(out)
                    r.buffer[r.start + t + tap] = 0 if ids is None else ids
            for parts in yields:
                parts.append(next(out))
            untraced = list(out)
        return [*self._kept(), *self._yielded(yields), *untraced]

    def _kept(self):
        """Return the last slices of the buffers, as many as there is room for."""
        accumulated = self.op.info.n_mit_mot
        for k, r in enumerate(self.carried):
            room = self.walk.shape(r.outer)[0]
            yield r.buffer if k < accumulated else last(r.buffer, room)

    def _yielded(self, yields):
        lengths = self.op.outer_nitsot(self.node.inputs)
        for parts, length in zip(yields, lengths, strict=True):
            found = [ids for ids in parts if ids is not None]
            if not found:
                yield None
                continue
            nothing = propagate.no_inputs(found[0].shape)
            every = np.stack([nothing if ids is None else ids for ids in parts])
            yield last(every, int(self.walk.needed(length)))

    def _step(self):
        """Return a function of a step and its operands."""
        local = self._local()
        small = self.count * len(self.op.fgraph.apply_nodes) <= STEPS
        if local is None or (small and not local.is_exact):
            return self._walked
        self._doubt(local)
        return lambda t, operands: local.applied(self.walk.sets, operands)

    def _walked(self, t, operands):
        """Make one step by a walk through the graph."""
        ids = {x: s for x, s in zip(self.inputs(), operands, strict=True) if s is not None}
        inner = self.walk.inner(self.walk.sets, ids, self.sources(t))
        found = inner.run(self.outputs)
        self.walk.asked |= inner.asked
        out = iter(self.outputs)
        for r in self.carried:
            for tap in r.written:
                r.values[r.start + t + tap] = inner.value(next(out))
        return found

    def _local(self):
        """Find how any one step is connected; None where that is not known."""
        inputs = [x for x in self.inputs() if has_derivatives(x)]
        first = dict(zip(self.inputs(), self.operands(0, self._first_untraced()), strict=True))
        changing = {x for r in self.carried for x in r.inputs} | {x for x, _ in self.untraced}
        inputs = [x for x in inputs if x in changing or first[x] is not None]
        sources = self.sources()
        shapes = {x: tuple(sources[x].shape()) for x in inputs}
        ends = np.cumsum([0, *(size(shapes[x]) for x in inputs)])
        sets = Sets(int(ends[-1]))
        places = sets.inputs(-1)
        ids = {
            x: places[begin:end].reshape(shapes[x])
            for x, begin, end in zip(inputs, ends[:-1], ends[1:], strict=True)
        }
        inner = self.walk.inner(sets, ids, sources)
        inner.put_off = []
        try:
            found = inner.run(self.outputs)
            shapes = [inner.shape(x) for x in self.outputs]
        except ValueError:  # a shape that depends on a hidden value
            return None
        return Local(self.inputs(), ids, sets, found, shapes, inner)

    def _doubt(self, local):
        """Give the warnings of a step that stands for all."""
        for what, advice in local.put_off:
            self.walk.doubt(f"{what}, as the loop is not followed step by step", advice)

    def _first_untraced(self):
        return [self.walk.ids.get(y) for _, y in self.untraced]

    # ---- until a condition holds ----

    def closed(self):
        """Let every slice depend on all that any step can depend on: the last step is not known."""
        if self.op.info.n_mit_mot or self.untraced:
            raise NotKnownError
        local = self._local()
        if local is None:
            raise NotKnownError
        self._doubt(local)
        if self.carried:
            self._close(local)
        found = local.applied(self.walk.sets, self._of_any_step())
        out = []
        for r, ids in zip(self.carried, found, strict=False):
            parts = [r.buffer[k] for k in range(r.start)] + ([] if ids is None else [ids])
            slices = propagate.union(self.walk.sets, *parts)
            out.append(np.broadcast_to(slices, r.buffer.shape))
        for ids in found[len(out) :]:
            out.append(None if ids is None else np.broadcast_to(ids, (self.count, *ids.shape)))
        self.walk.elastic.update(self.node.outputs)
        return out

    def _close(self, local):
        """Unite what is carried with all that it becomes in any number of steps."""
        sets = self.walk.sets
        slots = [r.buffer[: r.start] for r in self.carried]
        ends = np.cumsum([0, *(part.size for part in slots)])
        first = np.concatenate([propagate.flatten(part) for part in slots])
        offsets = {}  # of what is read, among the slots
        for r, begin in zip(self.carried, ends, strict=False):
            slice_size = size(r.buffer.shape[1:])
            offsets |= {
                x: begin + place * slice_size for x, place in zip(r.inputs, r.places, strict=True)
            }
        following = local.matrix @ local.columns_at(offsets, int(ends[-1]))
        blocks = []
        row = 0
        for r, begin, end in zip(self.carried, ends, ends[1:], strict=False):
            slice_size = size(r.buffer.shape[1:])
            blocks.append(shift(begin + slice_size, end, int(ends[-1])))
            blocks.append(following[row : row + slice_size])
            row += slice_size
        carried = {x for r in self.carried for x in r.inputs}
        operands = [
            None if x in carried else ids
            for x, ids in zip(self.inputs(), self._of_any_step(), strict=True)
        ]
        found = local.applied(sets, operands)
        for end, ids in zip(ends[1:], found, strict=False):
            if ids is not None:
                place = slice(end - ids.size, end)
                first[place] = propagate.union(sets, first[place], propagate.flatten(ids))
        closed = propagate.closure(sets, vstack(blocks, format="csr"), first)
        for r, begin, end in zip(self.carried, ends, ends[1:], strict=False):
            r.buffer[: r.start] = closed[begin:end].reshape(r.buffer[: r.start].shape)

    def _of_any_step(self):
        """Return the operands of a step that might be any."""
        walk = self.walk
        sequences = [
            None if walk.ids.get(y) is None else propagate.union_along(walk.sets, walk.ids[y], (0,))
            for _, y in self.sequences
        ]
        carried = [r.buffer[place] for r in self.carried for place in r.places]
        return [*sequences, *carried, *(walk.ids.get(y) for _, y in self.fixed)]


class Local:
    """How the outputs of a step are connected to its inputs.

    Attributes
    ----------
    matrix : csr_array
        A row for each element of the outputs, a column for each element of the inputs.
    is_exact : bool
        Whether no step is connected otherwise, by values that change from step to step, and the
        matrix is not larger than the graph that it stands for.
    put_off : list
        Warnings that count if the matrix is used.
    """

    def __init__(self, inputs, ids, sets, outputs, shapes, walk):
        self.inputs, self.ids = inputs, ids
        self.shapes = shapes
        self.width = sets.n
        flat = [
            propagate.no_inputs(size(shape)) if found is None else propagate.flatten(found)
            for found, shape in zip(outputs, shapes, strict=True)
        ]
        self.matrix = csr_array(
            propagate.to_matrix(sets, np.concatenate([*flat, propagate.no_inputs(0)]))
        )
        self.put_off = walk.put_off
        self.is_exact = not walk.asked and self.matrix.nnz <= 20 * sum(self.matrix.shape)

    def applied(self, sets, operands):
        """Return what the outputs depend on."""
        line = propagate.no_inputs(self.width)
        for x, ids in zip(self.inputs, operands, strict=True):
            if ids is not None and x in self.ids:
                place = self.ids[x]
                line[place.reshape(-1) - 1] = propagate.flatten(ids)
        out = propagate.apply_matrix(sets, self.matrix, line)
        ends = np.cumsum([size(shape) for shape in self.shapes])[:-1]
        parts = np.split(out, ends)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def columns_at(self, offsets, length):
        """Make the matrix that takes the columns of some inputs to places from an offset on."""
        row, column = [np.empty(0, int)], [np.empty(0, int)]
        for x, offset in offsets.items():
            if x in self.ids:
                row.append(self.ids[x].reshape(-1) - 1)
                column.append(offset + np.arange(self.ids[x].size))
        row, column = np.concatenate(row), np.concatenate(column)
        return csr_array((np.ones(len(row), np.int8), (row, column)), (self.width, length))


def pairs(inner, outer):
    return list(zip(inner, outer, strict=True))


def last(slices, room):
    """Return the last slices, followed by nothing if there is room for more."""
    if room <= len(slices):
        return slices[len(slices) - room :]
    nothing = propagate.no_inputs((room - len(slices), *slices.shape[1:]))
    return np.concatenate([slices, nothing])


def shift(begin, end, width):
    """Make rows that take the elements from one place on to another."""
    count = max(end - begin, 0)
    places = np.arange(count)
    return csr_array((np.ones(count, np.int8), (places, begin + places)), (count, width))
