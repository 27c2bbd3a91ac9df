"""Group scalar expressions of one form into templates, and put their derivatives into a matrix.

A graph of scalars is a table of expressions. Each applies an operation to others, or is a leaf: an
element of an array. Expressions that differ in their leaves alone have one form. All that have it
are one template: an expression of vectors, one element for each member, whose derivatives in its
slots are entries of a Jacobian, without any coloring.

What a framework calls an operation, and how it is differentiated, stays in its own package.
"""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csc_array

NOTHING = 0  # the expression that is zero
VARIABLE, INNER, FIXED, CONSTANT = "variable", "inner", "fixed", "constant"

MOST_TERMS = 12  # longer sums are taken apart term by term
FEW = 4  # equations of forms with fewer members may be taken apart, too
HEAVY = 150  # an expression of this size that is used twice is computed once
MOST_LEVELS = 4  # of expressions that are computed once and use each other
MOST_VISITS = 12  # of each expression, on average
MOST_PAIRED = 24  # slots whose second derivatives are made pair by pair
MOST_INNER = 4  # elements of inner arrays for each row
OVERHEAD = 4  # of a template, in operations


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


# ---- the table ----


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


# ---- templates ----


@dataclass(eq=False)
class Template:
    """Expressions of one form.

    Attributes
    ----------
    form : tuple
        See `Expressions.form`.
    leaves : (members, slots) ndarray
        The leaves of each member.
    rows, weights : (members,) ndarrays
        The row to which a member belongs, and the factor with which it is added.
    live : list of int
        Slots in which there may be a derivative.
    pairs : list of pairs of int
        Slots in which there may be a second derivative, the larger one first.
    """

    form: tuple
    leaves: np.ndarray
    rows: np.ndarray
    weights: np.ndarray
    live: list[int] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self):
        return len(self.rows)

    @property
    def slots(self) -> list[Leaf]:
        """The kind of leaf that each slot takes."""
        return [entry for entry in self.form if isinstance(entry, Leaf)]

    @property
    def moving(self) -> list[int]:
        """Slots that depend on what is differentiated in."""
        kinds = [leaf.kind in (VARIABLE, INNER) for leaf in self.slots]
        return [k for k, moves in enumerate(kinds) if moves]

    def evaluate(self, values: Sequence, apply: Callable) -> Any:
        """Compute the expression of the values of its slots.

        ``apply(number, operands)`` computes an operation.
        """
        done, left = [], iter(values)
        for entry in self.form:
            if isinstance(entry, Leaf):
                done.append(next(left))
            else:
                done.append(apply(entry[0], [done[k] for k in entry[1:]]))
        return done[-1]


def work(form: tuple) -> int:
    """Estimate how many vectorized operations a template and its derivatives take."""
    slots = sum(isinstance(entry, Leaf) for entry in form)
    return OVERHEAD + 3 * (len(form) - slots) + 2 * slots


@dataclass(eq=False)
class Level:
    """Rows that are computed together.

    Attributes
    ----------
    templates : list of Template
    size : int
        Number of rows.
    pattern : csc_array
        Where the derivatives of the rows may be; see `plan_jacobian`.
    entry : ndarray
        The entry to which each contribution is added, in the order of the templates and of their
        slots.
    chains : dict
        What `Rows.through` returns, for slots of templates that take inner expressions.
    """

    templates: list[Template]
    size: int
    pattern: Any = None
    entry: Any = None
    chains: dict = field(default_factory=dict)


@dataclass(eq=False)
class Apart:
    """Rows taken apart.

    Attributes
    ----------
    table : Expressions
    levels : list of Level
        The rows of level k are inner expressions of block ``k + 1``, for the levels behind. The
        last level has the rows that were asked for. Block 0 are arrays that were not taken apart.
    inner : list of Source
        These arrays.
    """

    table: Expressions
    levels: list[Level]
    inner: list[Source]

    @property
    def templates(self) -> list[Template]:
        """The templates of all levels."""
        return [template for level in self.levels for template in level.templates]

    @property
    def work(self) -> int:
        """Estimated number of vectorized operations."""
        return sum(work(template.form) for template in self.templates)

    @property
    def work_of_seconds(self) -> int:
        """Estimated number of vectorized operations for second derivatives."""
        return sum(work(t.form) * (2 + len(t.moving)) // 2 for t in self.templates)

    def positions(self, template: Template, slot: int) -> np.ndarray:
        """Return the positions of the leaves that a slot takes; see `Expressions.position`."""
        return np.array([self.table.position(x) for x in template.leaves[:, slot].tolist()])


def take_apart(table: Expressions, rows: np.ndarray, split: bool = False) -> Apart | None:
    """Group the expressions of rows into templates.

    Parameters
    ----------
    table : Expressions
    rows : (m,) ndarray
        The expression of each row, or NOTHING.
    split : bool
        Whether to take all sums apart.

    Returns
    -------
    Apart or None
        None if the expressions share so much that this is no help.
    """
    steps = Grouping(table, split)
    found = []
    try:
        for block, nodes in enumerate(shared_levels(table, rows), 1):
            found.append(Level(steps.templates(list(enumerate(nodes))), len(nodes)))
            table.places.update((x, (block, row)) for row, x in enumerate(nodes))
        wanted = [(row, x) for row, x in enumerate(rows.tolist()) if x != NOTHING]
        templates = [t for t in steps.templates(wanted) if t.moving]
    except TooMuchError:
        return None
    found.append(Level(templates, len(rows)))
    inner, total = numbered(table, found)
    return None if total > MOST_INNER * (len(rows) + 100) else Apart(table, found, inner)


def numbered(table, levels):
    """Give numbers to the elements of the inner arrays that templates use, and count them."""
    leaves = [
        t.leaves[:, k]
        for level in levels
        for t in level.templates
        for k, leaf in enumerate(t.slots)
        if leaf.kind == INNER and leaf.block == 0
    ]
    used = {x: None for part in leaves for x in np.unique(part).tolist()}
    sources = list(dict.fromkeys(map(table.source, used)))
    total = 0
    for source in sources:
        source.offset = total
        total += source.size
    return sources, total


def shared_levels(table, rows):
    """Choose expressions to compute once: the large ones that are used more than once.

    An expression of one level uses those of the levels before.
    """
    users: dict[int, int] = {}
    for operands in (*table.operations.values(), (0, *rows.tolist())):
        for x in operands[1:]:
            users[x] = users.get(x, 0) + 1
    size: dict[int, int] = {}
    depth: dict[int, int] = {}
    levels: list[list[int]] = []
    for node, operands in table.operations.items():
        weight = 1 + sum(size.get(x, 1) for x in operands[1:])
        level = max((depth.get(x, 0) for x in operands[1:]), default=0)
        if weight >= HEAVY and users.get(node, 0) > 1:
            if level == MOST_LEVELS:
                raise TooMuchError
            if level == len(levels):
                levels.append([])
            levels[level].append(node)
            weight, level = 1, level + 1
        size[node], depth[node] = weight, level
    return levels


class Grouping:
    """The way from expressions to templates."""

    def __init__(self, table, split):
        self.table, self.split = table, split
        self.left = MOST_VISITS * (len(table.operations) + 100)

    def templates(self, roots):
        """Group rows, each whole or term by term, whichever is less work."""
        terms = {row: self.table.terms(x) for row, x in roots}
        long = {row for row in terms if self.split or len(terms[row]) > MOST_TERMS}
        kept = self.by_form((row, x, s) for row in terms if row in long for x, s in terms[row])
        whole = self.by_form((row, x, 1) for row, x in roots if row not in long)
        rare = {f: members for f, members in whole.items() if len(members) < FEW and f not in kept}
        common = {f: members for f, members in whole.items() if f not in rare}
        rare = self.without_coincidences(rare, common, dict(roots))
        merge(kept, common)
        rows = [row for members in rare.values() for row, _, _ in members]
        parts = self.by_form((row, x, s) for row in rows for x, s in terms[row])
        new = [f for f in parts if f not in kept]
        merge(kept, parts if sum(map(work, new)) < sum(map(work, rare)) else rare)
        return [made(form, members) for form, members in kept.items()]

    def without_coincidences(self, rare, forms, root):
        """Move rows to a common form that is theirs but for leaves that happen to be the same."""
        common: dict[tuple, list] = {}
        for members in forms.values() if rare else ():
            row, leaves, _ = members[0]
            separate, listed = self.table.form(root[row], separate=True)
            common.setdefault(separate, []).append((self.slots(listed, leaves), members))
        left: dict[tuple, list] = {}
        for form, members in rare.items():
            for row, leaves, weight in members:
                separate, listed = self.table.form(root[row], separate=True)
                for slots, others in common.get(separate, ()):
                    taken = dict(zip(slots, listed, strict=True))
                    if all(taken[k] == x for k, x in zip(slots, listed, strict=True)):
                        others.append((row, [taken[k] for k in range(len(taken))], weight))
                        break
                else:
                    left.setdefault(form, []).append((row, leaves, weight))
        return left

    def slots(self, listed, leaves):
        """Find the slot of each leaf that is listed; a constant has one wherever it is listed."""
        constants = iter([k for k, x in enumerate(leaves) if x in self.table.constants])
        return [
            next(constants) if x in self.table.constants else leaves.index(x) for x in listed
        ]  # fmt: skip

    def by_form(self, expressions):
        """Collect rows, leaves and weights of expressions by their forms."""
        found: dict[tuple, list] = {}
        for row, x, weight in expressions:
            form, leaves = self.table.form(x)
            found.setdefault(form, []).append((row, leaves, weight))
            self.left -= len(form)
            if self.left < 0:
                raise TooMuchError
        return found


def merge(forms, others):
    """Add the members of other forms."""
    for form, members in others.items():
        forms.setdefault(form, []).extend(members)


def made(form, members):
    """Make a template of its members."""
    rows, leaves, weights = zip(*members, strict=True)
    leaves = np.array(leaves, np.int64).reshape(len(rows), -1)
    return Template(form, leaves, np.array(rows), np.array(weights))


# ---- entries ----


class Entries:
    """Contributions to the entries of a matrix, each in the order in which they are computed."""

    def __init__(self, shape: tuple[int, int]):
        self.shape = shape
        self._rows: list[np.ndarray] = []
        self._columns: list[np.ndarray] = []

    def add(self, rows: np.ndarray, columns: np.ndarray) -> None:
        """Note where contributions go."""
        self._rows.append(np.asarray(rows, np.int64))
        self._columns.append(np.asarray(columns, np.int64))

    def matrix(self) -> tuple[csc_array, np.ndarray]:
        """Return the pattern, and for each contribution the number of its entry, by column."""
        m, n = self.shape
        none = [np.zeros(0, np.int64)]
        places = np.concatenate(self._columns or none) * m + np.concatenate(self._rows or none)
        unique, entry = np.unique(places, return_inverse=True)
        column, row = np.divmod(unique, max(m, 1))
        starts = np.searchsorted(column, np.arange(n + 1))
        ones = np.ones(len(unique), np.int8)
        pattern = csc_array((ones, row.astype(np.int32), starts.astype(np.int32)), shape=(m, n))
        return pattern, entry.reshape(-1)


class Rows:
    """The entries of a matrix by rows, for the chain rule."""

    def __init__(self, pattern: csc_array):
        place = csc_array((np.arange(pattern.nnz), pattern.indices, pattern.indptr), pattern.shape)
        by_row = place.tocsr()
        self.starts, self.columns, self.entry = by_row.indptr, by_row.indices, by_row.data

    def through(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find the entries in some rows, one row after the other.

        Returns the number of the row in the list, the column, and the number of the entry.
        """
        counts = np.diff(self.starts)[rows]
        member = np.repeat(np.arange(len(rows)), counts)
        first = np.cumsum(counts) - counts
        place = np.arange(counts.sum()) - first[member] + self.starts[rows][member]
        return member, self.columns[place], self.entry[place]


# ---- derivatives ----


def plan_jacobian(apart: Apart, n: int, inner: csc_array | None) -> csc_array:
    """Find where the derivatives of all levels go, and return the pattern of the last.

    Parameters
    ----------
    apart : Apart
        Its templates know their `live` slots.
    n : int
        Number of columns.
    inner : csc_array or None
        Pattern of the Jacobian of the arrays that were not taken apart.
    """
    blocks: list[Any] = [None if inner is None else Rows(inner)]
    for level in apart.levels:
        entries = Entries((level.size, n))
        for t in level.templates:
            for k in t.live:
                places, leaf = apart.positions(t, k), t.slots[k]
                if leaf.kind == VARIABLE:
                    entries.add(t.rows, places)
                else:
                    level.chains[t, k] = blocks[leaf.block].through(places)
                    entries.add(t.rows[level.chains[t, k][0]], level.chains[t, k][1])
        level.pattern, level.entry = entries.matrix()
        blocks.append(Rows(level.pattern))
    return apart.levels[-1].pattern


def plan_hessian(apart: Apart, n: int, rest: csc_array | None) -> csc_array:
    """Find where second derivatives go, and return the pattern of the Hessian.

    Parameters
    ----------
    apart : Apart
        Its templates know their `pairs`.
    n : int
        Number of columns.
    rest : csc_array or None
        Pattern of the Hessian of what is not made by templates.
    """
    [level] = apart.levels
    entries = Entries((n, n))
    for t in level.templates:
        for k, q in t.pairs:
            i, j = apart.positions(t, k), apart.positions(t, q)
            entries.add(i, j)
            if k != q:
                entries.add(j, i)
    if rest is not None:
        entries.add(*rest.tocoo().coords)
    level.pattern, level.entry = entries.matrix()
    return level.pattern


def jacobian_values(apart: Apart, backend: Any, inner: tuple | None) -> Any:
    """Compute the entries of the last level.

    Parameters
    ----------
    apart : Apart
        After `plan_jacobian`.
    backend : object
        ``backend.derivatives(template, slots)`` returns the value of a template, and a list of its
        derivatives in the live slots; ``backend.slot(template, k, blocks)`` is the value of a slot;
        ``backend.take(vector, places)`` and ``backend.sums(parts, places, size)`` move elements.
    inner : pair or None
        Values, and entries of the Jacobian, of the arrays that were not taken apart.
    """
    values, jacobians = [None], [None]
    if inner is not None:
        values, jacobians = [inner[0]], [inner[1]]
    for level in apart.levels:
        parts, sums = [], []
        for t in level.templates:
            slots = [backend.slot(t, k, values) for k in range(len(t.slots))]
            value, derivatives = backend.derivatives(t, slots)
            sums.append(value)
            for k, d in zip(t.live, derivatives, strict=True):
                if (t, k) in level.chains:
                    member, _, entry = level.chains[t, k]
                    below = jacobians[t.slots[k].block]
                    d = backend.take(d, member) * backend.take(below, entry)
                parts.append(d)
        jacobians.append(backend.sums(parts, level.entry, level.pattern.nnz))
        if level is not apart.levels[-1]:
            rows = np.concatenate([t.rows for t in level.templates])
            values.append(backend.sums(sums, rows, level.size))
    return jacobians[-1]


def hessian_values(apart: Apart, backend: Any, rest: Any = None) -> Any:
    """Compute the entries after `plan_hessian`.

    ``backend.second_derivatives(template, slots)`` returns a list of second derivatives in pairs.
    """
    [level] = apart.levels
    parts = []
    for t in level.templates:
        if t.pairs:
            slots = [backend.slot(t, k, ()) for k in range(len(t.slots))]
            seconds = backend.second_derivatives(t, slots)
            for (k, q), d in zip(t.pairs, seconds, strict=True):
                parts += [d] if k == q else [d, d]
    if rest is not None:
        parts.append(rest)
    return backend.sums(parts, level.entry, level.pattern.nnz)


def rest_value(apart: Apart, backend: Any, inner: Any) -> Any:
    """Compute the sum of all templates that are not `twice_differentiable`."""
    [level] = apart.levels
    parts = []
    for t in level.templates:
        if not twice_differentiable(t):
            slots = [backend.slot(t, k, [inner]) for k in range(len(t.slots))]
            parts.append(backend.value(t, slots))
    count = sum(len(t) for t in level.templates if not twice_differentiable(t))
    return backend.sums(parts, np.zeros(count, np.int64), 1)[0] if parts else None


def twice_differentiable(template: Template) -> bool:
    """Tell whether the second derivatives of a template are made pair by pair."""
    moving = template.moving
    return len(moving) <= MOST_PAIRED and all(template.slots[k].kind == VARIABLE for k in moving)
