"""Derivatives of graphs that are made of scalar equations: read them, and build templates.

`_sparsity.templates` says what a template is. What two equations must share to be of one template:
the Ops, with all their properties, applied to leaves of the same types in the same places, and the
same leaves where one leaf is used twice. Leaves are elements of variables and constants. Elements
of different arrays of parameters are different leaves, but scalar variables are not. Constants are
data, unless the derivative is another one for another value: constants of integers and booleans,
zeros, and exponents count by their values.
"""

from collections import Counter

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytensor.tensor.basic as tb
import pytensor.tensor.subtensor as sub
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import toposort
from pytensor.scalar import Add, Mul, Neg, Pow, Sub, TrueDiv
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.math import Sum
from pytensor.tensor.reshape import JoinDims, SplitDims
from pytensor.tensor.shape import Reshape, SpecifyShape

from .._sparsity.expressions import (
    CONSTANT,
    FIXED,
    INNER,
    NOTHING,
    VARIABLE,
    Expressions,
    Leaf,
    NotMovedError,
    Operation,
    Places,
    Source,
)
from .._sparsity.template_derivatives import twice_differentiable
from .._sparsity.templates import take_apart
from ..coloring._modes import do_templates_pay
from ._detect import jacobian_pattern, shape_of, sources_of
from ._graphs import dependents, rebuilt
from ._loops import Entries, Loop, Slot, full, sums
from ._matrix import constant
from ._rule_table import REGISTERED, RULES
from ._walk import NotKnownError, Walk, has_derivatives, size

SCALES = {Mul: "mul", TrueDiv: "div"}
ROOM = 300  # operations of templates of one member in one loop
LARGE = 10_000  # constants with more elements are not known one by one

# Ops that move elements, and the inputs whose elements they move; None for all.
FIRST = (0,)
MOVES = {
    **dict.fromkeys((Reshape, DimShuffle, SpecifyShape, JoinDims, SplitDims), FIRST),
    **dict.fromkeys((tb.Alloc, tb.ExtractDiag, tb.Split), FIRST),
    **dict.fromkeys((sub.Subtensor, sub.AdvancedSubtensor), FIRST),
    **dict.fromkeys((sub.IncSubtensor, sub.AdvancedIncSubtensor), (0, 1)),
    tb.MakeVector: None,
    tb.Join: None,
}
for _name, _which in (("AdvancedSubtensor1", FIRST), ("AdvancedIncSubtensor1", (0, 1))):
    if hasattr(sub, _name):
        MOVES[getattr(sub, _name)] = _which


def moved_inputs(node):
    """Return the inputs whose elements a node moves; None if it does more."""
    op = node.op
    if type(op) not in MOVES or type(op) in REGISTERED:
        return None
    if not getattr(op, "set_instead_of_inc", True):
        return None
    which = MOVES[type(op)]
    if which is not None:
        return [node.inputs[k] for k in which]
    skipped = isinstance(op, tb.Join) and not hasattr(op, "axis")  # before PyTensor 3.1
    return node.inputs[1:] if skipped else node.inputs


def is_scalar_operation(node):
    """Say whether a node applies one operation to scalars."""
    return (
        isinstance(node.op, Elemwise)
        and type(node.op) not in REGISTERED
        and all(isinstance(x.type, pt.TensorType) for x in node.inputs)
        and all(x.type.ndim == 0 for x in node.outputs)
    )


def count_scalars(x):
    """Count the scalar expressions of which an array is made, by moves alone."""
    count, stack, seen = 0, [x], set()
    while stack:
        y = stack.pop()
        if y in seen or y.owner is None:
            continue
        seen.add(y)
        moved = moved_inputs(y.owner)
        if moved is not None:
            stack += moved
        elif y.type.ndim == 0 and is_scalar_operation(y.owner):
            count += 1
        elif isinstance(y.owner.op, Sum | Elemwise):
            stack += y.owner.inputs
    return count


def equations(expr, wrt, givens, forced=False):
    """Take an expression apart into templates; return None if colors are cheaper.

    With `forced` they never are.
    """
    reader = Reader(expr, wrt, givens)
    if not (forced or reader.scalars):
        return None
    apart = reader.apart(expr, forced)
    if forced and apart is None:
        raise ValueError("the equations share too much to be taken apart: take another mode")
    if apart is None:
        return None
    pays = do_templates_pay(apart.work, reader.count, bool(apart.inner))
    return apart if forced or pays else None


def terms(cost, wrt, givens):
    """Take a scalar apart into templates of the terms of a sum; None if colors are cheaper."""
    reader = Reader(cost, wrt, givens)
    if not reader.scalars:
        return None
    apart = reader.apart(cost, split=True)
    if apart is None or len(apart.levels) > 1:
        return None
    products = not all(map(twice_differentiable, apart.templates))
    return apart if do_templates_pay(apart.work_of_seconds, reader.count, products) else None


class Reader:
    """Read the graph of an expression into a table of scalar expressions.

    Attributes
    ----------
    table : Expressions
    columns : int
        Number of elements of `wrt`.
    scalars : int
        Number of nodes that apply an operation to scalars.
    count : int
        Number of nodes that were taken apart.
    """

    def __init__(self, expr, wrt, givens):
        givens = givens or {}
        self.table = Expressions()
        self.walk = Walk(Places(), {}, sources_of(givens, wrt))
        nodes, self.moving = dependents([expr], wrt)
        self.scalars = sum(map(is_scalar_operation, nodes))
        self.users = Counter(x for node in nodes for x in node.inputs)
        self.count = 0
        self._operations: dict = {}
        self._twins: dict = {}
        offset = 0
        for x in wrt:
            shape = shape_of(x, givens)
            source = Source(Leaf(VARIABLE, x.type.dtype), x, offset)
            self.walk.ids[x] = self.table.leaves(source, size(shape)).reshape(shape)
            offset += size(shape)
        self.columns = offset

    def apart(self, x, forced=False, split=False):
        """Take a variable apart; return None if that is not possible."""
        try:
            rows = self.read(x)
        except ValueError:  # a shape that is not known
            if forced:
                raise
            return None
        return take_apart(self.table, rows.ravel(), split)

    def read(self, x):
        """Return the array of the expressions of a variable."""
        ids, stack = self.walk.ids, [x]
        while stack:
            y = stack[-1]
            if y in ids:
                stack.pop()
                continue
            needed = self.needed(y)
            missing = [z for z in needed or () if z not in ids]
            if missing:
                stack.extend(missing[::-1])
                continue
            stack.pop()
            found = self.leaf(y) if needed is None else self.taken_apart(y)
            ids[y] = np.asarray(found, np.int32)
        return ids[x]

    def needed(self, y):
        """Return the variables that are read before; None if y is a leaf."""
        node = y.owner
        if node is None or not isinstance(y.type, pt.TensorType):
            return None
        if is_scalar_operation(node):
            return node.inputs
        if isinstance(node.op, Elemwise | Sum) and type(node.op) not in REGISTERED:
            return node.inputs if self.is_of_scalars(node) else None
        moved = moved_inputs(node)
        if moved is not None and self.is_parameter(node):
            return None
        return moved if moved is not None and all(map(self.has_shape, moved)) else None

    def is_of_scalars(self, node):
        """Say whether the elements of an operand are mostly scalar expressions."""
        try:
            return any(0 < size(self.walk.shape(x)) <= 2 * count_scalars(x) for x in node.inputs)
        except ValueError:
            return False

    def is_parameter(self, node):
        """Say whether a node takes an element of an array that does not depend on wrt."""
        base = node.inputs[0]
        fixed = base not in self.moving and not isinstance(base, Constant)
        return fixed and isinstance(node.op, sub.Subtensor) and element_of(node) is not None

    def has_shape(self, x):
        """Say whether a variable is a tensor whose shape cannot change."""
        if not isinstance(x.type, pt.TensorType):
            return False
        if x not in self.moving:
            return None not in x.type.shape
        try:
            self.walk.shape(x)
        except ValueError:
            return False
        return True

    def taken_apart(self, y):
        """Return the expressions of the result of a node whose operands have been read."""
        node = y.owner
        self.count += y in self.moving
        if is_scalar_operation(node):
            return self.applied(y, [int(self.walk.ids[x]) for x in node.inputs])
        try:
            if isinstance(node.op, Elemwise):
                return self.element_by_element(y)
            if isinstance(node.op, Sum):
                return self.summed(y)
            return self.moved(y)
        except (NotMovedError, NotKnownError, ValueError, IndexError):
            return self.leaf(y)

    def moved(self, y):
        """Move the expressions of the operands."""
        node, ids = y.owner, self.walk.ids
        if isinstance(node.op, sub.Subtensor) and y.type.ndim == 0:
            index = element_of(node)
            if index is not None:
                return int(ids[node.inputs[0]][index])
        for x in node.inputs:
            if x.owner is not None and x not in ids:
                for inner in toposort([x], blockers=self.walk._marked):
                    self.walk.mark(inner)
        operands = [ids.get(x) for x in node.inputs]
        found = RULES[type(node.op)](self.walk, node.op, node, operands)
        found = found[node.outputs.index(y)]
        base = node.inputs[0]
        if "Inc" in type(node.op).__name__ and self.users[base] == 1:
            del ids[base]  # or a loop over indices would keep an array for each
        return found

    def applied(self, y, operands):
        """Apply the operation of a node to one expression each."""
        node = y.owner
        if NOTHING in operands:
            return self.leaf(y)
        k = node.outputs.index(y)
        dtypes = tuple(x.type.dtype for x in node.inputs)
        key = (id(node.op), k, dtypes)
        if key not in self._operations:
            signs = signs_of(node.op.scalar_op, len(dtypes))
            scales = SCALES.get(type(node.op.scalar_op), "")
            operation = Operation((node.op, k), dtypes, y.type.dtype, signs, scales)
            self._operations[key] = self.table.number(operation)
        if isinstance(node.op.scalar_op, Pow) and isinstance(node.inputs[1], Constant):
            operands = [operands[0], self.literal(node.inputs[1].data, dtypes[1])]
        return self.table.apply(self._operations[key], operands)

    def element_by_element(self, y):
        """Apply the operation of a node to each element of arrays."""
        parts = [np.asarray(self.walk.ids[x]) for x in y.owner.inputs]
        parts = np.broadcast_arrays(*parts)
        if any((part == NOTHING).any() for part in parts):
            raise NotMovedError
        lines = zip(*(part.ravel().tolist() for part in parts), strict=True)
        found = [self.applied(y, operands) for operands in lines]
        return np.array(found, np.int32).reshape(parts[0].shape)

    def summed(self, y):
        """Sum over axes."""
        [x] = y.owner.inputs
        ids = np.asarray(self.walk.ids[x])
        if (ids == NOTHING).any() or x.type.dtype != y.type.dtype:
            raise NotMovedError
        axes = range(ids.ndim) if y.owner.op.axis is None else y.owner.op.axis
        kept = [axis for axis in range(ids.ndim) if axis not in axes]
        lines = ids.transpose(*kept, *axes).reshape(*(ids.shape[axis] for axis in kept), -1)
        count = lines.shape[-1]
        operation = Operation((pt.add, 0), (x.type.dtype,) * count, y.type.dtype, (1,) * count)
        number = self.table.number(operation)
        found = [self.table.apply(number, line) for line in lines.reshape(-1, count).tolist()]
        return np.array(found, np.int32).reshape(lines.shape[:-1])

    # ---- leaves ----

    def leaf(self, y):
        """Return the expressions of the elements of a variable that is not taken apart."""
        dtype = y.type.dtype
        twin = self._twins.setdefault(structure(y), y)
        if twin in self.walk.ids:
            return self.walk.ids[twin]
        if isinstance(y, Constant) and y.data.size <= LARGE:
            found = [self.known(value, dtype) for value in y.data.ravel()]
            return np.array(found, np.int32).reshape(y.data.shape)
        if y in self.moving and has_derivatives(y):
            shape = self.walk.shape(y)
            source = Source(Leaf(INNER, dtype), y)
        elif y.type.ndim == 0:
            return self.parameter(y)
        else:
            shape = self.walk.shape(y)
            source = Source(Leaf(FIXED, dtype, y), y)
        return self.table.leaves(source, size(shape)).reshape(shape)

    def parameter(self, y):
        """Return the expression of a scalar that does not depend on wrt."""
        index = None
        if y.owner is not None and isinstance(y.owner.op, sub.Subtensor):
            index = element_of(y.owner)
        if index is None:
            return self.table.leaves(Source(Leaf(FIXED, y.type.dtype), y), 1)[0]
        array = y.owner.inputs[0]
        key = (array, index)
        if key not in self._operations:
            source = Source(Leaf(FIXED, y.type.dtype, (array, "element")), (array, index))
            self._operations[key] = self.table.leaves(source, 1)[0]
        return self._operations[key]

    def known(self, value, dtype):
        """Return the expression of a constant."""
        if value.dtype.kind not in "fc" or value == 0:
            return self.literal(value, dtype)
        return self.table.constant(value, dtype)

    def literal(self, value, dtype):
        """Return the expression of a constant that counts by its value."""
        key = Operation(("literal", np.asarray(value).item()), (), dtype)
        return self.table.apply(self.table.number(key), ())


def structure(x, depth=4):
    """Return a key that is the same for equal expressions, if they are small."""
    if isinstance(x, Constant) and x.data.size == 1:
        return x.type, x.data.tobytes()
    if x.owner is None or not depth or len(x.owner.inputs) > 4:
        return x
    inputs = tuple(structure(y, depth - 1) for y in x.owner.inputs)
    return x.owner.op, x.owner.outputs.index(x), inputs


def element_of(node):
    """Return the constant index of an element that a node takes, or None."""
    index = []
    for entry in node.op.idx_list:
        if isinstance(entry, slice):
            return None
        x = node.inputs[1 + entry] if isinstance(entry, int) else None
        if not isinstance(x, Constant):
            return None
        index.append(int(x.data))
    return tuple(index) if len(index) == node.inputs[0].type.ndim else None


def signs_of(op, count):
    """Return the signs of the operands of a sum; nothing for other operations."""
    if isinstance(op, Add):
        return (1,) * count
    return {Sub: (1, -1), Neg: (-1,)}.get(type(op), ())


# ---- building ----


class Builder:
    """Build the graphs of templates."""

    def __init__(self, apart, z, dtype, on_unknown):
        self.apart, self.table, self.z, self.dtype = apart, apart.table, z, dtype
        self.on_unknown = on_unknown
        self._bodies: dict = {}

    def apply(self, number, operands):
        """Apply an operation to variables."""
        key = self.table.keys[number]
        op, k = key.op
        if op == "literal":
            return pt.constant(np.asarray(k, key.dtype))
        found = op(*operands, return_list=True) if isinstance(op, Elemwise) else [op(*operands)]
        return found[k]

    def body(self, template):
        """Return a scalar for each slot of a template, and the expression of these."""
        if template not in self._bodies:
            slots = [pt.scalar(dtype=leaf.dtype) for leaf in template.slots]
            self._bodies[template] = slots, template.evaluate(slots, self.apply)
        return self._bodies[template]

    def find_live(self, template):
        """Find the slots in which a template has a derivative."""
        slots, body = self.body(template)
        moving = template.moving
        if not moving or not has_derivatives(body):
            return []
        wrt = [slots[k] for k in moving]
        pattern = jacobian_pattern(body, wrt, on_unknown=self.on_unknown)
        return [moving[q] for q in pattern.tocoo().coords[1].tolist()]

    def find_pairs(self, template):
        """Find the pairs of slots in which a template has a second derivative."""
        slots, body = self.body(template)
        moving = template.moving
        wrt = [slots[k] for k in moving]
        if not moving or not has_derivatives(body):
            return []
        g = pt.stack(gradient(body, wrt))
        pattern = jacobian_pattern(g, wrt, on_unknown=self.on_unknown)
        i, j = (pattern + pattern.T).tocoo().coords
        found = sorted(zip(i.tolist(), j.tolist(), strict=True))
        return [(moving[a], moving[b]) for a, b in found if a >= b]

    def slot(self, template, k, blocks):
        """Build the values that a slot takes: a vector, or a scalar if they are all the same."""
        leaf, leaves = template.slots[k], template.leaves[:, k]
        same = len(leaves) == 1 or (leaf.kind in (FIXED, CONSTANT) and len(np.unique(leaves)) == 1)
        if leaf.kind in (VARIABLE, INNER):
            vector = self.z if leaf.kind == VARIABLE else blocks[leaf.block]
            return self.element(vector, self.apart.positions(template, k), same).astype(leaf.dtype)
        sources = [self.table.source(x) for x in leaves.tolist()]
        if leaf.kind == CONSTANT:
            values = np.array([source.array for source in sources], leaf.dtype)
            return pt.constant(values[0]) if (values == values[0]).all() else constant(values)
        if leaf.array is None:
            distinct, which = np.unique(leaves, return_inverse=True)
            scalars = [self.table.source(x).array for x in distinct.tolist()]
            return scalars[0] if same else pt.stack(scalars)[constant(which.astype(np.int64))]
        if isinstance(leaf.array, tuple):
            index = np.array([source.array[1] for source in sources]).T
            array = leaf.array[0]
            return array[tuple(index[:, 0].tolist() if same else map(constant, index))]
        places = self.apart.positions(template, k)
        shape = Walk(Places(), {}).shape(leaf.array)
        index = np.unravel_index(places, shape)
        if same:
            return leaf.array[tuple(int(q[0]) for q in index)]
        return leaf.array[tuple(constant(q.astype(np.int64)) for q in index)]

    def element(self, vector, places, same):
        return vector[int(places[0])] if same else self.take(vector, places)

    def take(self, vector, places):
        """Take the elements at constant places."""
        if vector.type.ndim == 0:
            return vector if len(places) == 1 else pt.broadcast_to(vector, (len(places),))
        return vector[constant(np.asarray(places, np.int64))]

    # ---- derivatives of templates ----

    def firsts(self, template):
        """Return the derivatives in live slots, as expressions of the slots."""
        slots, body = self.body(template)
        return gradient(body, [slots[k] for k in template.live])

    def seconds(self, template):
        """Return the derivatives in pairs of slots, as expressions of the slots."""
        slots, body = self.body(template)
        first = sorted({k for k, _ in template.pairs})
        found = {}
        for k, g in zip(first, gradient(body, [slots[k] for k in first]), strict=True):
            second = [q for p, q in template.pairs if p == k]
            for q, h in zip(second, gradient(g, [slots[q] for q in second]), strict=True):
                found[k, q] = h
        return [found[pair] for pair in template.pairs]

    def seconds_of_both(self, template):
        """Return the derivatives in pairs of slots; if the slots differ, for both triangles."""
        found = zip(template.pairs, self.seconds(template), strict=True)
        return [h for (k, q), h in found for _ in range(1 + (k != q))]

    def value(self, template, slots):
        """Build the value of a template for the values of its slots."""
        operands, body = self.body(template)
        [x] = rebuilt([body], dict(zip(operands, slots, strict=True)))
        x, weight = x.astype(self.dtype), self.weight(template)
        return full(x if weight is None else x * weight, len(template))

    def weight(self, template):
        """Return what all members are multiplied by, or None."""
        weights = template.weights.astype(self.dtype)
        if (weights == 1).all():
            return None
        return pt.constant(weights[0]) if (weights == weights[0]).all() else constant(weights)

    def sums(self, parts, places, size):
        """Sum the elements of vectors that go to the same place."""
        return sums(parts, [constant(np.asarray(places, np.int64))], size, self.dtype)

    # ---- values ----

    def values(self, inner):
        """Build the rows of the last level, of known values `inner` of what was not taken apart."""
        values = [inner]
        for level in self.apart.levels:
            loops, templates = Gatherer(self, values), level.templates
            if level is self.apart.levels[-1]:
                templates = [*templates, *self.apart.still]
            for t in templates:
                loops.add(t, [self.body(t)[1]], [t.rows])
            values.append(loops.entries(level.size))
        return values[-1]

    # ---- entries ----

    def jacobian(self, inner):
        """Build the entries of the last level, after `plan_jacobian`.

        `inner` is a pair of the values, and of the entries of the Jacobian, of the arrays that were
        not taken apart, or None.
        """
        values, jacobians = [inner[0] if inner else None], [inner[1] if inner else None]
        for level in self.apart.levels:
            last = level is self.apart.levels[-1]
            value, entries = self.level(level, values, jacobians, last)
            values.append(value)
            jacobians.append(entries)
        return jacobians[-1]

    def level(self, level, values, jacobians, last):
        """Build the values of the rows of a level, unless it is the last, and its entries.

        All of it is one vector. By the chain rule derivatives in what another block has computed,
        times entries of that block, are added to the entries:

            entries | values | derivatives in other blocks
               +---------<--------- times entries of these
        """
        nnz = level.pattern.nnz
        size = nnz if last else nnz + level.size
        loops, left, chains = Gatherer(self, values), level.entry, {}
        for t in level.templates:
            results, places = self.firsts(t), []
            for k in t.live:
                member, _, below = level.chains.get((t, k), (np.arange(len(t)), None, None))
                place, left = left[: len(member)], left[len(member) :]
                if below is not None:
                    parts = chains.setdefault(t.slots[k].block, [])
                    parts.append((place, size + member, below))
                    place = np.arange(size, size + len(t))
                    size += len(t)
                places.append(place)
            if not last:
                results, places = [*results, self.body(t)[1]], [*places, nnz + t.rows]
            loops.add(t, results, places)
        found = entries = loops.entries(size)
        for block, parts in chains.items():
            place, derivative, below = (np.concatenate(part) for part in zip(*parts, strict=True))
            products = self.take(found, derivative) * self.take(jacobians[block], below)
            products = products.astype(self.dtype)
            entries = pt.inc_subtensor(self.take(entries, place), products)
        value = None if last else found[nnz : nnz + level.size]
        return value, entries if size == nnz else entries[:nnz]

    def hessian(self, rest):
        """Build the entries of the Hessian, after `plan_hessian`; `rest` is added to the last."""
        [level] = self.apart.levels
        loops, left = Gatherer(self, ()), level.entry
        for t in level.templates:
            results, count = self.seconds_of_both(t), len(t)
            places = [left[k * count : (k + 1) * count] for k in range(len(results))]
            left = left[len(results) * count :]
            loops.add(t, results, places)
        entries = loops.entries(level.pattern.nnz)
        return entries if rest is None else pt.inc_subtensor(entries[constant(left)], rest)


class Gatherer:
    """Make loops of templates, and collect what they read.

    Parameters
    ----------
    builder : Builder
    blocks : list of variables
        Values of the blocks of inner expressions.

    Attributes
    ----------
    loops : list of Loop
        Templates of one member are a part of one loop, as long as it is small.
    vectors : list of variables
        What the loops read.
    """

    def __init__(self, builder, blocks):
        self.builder, self.blocks = builder, blocks
        self.loops, self.vectors = [], []
        self._numbers: dict = {}
        self._room, self._shared, self._few = 0, {}, None

    def add(self, template, results, places):
        """Add a template whose results go to some places."""
        if not results:
            return
        count = len(template)
        slots, _ = self.builder.body(template)
        sources = [self.source(template, k) for k in range(len(slots))]
        weight = self.builder.weight(template)
        known = {x: s for x, s in zip(slots, sources, strict=True) if isinstance(s, Variable)}
        read = {x: s for x, s in zip(slots, sources, strict=True) if x not in known}
        results = [x.astype(self.builder.dtype) for x in results]
        if weight is not None and weight.type.ndim:
            factor = pt.scalar(dtype=self.builder.dtype)
            read[factor] = self.number(weight), np.arange(count)
            weight = factor
        results = [x if weight is None else x * weight for x in results]
        if count > 1:
            slots = [Slot(x, *source) for x, source in read.items()]
            self.loops.append(Loop(count, slots, rebuilt(results, known), places))
            return
        self._room -= len(template.form)
        if self._room < 0:
            self._room, self._shared, self._few = ROOM, {}, Loop(1, [], [], [])
            self.loops.append(self._few)
        loop = self._few
        for x, (number, positions) in read.items():
            key = number, None if positions is None else int(positions[0])
            if key not in self._shared:
                self._shared[key] = x
                loop.slots.append(Slot(x, number, positions))
            known[x] = self._shared[key]
        loop.results.extend(rebuilt(results, known))
        loop.places.extend(places)

    def entries(self, size):
        """Build the vector to which all results are added."""
        return Entries(self.loops, size, self.builder.dtype).of(self.vectors)

    def source(self, template, k):
        """Return what a slot reads: a number and positions, or a constant."""
        leaf, builder = template.slots[k], self.builder
        if leaf.kind in (VARIABLE, INNER):
            x = builder.z if leaf.kind == VARIABLE else self.blocks[leaf.block]
            number = self.number(x.astype(leaf.dtype), (leaf.kind, leaf.block, leaf.dtype))
            return number, builder.apart.positions(template, k)
        x = builder.slot(template, k, ())
        if isinstance(x, Constant) and x.type.ndim == 0:
            return x
        return self.number(x), np.arange(len(template)) if x.type.ndim else None

    def number(self, x, key=None):
        """Return the number of a vector or scalar among all that is read."""
        key = x if key is None else key
        number = self._numbers.setdefault(key, len(self.vectors))
        if number == len(self.vectors):
            self.vectors.append(x)
        return number


def gradient(body, variables):
    """Differentiate an expression of scalars."""
    if not variables:
        return []
    return pytensor.grad(
        body, variables, disconnected_inputs="ignore", return_disconnected="zero"
    )  # fmt: skip
