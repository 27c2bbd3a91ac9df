"""Put the derivatives of templates into a matrix: where they go, and by what chain rule."""

from typing import Any, cast

import numpy as np
from scipy.sparse import csc_array

from .expressions import VARIABLE
from .templates import Apart, Template

MOST_PAIRED = 24  # slots whose second derivatives are made pair by pair


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


def row_values(apart: Apart, backend: Any, inner: Any) -> Any:
    """Compute the rows of the last level; `inner` as for `jacobian_values`, values alone."""
    values = [inner]
    for level in apart.levels:
        templates = level.templates
        if level is apart.levels[-1]:
            templates = [*templates, *cast("list[Template]", apart.still)]
        parts = []
        for t in templates:
            slots = [backend.slot(t, k, values) for k in range(len(t.slots))]
            parts.append(backend.value(t, slots))
        rows = np.concatenate([t.rows for t in templates]) if templates else np.zeros(0, int)
        values.append(backend.sums(parts, rows, level.size))
    return values[-1]


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
