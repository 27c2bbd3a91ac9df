"""A table of scalar expressions, into which frameworks read their graphs.

Each expression applies an operation to others, or is a leaf: an element of an array. Expressions
that differ in their leaves alone have one form; `templates` groups them.

What a framework calls an operation, and how it is differentiated, stays in its own package.
"""

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

NOTHING = 0  # the expression that is zero
VARIABLE, INNER, FIXED, CONSTANT = "variable", "inner", "fixed", "constant"


class NotMovedError(Exception):
    """An operation does more than to move elements."""


class TooMuchError(Exception):
    """Expressions are so entangled that templates are no help."""


class Places:
    """Stand in for `Sets` where elements are moved: an element is one expression, or nothing."""

    def union(self, a, b):
        """Unite arrays that have no element in common."""
        if np.any((a != NOTHING) & (b != NOTHING)):
            raise NotMovedError
        return np.where(a == NOTHING, b, a)

    def apply(self, starts, members, ids):
        """Take for each list the one element that it names."""
        counts = np.diff(starts)
        if counts.max(initial=0) > 1 or not len(members):
            raise NotMovedError
        out = np.zeros((len(ids), len(counts)), np.int32)
        out[:, counts == 1] = ids[:, members]
        return out

    def __getattr__(self, name):
        raise NotMovedError


class Operation(NamedTuple):
    """An operation on scalars; equal ones can be parts of one template.

    Attributes
    ----------
    op : hashable
        What the framework applies.
    dtypes : tuple of str
        Types of the operands.
    dtype : str
        Type of the result.
    signs : tuple of int
        The sign of each operand if the operation is a sum, else empty.
    scales : {'', 'mul', 'div'}
        Whether a known operand of two, the second one for 'div', scales the other.
    """

    op: Hashable
    dtypes: tuple[str, ...]
    dtype: str
    signs: tuple[int, ...] = ()
    scales: str = ""


class Leaf(NamedTuple):
    """What the leaves that can take one slot of a template have in common."""

    kind: str
    dtype: str
    array: Hashable = None
    block: int = 0


@dataclass(eq=False)
class Source:
    """An array whose elements are leaves.

    Attributes
    ----------
    leaf : Leaf
        Of kind 'variable' is what is differentiated in. What is 'inner' depends on it, and is
        differentiated by other means. What is 'fixed' or 'constant' does not depend on it; values
        of constants are known.
    array : object
        What the framework has for it; the value, for a constant.
    offset : int
        Number of the first element among all of its kind, or of its block.
    first : int
        The first expression; the others follow.
    size : int
        Number of elements.
    """

    leaf: Leaf
    array: Any
    offset: int = 0
    first: int = 0
    size: int = 1


class Expressions:
    """A table of scalar expressions, each known by a number.

    Attributes
    ----------
    operations : dict
        Number of the operation, and operands, of each expression that is no leaf.
    keys : list of Operation
    constants : set
        The leaves whose values are known.
    places : dict
        Block and row of expressions that are computed once. They are leaves of others.
    """

    def __init__(self):
        self.operations: dict[int, tuple[int, ...]] = {}
        self.keys: list[Operation] = []
        self.constants: set[int] = set()
        self.places: dict[int, tuple[int, int]] = {}
        self._numbers: dict[Operation, int] = {}
        self._count = 1
        self._firsts: list[int] = []
        self._sources: list[Source] = []

    def leaves(self, source: Source, size: int) -> np.ndarray:
        """Make a leaf for each element of an array."""
        source.first, source.size = self._count, size
        self._firsts.append(self._count)
        self._sources.append(source)
        self._count += size
        if self._count >= 2**31:
            raise TooMuchError
        return np.arange(source.first, self._count, dtype=np.int32)

    def constant(self, value: Any, dtype: str) -> int:
        """Make a leaf of a known value."""
        [leaf] = self.leaves(Source(Leaf(CONSTANT, dtype), value), 1).tolist()
        self.constants.add(leaf)
        return leaf

    def number(self, key: Operation) -> int:
        """Return the number of an operation."""
        number = self._numbers.setdefault(key, len(self.keys))
        if number == len(self.keys):
            self.keys.append(key)
        return number

    def apply(self, number: int, operands: Sequence[int]) -> int:
        """Make an expression that applies an operation to operands."""
        self.operations[self._count] = (number, *operands)
        self._count += 1
        return self._count - 1

    def source(self, leaf: int) -> Source:
        """Return the array of which a leaf is an element."""
        return self._sources[bisect_right(self._firsts, leaf) - 1]

    def position(self, leaf: int) -> int:
        """Return the number of a leaf among the elements of its kind, or of its block."""
        if leaf in self.places:
            return self.places[leaf][1]
        source = self.source(leaf)
        return leaf - source.first + source.offset

    def leaf(self, node: int) -> Leaf:
        """Return the kind of a leaf."""
        if node in self.places:
            dtype = self.keys[self.operations[node][0]].dtype
            return Leaf(INNER, dtype, None, self.places[node][0])
        return self.source(node).leaf

    def form(self, root: int, separate: bool = False) -> tuple[tuple, list[int]]:
        """Return the form of an expression, and its leaves in the order of its slots.

        The form lists leaves, and operations with the numbers of their operands in the list, each
        operand first. A leaf that is used twice has one slot, but a constant has a slot wherever it
        is used; with `separate` so has every leaf.
        """
        form: list[tuple] = []
        leaves: list[int] = []
        number: dict[int, int] = {}
        operations, constants, places = self.operations, self.constants, self.places

        def is_separate(x):
            return x in constants or (separate and (x not in operations or x in places))

        stack = [root]
        while stack:
            node = stack[-1]
            if node in number:
                stack.pop()
                continue
            found = operations.get(node)
            if found is None or node in places:
                number[node] = len(form)
                form.append(self.leaf(node))
                leaves.append(node)
                stack.pop()
                continue
            missing = [x for x in found[1:] if x not in number and not is_separate(x)]
            if missing:
                stack.extend(missing[::-1])
                continue
            operands = []
            for x in found[1:]:
                if is_separate(x):
                    operands.append(len(form))
                    form.append(self.leaf(x))
                    leaves.append(x)
                else:
                    operands.append(number[x])
            number[node] = len(form)
            form.append((found[0], *operands))
            stack.pop()
        return tuple(form), leaves

    def value(self, node: int) -> float | None:
        """Return the value of an expression that is known."""
        if node in self.constants:
            return float(self.source(node).array)
        op: Any = self.keys[self.operations[node][0]].op if node in self.operations else None
        return float(op[1]) if isinstance(op, tuple) and op[0] == "literal" else None

    def scaled(self, entry: tuple[int, ...]) -> tuple[int, float] | None:
        """Return the operand and the factor of a product with a known number, or None."""
        scales = self.keys[entry[0]].scales
        if not scales or len(entry) != 3:
            return None
        first, second = map(self.value, entry[1:])
        if second is not None and (scales == "mul" or second):
            return entry[1], second if scales == "mul" else 1 / second
        return (entry[2], first) if first is not None and scales == "mul" else None

    def terms(self, root: int) -> list[tuple[int, float]]:
        """Return the terms of a sum, each with its weight."""
        found, stack = [], [(root, 1.0)]
        while stack:
            node, weight = stack.pop()
            entry = None if node in self.places else self.operations.get(node)
            signs = self.keys[entry[0]].signs if entry else ()
            scaled = self.scaled(entry) if entry and not signs else None
            if entry and signs:
                stack += [(x, weight * s) for x, s in zip(entry[1:], signs, strict=True)][::-1]
            elif scaled:
                stack.append((scaled[0], weight * scaled[1]))
            elif weight:
                found.append((node, weight))
        return found
