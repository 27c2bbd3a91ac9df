"""The text of a `Program`: where elements are, and loops over them."""

from collections import defaultdict
from math import prod
from typing import NamedTuple

import numpy as np
from pytensor.scalar import (
    AND,
    EQ,
    GE,
    GT,
    LE,
    LT,
    NEQ,
    OR,
    Add,
    Composite,
    Invert,
    Mul,
    Neg,
    ScalarType,
    Sqr,
    Sub,
    Switch,
)

FLOATS = {"float32"}, {"float64"}
# What Python writes as PyTensor computes it. A function of numba for each would compile for longer.
OPERATORS = {Add: " + ", Mul: " * ", Sub: " - "}
COMPARISONS = {LT: " < ", GT: " > ", LE: " <= ", GE: " >= ", EQ: " == ", NEQ: " != "}
LOGIC = {AND: " & ", OR: " | "}


class Array(NamedTuple):
    """Where the elements of an array are.

    Attributes
    ----------
    base : str
        A flat array or, if there is no offset, a number that is each of the elements.
    offset : int or None
    strides, shape : tuples of int
    block : tuple or None
        What `Room` gave.
    """

    base: str
    offset: int | None
    strides: tuple[int, ...]
    shape: tuple[int, ...]
    block: tuple | None = None

    def __call__(self, *indices):
        """Name an element; an index is a text."""
        if self.offset is None:
            return self.base
        terms = [
            index if stride == 1 else f"{stride} * {index}"
            for stride, index, n in zip(self.strides, indices, self.shape, strict=True)
            if n > 1 and stride
        ]
        if self.offset or not terms:
            terms.insert(0, str(self.offset))
        return f"{self.base}[{' + '.join(terms)}]"

    @property
    def contiguous(self):
        """Whether elements follow one another in the order of ``ravel``."""
        sized = [k for k, n in enumerate(self.shape) if n > 1]
        wanted = rows_first(self.shape)
        return self.offset is None or all(self.strides[k] == wanted[k] for k in sized)

    def part(self, start, steps, shape):
        """Return the part that begins at an index, with these steps along the axes."""
        offset = self.offset
        if offset is not None:
            offset += sum(k * s for k, s in zip(start, self.strides, strict=True))
        strides = tuple(k * s for k, s in zip(steps, self.strides, strict=True))
        return self._replace(offset=offset, strides=strides, shape=shape)

    def to(self, shape):
        """Broadcast."""
        lead = len(shape) - len(self.shape)
        strides = tuple(s if n > 1 else 0 for s, n in zip(self.strides, self.shape, strict=True))
        return self._replace(strides=(0,) * lead + strides, shape=tuple(shape))


def rows_first(shape):
    """Return the strides of an array of this shape in the order of ``ravel``."""
    return tuple(prod(shape[k + 1 :]) for k in range(len(shape)))


def merged(arrays):
    """Write arrays of one shape with as few axes as possible."""
    shape = arrays[0].shape
    axes = [k for k, n in enumerate(shape) if n != 1]
    groups = []
    for k in axes:
        if groups and all(
            a.offset is None or a.strides[groups[-1][-1]] == a.strides[k] * shape[k] for a in arrays
        ):
            groups[-1].append(k)
        else:
            groups.append([k])
    return [
        a._replace(
            strides=tuple(a.strides[group[-1]] for group in groups),
            shape=tuple(prod(shape[k] for k in group) for group in groups),
        )
        for a in arrays
    ]


class Room:
    """Places in one buffer for each dtype, that are given again when they are free."""

    def __init__(self):
        self.ends, self.free = defaultdict(int), defaultdict(list)

    def take(self, dtype, size):
        """Find a place."""
        if self.free[dtype, size]:
            return self.free[dtype, size].pop()
        start = self.ends[dtype]
        self.ends[dtype] += size
        return dtype, size, start

    def give_back(self, block):
        """Let a place be used again."""
        self.free[block[:2]].append(block)


class Writer:
    """The text of a program.

    Attributes
    ----------
    arrays : dict
        Where the elements of each variable are.
    source : Source
        What the text names.
    """

    def __init__(self, op, source, rule_of):
        self.op, self.source = op, source
        self.arrays, self.lines, self.depth, self.count = {}, [], 1, 0
        self.handles, self.lent = {}, []
        self.room, self.used, self.made = Room(), defaultdict(set), set()
        self.results = {x: k for k, x in enumerate(op.outputs)}
        nodes = op.nodes
        last = {x: k for k, node in enumerate(nodes) for x in (*node.inputs, *node.outputs)}
        ends = defaultdict(list)
        for x, k in last.items():
            ends[len(nodes) if x in self.results else k].append(x)
        for k, x in enumerate(op.inputs):
            self.arrays[x] = self.operand(f"x{k}", x)
        for k, node in enumerate(nodes):
            self.ending = ends[k]
            found = rule_of(node.op).write(self, node)
            for x, array in zip(node.outputs, found, strict=True):
                self.arrays[x] = array
                self.used[array.block].add(x)
            for x in ends[k]:
                self.release(x)
            while self.lent:
                self.room.give_back(self.lent.pop())

    def release(self, x):
        """Give back the place of what is read no more."""
        block = self.of(x).block
        self.used[block].discard(x)
        if block is not None and not self.used[block]:
            self.room.give_back(block)

    def text(self):
        """Return the text of the program."""
        for x in self.results:
            self.finish(x)
        names = ", ".join(name for name, _, _ in self.parameters)
        return "\n".join([f"def program({names}):", "    v0 = 0", *self.lines, "    return v0", ""])

    @property
    def parameters(self):
        """What the program takes: its name, its dtype, and whether it is a pointer."""
        found = [(f"x{k}", x.type.dtype, not is_scalar(x)) for k, x in enumerate(self.op.inputs)]
        found += [(f"out{k}", x.type.dtype, True) for k, x in enumerate(self.op.outputs)]
        return found + [(f"w_{dtype}", dtype, True) for dtype in self.room.ends]

    def caller(self):
        """Return the text of the function that calls the program."""
        inputs, outputs = self.op.inputs, self.op.outputs
        names = [f"x{k}" for k in range(len(inputs))]
        lines = [f"def run({', '.join(names)}):"]
        sizes = [
            f"{name}.size != {prod(shape_of(x))}"
            for name, x in zip(names, inputs, strict=True)
            if not is_scalar(x)
        ]
        if sizes:
            lines += [f"    if {' or '.join(sizes)}:", "        raise ValueError(size)"]
        operands = []
        for name, x in zip(names, inputs, strict=True):
            if is_scalar(x):
                operands.append(name)
            elif prod(x.type.shape) == 1:
                operands.append(f"{name}.ctypes")
            else:
                lines.append(f"    c{name} = np.ascontiguousarray({name})")
                operands.append(f"c{name}.ctypes")
        made = {f"out{k}": (shape_of(x), x.type.dtype) for k, x in enumerate(outputs)}
        made |= {f"w_{dtype}": (size, dtype) for dtype, size in self.room.ends.items()}
        for name, (shape, dtype) in made.items():
            lines.append(f"    {name} = np.empty({shape}, np.{np.dtype(dtype).type.__name__})")
            operands.append(f"{name}.ctypes")
        lines += [
            f"    outcome = call({', '.join(operands)})",
            "    if outcome == 1:",
            "        raise ValueError(unknown)",
            "    if outcome == 2:",
            "        raise ValueError(shape)",
            "    if outcome == 3:",
            "        raise MemoryError(memory)",
        ]
        found = [f"out{k}[()]" if is_scalar(x) else f"out{k}" for k, x in enumerate(outputs)]
        return "\n".join([*lines, f"    return {', '.join(found)}", ""])

    def write(self, line):
        """Write a line."""
        self.lines.append("    " * self.depth + line)

    def name(self, text):
        """Write an assignment to a new variable."""
        self.count += 1
        self.write(f"v{self.count} = {text}")
        return f"v{self.count}"

    def number(self, base, shape):
        """Return an array of equal elements."""
        return Array(base, None, (0,) * len(shape), tuple(shape))

    def operand(self, name, x):
        """Read an input."""
        if is_scalar(x):
            return self.number(name, ())
        shape = x.type.shape
        if prod(shape) == 1:
            return self.number(self.name(f"{name}[0]"), shape)
        return Array(name, 0, rows_first(shape), shape)

    def of(self, x):
        """Return where a variable is."""
        if x not in self.arrays:
            element = np.asarray(x.data).flat[0]
            self.arrays[x] = self.number(self.source.constant(element), shape_of(x))
        return self.arrays[x]

    def new(self, x):
        """Make room for a variable."""
        shape, dtype = shape_of(x), x.type.dtype
        if x in self.results:
            self.made.add(x)
            return Array(f"out{self.results[x]}", 0, rows_first(shape), shape)
        block = self.room.take(dtype, prod(shape))
        return Array(f"w_{dtype}", block[-1], rows_first(shape), shape, block)

    def finish(self, x):
        """Write an output, unless it was made in its place."""
        if x not in self.made:
            self.copy(self.of(x), self.new(x))

    def loops(self, shape):
        """Open a loop for each axis, and return the indices; `self.depth` closes them."""
        names = []
        for n in shape:
            self.count += 1
            names.append(f"i{self.count}")
            self.write(f"for {names[-1]} in range({n}):")
            self.depth += 1
        return names

    def copy(self, array, out, sign=""):
        """Copy elements, or add them."""
        array, out = merged([array.to(out.shape), out])
        depth = self.depth
        indices = self.loops(out.shape)
        self.write(f"{out(*indices)} {sign}= {array(*indices)}")
        self.depth = depth

    def pointer(self, x):
        """Name where the elements of x are one after the other, and their number."""
        array = self.of(x)
        if array.offset is None or not array.contiguous:
            block = self.room.take(x.type.dtype, prod(array.shape))
            out = Array(f"w_{x.type.dtype}", block[-1], rows_first(array.shape), array.shape, block)
            self.copy(array, out)
            self.lent.append(block)
            array = out
        return self.address(array)

    def address(self, array):
        """Name where an array is, and its number of elements."""
        at = f"at({array.base}, {array.offset})" if array.offset else array.base
        return at, str(prod(array.shape))

    def full(self, x, out):
        """Return an array that may be changed, with the elements of x."""
        array = self.of(x)
        mine = array.block and x in self.ending and self.used[array.block] == {x}
        whole = mine and array.contiguous and prod(array.shape) == array.block[1]
        if whole and out not in self.results:
            return array
        out = self.new(out)
        self.copy(array, out)
        return out

    def scalars(self, op, operands, inputs, outputs):
        """Write an operation with scalars, and name the results."""
        if isinstance(op, Composite):
            names = dict(zip(op.fgraph.inputs, operands, strict=True))
            for node in op.fgraph.toposort():
                read = [names.get(x) or self.source.constant(x.data) for x in node.inputs]
                found = self.scalars(node.op, read, node.inputs, node.outputs)
                names.update(zip(node.outputs, found, strict=True))
            return [names.get(x) or self.source.constant(x.data) for x in op.fgraph.outputs]
        text = in_python(op, operands, inputs, outputs)
        if text is None:
            function = self.source.function(op, inputs, outputs)
            dtype = np.dtype(outputs[0].type.dtype).type.__name__  # numba may have found another
            text = f"np.{dtype}({function}({', '.join(operands)}))"
        return [self.name(text)]


def in_python(op, operands, inputs, outputs):
    """Write an operation with scalars by Python's operators; None where these differ."""
    kind, first = type(op), operands[0]
    reads, made = [x.type.dtype for x in inputs], {x.type.dtype for x in outputs}
    if kind is Switch and reads[0] == "bool" and made in FLOATS and made == set(reads[1:]):
        return f"{operands[1]} if {first} else {operands[2]}"
    if set(reads) in FLOATS and kind in COMPARISONS:
        return COMPARISONS[kind].join(operands)
    if set(reads) == made == {"bool"} and kind in (*LOGIC, Invert):
        return f"not {first}" if kind is Invert else LOGIC[kind].join(operands)
    if set(reads) != made or made not in FLOATS:
        return None
    if kind in OPERATORS:
        return OPERATORS[kind].join(operands)
    return {Neg: f"-{first}", Sqr: f"{first} * {first}"}.get(kind)


def is_scalar(x):
    """Say whether a variable is a number, and no array."""
    return isinstance(x.type, ScalarType)


def shape_of(x):
    """Return the shape of an array or a scalar."""
    return () if is_scalar(x) else x.type.shape
