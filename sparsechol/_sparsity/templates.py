"""Group scalar expressions of one form into templates.

All expressions of one form are one template: an expression of vectors, one element for each member,
whose derivatives in its slots are entries of a Jacobian, without any coloring.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .expressions import (
    INNER,
    NOTHING,
    VARIABLE,
    Expressions,
    Leaf,
    Source,
    TooMuchError,
)

MOST_TERMS = 12  # longer sums are taken apart term by term
FEW = 4  # equations of forms with fewer members may be taken apart, too
HEAVY = 150  # an expression of this size that is used twice is computed once
MOST_LEVELS = 4  # of expressions that are computed once and use each other
MOST_VISITS = 12  # of each expression, on average
MOST_INNER = 4  # elements of inner arrays for each row
OVERHEAD = 4  # of a template, in operations


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
    still : list of Template or None
        The rows that do not depend on what is differentiated in. None if rows are zero by their
        derivatives, and may have other values.
    """

    table: Expressions
    levels: list[Level]
    inner: list[Source]
    still: list[Template] | None = None

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
        templates = steps.templates(wanted)
    except TooMuchError:
        return None
    found.append(Level([t for t in templates if t.moving], len(rows)))
    still = [t for t in templates if not t.moving] if len(wanted) == len(rows) else None
    inner, total = numbered(table, found)
    return None if total > MOST_INNER * (len(rows) + 100) else Apart(table, found, inner, still)


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
