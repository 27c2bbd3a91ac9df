"""What a `Program` can hold: how each kind of node is written.

Most nodes only say where elements are: a part, a transpose, a shape. The others are loops.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np
from pytensor.graph.basic import Constant
from pytensor.scalar import Composite, ScalarType
from pytensor.tensor.basic import (
    Alloc,
    Join,
    MakeVector,
    ScalarFromTensor,
    Split,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.math import All, Any, Max, Min, Prod, Sum
from pytensor.tensor.shape import Reshape, SpecifyShape
from pytensor.tensor.subtensor import (
    AdvancedIncSubtensor,
    AdvancedSubtensor,
    IncSubtensor,
    Subtensor,
)
from pytensor.tensor.type import TensorType

from .._core.numeric.handle import register
from .._core.numeric.operations import CODES
from ._ops import Kernel
from ._program_text import merged, rows_first, shape_of
from ._vectors import OneVector

try:
    from pytensor.tensor.subtensor import AdvancedIncSubtensor1, AdvancedSubtensor1
except ImportError:  # newer PyTensor: they are the general Ops
    AdvancedIncSubtensor1, AdvancedSubtensor1 = AdvancedIncSubtensor, AdvancedSubtensor

DTYPES = (
    "bool", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
)  # fmt: skip


class Rule(NamedTuple):
    """Whether a node can be written, and a function that does it and returns the arrays."""

    fits: Callable
    write: Callable


RULES: dict[type, Rule] = {}


def rule(*ops, fits=lambda node: True):
    """Make a rule for Ops."""

    def decorate(write):
        RULES.update(dict.fromkeys(ops, Rule(fits, write)))
        return write

    return decorate


def rule_of(op):
    """Return the rule of an Op, or None."""
    return RULES.get(Kernel if isinstance(op, Kernel) else type(op))


def can_write(node):
    """Say whether a node can be a part of a program."""
    variables = (*node.inputs, *node.outputs)
    return (
        rule_of(node.op) is not None
        and not node.op.destroy_map
        and all(isinstance(x.type, TensorType | ScalarType) for x in variables)
        and all(x.type.dtype in DTYPES and None not in shape_of(x) for x in variables)
        and rule_of(node.op).fits(node)
    )


def same_dtypes(node):
    """Say whether a composite of scalars was made for operands of these types."""
    op = node.op.scalar_op
    if not isinstance(op, Composite):
        return len(node.outputs) == 1
    pairs = zip((*op.fgraph.inputs, *op.fgraph.outputs), (*node.inputs, *node.outputs), strict=True)
    return all(x.type.dtype == y.type.dtype for x, y in pairs)


@rule(Elemwise, fits=same_dtypes)
def elemwise(writer, node):
    """Write one loop, and none where all elements are equal."""
    op, shape = node.op.scalar_op, node.outputs[0].type.shape
    arrays = [writer.of(x) for x in node.inputs]
    arrays = [
        writer.number(a() if a.offset is None else writer.name(a(*"0" * len(a.shape))), a.shape)
        if prod(a.shape) == 1
        else a
        for a in arrays
    ]
    if all(a.offset is None for a in arrays):
        names = writer.scalars(op, [a() for a in arrays], node.inputs, node.outputs)
        return [writer.number(name, shape) for name in names]
    results = [writer.new(x) for x in node.outputs]
    flat = merged([*(a.to(shape) for a in arrays), *results])
    depth = writer.depth
    indices = writer.loops(flat[0].shape)
    operands = [a() if a.offset is None else writer.name(a(*indices)) for a in flat[: len(arrays)]]
    names = writer.scalars(op, operands, node.inputs, node.outputs)
    for a, name in zip(flat[len(arrays) :], names, strict=True):
        writer.write(f"{a(*indices)} = {name}")
    writer.depth = depth
    return results


def reduces_in_one_type(node):
    """Say whether a reduction has no conversions."""
    dtypes = {node.inputs[0].type.dtype, node.outputs[0].type.dtype}
    acc, identity = getattr(node.op, "acc_dtype", None), node.op.scalar_op.identity
    if len(dtypes | ({acc} - {None})) > 1 or identity is None:
        return False
    return np.isfinite(identity) or node.outputs[0].type.dtype.startswith("float")


@rule(All, Any, CAReduce, Max, Min, Prod, Sum, fits=reduces_in_one_type)
def reduction(writer, node):
    """Write loops over the axes that stay, and in them over the others."""
    [x], [y], op = node.inputs, node.outputs, node.op
    array = writer.of(x)
    axes = range(x.type.ndim) if op.axis is None else op.axis
    stay = [k for k in range(x.type.ndim) if k not in axes]
    identity = np.asarray(op.scalar_op.identity, y.type.dtype)
    scalar = op.scalar_op, [y, y], [y]

    def inner(indices):
        total = writer.name(writer.source.constant(identity))
        depth, indices = writer.depth, dict(indices)
        [part] = merged([array]) if not stay else [array]
        if stay:
            names = writer.loops([array.shape[k] for k in axes])
            indices.update(zip(axes, names, strict=True))
            element = array(*(indices[k] for k in range(x.type.ndim)))
        else:
            element = part(*writer.loops(part.shape))
        [name] = writer.scalars(scalar[0], [total, element], *scalar[1:])
        writer.write(f"{total} = {name}")
        writer.depth = depth
        return total

    if prod(y.type.shape) == 1:
        zeros = dict.fromkeys(stay, "0")
        return [writer.number(inner(zeros), y.type.shape)]
    out, depth = writer.new(y), writer.depth
    names = writer.loops(y.type.shape)
    total = inner(zip(stay, names, strict=True))
    writer.write(f"{out(*names)} = {total}")
    writer.depth = depth
    return [out]


@rule(DimShuffle)
def dimshuffle(writer, node):
    """Nothing to compute."""
    array = writer.of(node.inputs[0])
    strides = tuple(0 if k == "x" else array.strides[k] for k in node.op.new_order)
    return [array._replace(strides=strides, shape=node.outputs[0].type.shape)]


@rule(Reshape)
def reshape(writer, node):
    """Copy what is not contiguous; else there is nothing to compute."""
    array, shape = writer.of(node.inputs[0]), node.outputs[0].type.shape
    if array.contiguous:
        return [array._replace(strides=rows_first(shape), shape=shape)]
    out = writer.new(node.outputs[0])
    writer.copy(array, out._replace(strides=rows_first(array.shape), shape=array.shape))
    return [out]


@rule(TensorFromScalar, ScalarFromTensor)
def same(writer, node):
    """Nothing to compute."""
    return [writer.of(node.inputs[0])]


def keeps_shape(node):
    """Say whether a check of a shape is none, since the shape is known."""
    wanted = [getattr(x, "data", None) for x in node.inputs[1:]]
    return all(
        w is None or int(w) == n for w, n in zip(wanted, node.inputs[0].type.shape, strict=True)
    )


@rule(SpecifyShape, fits=keeps_shape)
def specify_shape(writer, node):
    """Nothing to compute."""
    return [writer.of(node.inputs[0])]


@rule(Alloc)
def alloc(writer, node):
    """Nothing to compute."""
    return [writer.of(node.inputs[0]).to(node.outputs[0].type.shape)]


@rule(MakeVector)
def make_vector(writer, node):
    """Write the elements."""
    out = writer.new(node.outputs[0])
    for k, x in enumerate(node.inputs):
        writer.write(f"{out(str(k))} = {writer.of(x)()}")
    return [out]


def value(x):
    """Return the number of an index that is a constant; None if it is none."""
    return int(x.data) if isinstance(x, Constant) else None


def basic_indices(node, first):
    """Return start, step and length along each axis of an array that is indexed; None if unknown.

    The length is None along an axis that vanishes.
    """
    values = [value(x) for x in node.inputs[first:]]
    if None in values:
        return None
    found, shape = [], node.inputs[0].type.shape

    def bound(k):
        return k if k is None else values[k]

    for axis, n in enumerate(shape):
        entry = node.op.idx_list[axis] if axis < len(node.op.idx_list) else slice(None)
        if isinstance(entry, slice):
            bounds = range(*slice(*map(bound, (entry.start, entry.stop, entry.step))).indices(n))
            found.append((bounds.start, bounds.step, len(bounds)))
        elif isinstance(entry, int) and -n <= values[entry] < n:
            found.append((values[entry] % n, 0, None))
        else:
            return None
    return found


def part_of(array, found):
    """Return the part of an array that indices take."""
    start, steps, lengths = zip(*found, strict=True)
    stay = [k for k, n in enumerate(lengths) if n is not None]
    part = array.part(start, steps, array.shape)
    return part._replace(
        strides=tuple(part.strides[k] for k in stay), shape=tuple(lengths[k] for k in stay)
    )


@rule(Subtensor, fits=lambda node: basic_indices(node, 1) is not None)
def subtensor(writer, node):
    """Nothing to compute."""
    return [part_of(writer.of(node.inputs[0]), basic_indices(node, 1))]


@rule(IncSubtensor, fits=lambda node: basic_indices(node, 2) is not None)
def inc_subtensor(writer, node):
    """Copy, and change a part."""
    x, y = node.inputs[:2]
    out = writer.full(x, node.outputs[0])
    sign = "" if node.op.set_instead_of_inc else "+"
    writer.copy(writer.of(y), part_of(out, basic_indices(node, 2)), sign)
    return [out]


def constant_places(node):
    """Say whether a vector is indexed by constants that are its places."""
    x, places = node.inputs[0], node.inputs[-1]
    return (
        x.type.ndim == places.type.ndim == 1
        and isinstance(places, Constant)
        and not getattr(node.op, "ignore_duplicates", False)
        and places.type.dtype != "bool"
        and places.data.size > 1
        and places.data.min() >= 0
        and places.data.max() < x.type.shape[0]
    )


@rule(AdvancedSubtensor, AdvancedSubtensor1, fits=constant_places)
def gather(writer, node):
    """Write a loop over the places."""
    x, places = map(writer.of, node.inputs)
    if x.offset is None:
        return [x.to(node.outputs[0].type.shape)]
    out, depth = writer.new(node.outputs[0]), writer.depth
    [i] = writer.loops(out.shape)
    writer.write(f"{out(i)} = {x(writer.name(f'np.int64({places(i)})'))}")
    writer.depth = depth
    return [out]


@rule(AdvancedIncSubtensor, AdvancedIncSubtensor1, fits=constant_places)
def scatter(writer, node):
    """Copy, and write a loop over the places."""
    x, y, places = node.inputs
    out, depth = writer.full(x, node.outputs[0]), writer.depth
    places = writer.of(places)
    y = writer.of(y).to(places.shape)
    [i] = writer.loops(places.shape)
    sign = "" if node.op.set_instead_of_inc else "+"
    writer.write(f"{out(writer.name(f'np.int64({places(i)})'))} {sign}= {y(i)}")
    writer.depth = depth
    return [out]


def pieces(array, axis, lengths):
    """Split an array along an axis."""
    at = 0
    for n in lengths:
        start = [at if k == axis else 0 for k in range(len(array.shape))]
        shape = tuple(n if k == axis else m for k, m in enumerate(array.shape))
        yield array.part(start, (1,) * len(shape), shape)
        at += n


def axis_of(node, place):
    """Return the axis of a join or a split; None if it is not known."""
    axis = node.op.axis if hasattr(node.op, "axis") else value(node.inputs[place])
    return axis if axis is None else int(axis) % node.outputs[0].type.ndim


@rule(Join, fits=lambda node: axis_of(node, 0) is not None)
def join(writer, node):
    """Copy each part."""
    parts, axis = node.inputs if hasattr(node.op, "axis") else node.inputs[1:], axis_of(node, 0)
    out = writer.new(node.outputs[0])
    lengths = [x.type.shape[axis] for x in parts]
    for x, piece in zip(parts, pieces(out, axis, lengths), strict=True):
        writer.copy(writer.of(x), piece)
    return [out]


def split_shapes(node):
    """Return the shapes of the parts, from the sizes if these are constants."""
    sizes, axis = node.inputs[-1], axis_of(node, 1)
    if not isinstance(sizes, Constant) or axis is None:
        return None
    shape = node.inputs[0].type.shape
    return [(*shape[:axis], int(n), *shape[axis + 1 :]) for n in sizes.data]


@rule(Split, fits=lambda node: axis_of(node, 1) is not None)
def split(writer, node):
    """Nothing to compute."""
    axis = axis_of(node, 1)
    lengths = [x.type.shape[axis] for x in node.outputs]
    return list(pieces(writer.of(node.inputs[0]), axis, lengths))


@rule(Kernel, OneVector)
def kernel(writer, node):
    """Call the function that runs all kernels."""
    [out] = node.outputs
    one = isinstance(node.op, OneVector)
    op = node.op.kernel if one else node.op
    reads = node.inputs if one else node.inputs[len(op.unused) :]
    matrices = [x for x in (*node.inputs, out) if x.type.ndim == 2]
    columns = matrices[0].type.shape[1] if matrices else 1
    writer.handles[op.pattern.digest] = op.handle
    high, low = register(op.pattern.digest, op.handle)
    single = int(out.type.dtype == "float32")
    numbers = [high, low, CODES[op.operation], single, op.flags, op.diagonal, op.below, columns]
    operands = [writer.pointer(x) for x in reads]
    array = writer.new(out)
    operands += operands[-1:] * (3 - len(operands)) + [writer.address(array)]
    operands = [text for operand in operands for text in operand]
    writer.write(f"v0 = max(v0, kernel({', '.join([*map(repr, numbers), *operands])}))")
    return [array]
