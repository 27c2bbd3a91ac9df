"""What the kernels of the factorization make of the sets that their operands depend on.

Operations and the letters of their arrays are those of `numeric.operations`. Maps between arrays,
products, solves, log-determinants and partial inverses are exact, but for numbers that cancel; what
stays on the panels is taken column by column of the elimination tree, or of each component.
"""

from functools import partial

import numpy as np
from scipy.sparse import csc_array, csr_array

from .._core.numeric.operations import CODES, CORE_RANK, NAMES
from . import propagate as families
from .sets import Sets


def connect(sets: Sets, operation: str, pattern, operands, shape, **options):
    """Sets of the result of an operation.

    Parameters
    ----------
    sets : Sets
    operation : str
        A name in `numeric.operations.NAMES`.
    pattern : SymbolicFactor or TriangularPattern
    operands : list of arrays of sets or None
        As the operation takes them, perhaps preceded by others that it moves with.
    shape : tuple of int
        Of the result.
    **options
        `lower` and `permute`.
    """
    letters, result = NAMES[operation].split(">")
    letters = "a" * (len(operands) - len(letters)) + letters
    lead = shape[: len(shape) - CORE_RANK[result]]
    rule = partial(RULES[operation], Layout(pattern), sets, shape=shape[len(lead) :], **options)
    out = np.empty(shape, np.int32)
    for place in np.ndindex(*lead):
        matrices = [
            None if ids is None else _at(ids, place, CORE_RANK[letter])
            for ids, letter in zip(operands, letters, strict=True)
        ]
        out[place] = rule(*matrices)
    return out


def _at(ids, place, rank):
    """The array at a place of a batch, of which some dimensions may be 1."""
    lead = ids.shape[: ids.ndim - rank]
    return ids[tuple(0 if size == 1 else k for k, size in zip(place, lead, strict=True))]


class Layout:
    """Where the entries of A and of L lie in the arrays of the kernels."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.n = pattern.shape[0]

    def places(self, operation, source):
        """Of which element of its operand each element of the result is a copy."""
        if operation == "entries":
            self.pattern._handle.know_factor(self.pattern)
        if operation == "unfold":
            self.pattern._handle.know_both_triangles(self.pattern)
        handle = self.pattern._handle
        numbers = np.arange(handle.length(source), dtype=float)
        out = np.empty(handle.length(NAMES[operation].split(">")[1]))
        handle.perform(CODES[operation], (numbers,), out, 1, 0, 1.0, 1.0)
        return out.astype(np.int64)

    def size(self, letter):
        return self.pattern._handle.length(letter)

    @property
    def rows_and_columns(self):
        """Of the stored entries of A."""
        P = self.pattern
        return P.indices, np.repeat(np.arange(self.n), np.diff(P.indptr))

    @property
    def matrix(self):
        """Where A has entries, in both triangles."""
        i, j = self.rows_and_columns
        ones = np.ones(len(i), np.int8)
        L = csc_array((ones, (i, j)), shape=(self.n, self.n))
        return csr_array(L + L.T)

    @property
    def factor(self):
        """Rows and columns of the entries of L, in its own order."""
        starts, rows = self.pattern.factor_pattern()
        return rows.astype(np.int64), np.repeat(np.arange(self.n), np.diff(starts))

    @property
    def labels(self):
        """The component of each row of A."""
        return families.components(self.matrix)

    def labels_of(self, letter):
        """The component of each element of an array; those that hold no entry have one more."""
        labels = self.labels
        if letter == "x":
            return labels
        if letter == "a":
            return labels[self.rows_and_columns[1]]
        _, column = self.factor
        out = np.full(self.size("l"), labels.max(initial=-1) + 1)
        out[self.places("entries", "l")] = labels[self.pattern.perm[column]]
        return out


def scattered(places, ids, size):
    """An array of which the elements at places are given."""
    out = families.none(size)
    out[places] = ids
    return out


def by_component(layout, sets, letters, operands):
    """The union of what belongs to each component, and nothing behind them."""
    count = int(layout.labels.max(initial=-1)) + 1
    terms = [families.none(count + 1)]
    for letter, ids in zip(letters, operands, strict=True):
        if ids is None:
            continue
        labels = layout.labels_of(letter)
        if ids.ndim == 2:
            ids = families.merged(sets, ids, (1,))
        ones = np.ones(len(labels), np.int8)
        members = csr_array((ones, (labels, np.arange(len(labels)))), (count + 1, len(labels)))
        terms.append(families.applied(sets, members, ids))
    out = families.union(sets, *terms)
    out[count] = 0
    return out


# ---- maps between arrays ----


def copies(operation, source):
    def rule(layout, sets, ids, *, shape):
        return ids[layout.places(operation, source)]

    return rule


def placed(operation, source):
    """The adjoint of a copy."""

    def rule(layout, sets, ids, *, shape):
        return scattered(layout.places(operation, source), ids, shape)

    return rule


def weigh(layout, sets, ids, *, shape):
    places = layout.places("entries", "l")
    return scattered(places, ids[places], shape)


def fold(layout, sets, ids, *, shape):
    sources = layout.places("unfold", "a")
    count = len(sources)
    ones = np.ones(count, np.int8)
    members = csr_array((ones, (sources, np.arange(count))), (shape[0], count))
    return families.applied(sets, members, ids)


# ---- products ----


def by_columns(apply, x):
    """A map of vectors applied to each column."""
    return np.stack([apply(x[:, k]) for k in range(x.shape[1])], axis=1)


def of_rows(sets, rows, ids, n):
    """The union of the entries in each row of a matrix: (n, 1)."""
    members = csr_array((np.ones(len(rows), np.int8), (rows, np.arange(len(rows)))), (n, len(rows)))
    return families.applied(sets, members, ids)[:, None]


def product(layout, sets, a, x, *, shape):
    terms = [families.none(shape)]
    if a is not None:
        i, j = layout.rows_and_columns
        terms += [of_rows(sets, i, a, layout.n), of_rows(sets, j, a, layout.n)]
    if x is not None:
        terms.append(families.applied(sets, layout.matrix, x.T).T)
    return families.union(sets, *terms, shape=shape)


def sampled_outer(layout, sets, *operands, shape):
    i, j = layout.rows_and_columns
    rows = [families.merged(sets, x, (1,)) for x in operands if x is not None]
    return families.union(sets, *(r[i] for r in rows), *(r[j] for r in rows))


def sampled_product(sets, i, w, j, x):
    """Rows i of w and rows j of x."""
    pairs = ((i, w), (j, x))
    rows = [families.merged(sets, y, (1,))[k] for k, y in pairs if y is not None]
    return families.union(sets, *rows)


def triangle(layout, panels, permute):
    """Rows and columns of L, its sets, and the row of A that each of its rows is."""
    i, j = layout.factor
    order = layout.pattern.perm if permute else np.arange(layout.n)
    if panels is not None:
        panels = panels[layout.places("entries", "l")]
    return i, j, panels, order


def times_triangle(sets, i, j, t, x, before, after, shape):
    """A matrix with entries (i, j) times x; rows of x and of the result are permuted."""
    n = shape[0]
    out = families.none(shape)
    terms = [out]
    if t is not None:
        terms.append(of_rows(sets, i, t, n))
    if x is not None:
        A = csr_array((np.ones(len(i), np.int8), (i, j)), shape=(n, n))
        terms.append(families.applied(sets, A, x[before].T).T)
    out[after] = families.union(sets, *terms, shape=shape)
    return out


def solve_triangle(sets, i, j, t, x, before, after, shape):
    """A triangular system with entries (i, j), solved from the first row on or from the last."""
    n = shape[0]
    terms = [families.none(shape)]
    if t is not None:
        terms.append(of_rows(sets, i, t, n))
    if x is not None:
        terms.append(x[before])
    right = families.union(sets, *terms, shape=shape)
    forward = bool((i >= j).all())
    turn = np.arange(n) if forward else np.arange(n)[::-1]
    off = i != j
    ones = np.ones(int(off.sum()), np.int8)
    starts, members = families.rows_of(csr_array((ones, (turn[i[off]], turn[j[off]])), (n, n)))
    substitute = partial(sets.substitute, starts, members)
    solved = by_columns(lambda c: substitute(np.ascontiguousarray(c[turn]))[turn], right)
    out = families.none(shape)
    out[after] = solved
    return out


def with_factor(apply):
    """A product or a solve with L, or with its transpose."""

    def rule(layout, sets, panels, x, *, shape, lower=False, permute=False):
        i, j, entries, order = triangle(layout, panels, permute)
        here, natural = order, np.arange(layout.n)
        # L^-1 P and P^T L^-T, or their inverses.
        permuted_before = lower == (apply is solve_triangle)
        before, after = (here, natural) if permuted_before else (natural, here)
        if not lower:
            i, j = j, i
        return apply(sets, i, j, entries, x, before, after, shape)

    return rule


def factor_outer(layout, sets, w, x, *, shape, lower=False, permute=False):
    i, j, _, order = triangle(layout, None, permute)
    left, right = (w, x) if lower else (x, w)
    entries = sampled_product(sets, order[i], left, j, right)
    return scattered(layout.places("entries", "l"), entries, shape)


def csc_triangle_outer(layout, sets, w, x, *, shape, lower=False):
    i, j = layout.rows_and_columns
    left, right = (w, x) if lower else (x, w)
    return sampled_product(sets, i, left, j, right)


def with_csc_triangle(apply):
    """A product or a solve with a triangle that is no factor, or with its transpose."""

    def rule(layout, sets, t, x, *, shape, lower=False):
        i, j = layout.rows_and_columns
        natural = np.arange(layout.n)
        if not lower:
            i, j = j, i
        return apply(sets, np.asarray(i, np.int64), j, t, x, natural, natural, shape)

    return rule


# ---- by component ----


def solve(layout, sets, *operands, shape):
    *matrix, x = operands
    letters = "al"[: len(matrix)] if len(matrix) == 2 else "l"
    return _solved(layout, sets, letters, matrix, x, shape)


def _solved(layout, sets, letters, matrix, x, shape):
    labels = layout.labels
    terms = [by_component(layout, sets, letters, matrix)[labels][:, None]]
    if x is not None:
        terms.append(by_columns(partial(families.within, sets, labels), x))
    return families.union(sets, *terms, shape=shape)


def promoted_solve(layout, sets, a, x, *, shape):
    return _solved(layout, sets, "a", [a], x, shape)


def component_wise(letters, result):
    def rule(layout, sets, *operands, shape):
        return by_component(layout, sets, letters, operands)[layout.labels_of(result)]

    return rule


def logdet(layout, sets, *operands, shape):
    *values, panels = operands
    found = [ids for ids in values if ids is not None]
    if panels is not None:
        found.append(panels[layout.places("diagonal", "l")])
    return families.everything(sets, found, shape)


def by_column(letters, upwards):
    """Of panels: each column, with the columns below it in the elimination tree or above it."""

    def rule(layout, sets, *operands, shape):
        i, j = layout.factor
        n, places = layout.n, layout.places("entries", "l")
        columns = [families.none(n)]
        for letter, ids in zip(letters, operands, strict=True):
            if ids is None:
                continue
            if letter == "a":
                rank = np.empty(n, np.int64)
                rank[layout.pattern.perm] = np.arange(n)
                row, column = layout.rows_and_columns
                owner = np.minimum(rank[row], rank[column])
            else:
                ids, owner = ids[places], j
            columns.append(of_rows(sets, owner, ids, n)[:, 0])
        turn = np.arange(n) if upwards else np.arange(n)[::-1]
        off = i != j
        rows, others = (i[off], j[off]) if upwards else (j[off], i[off])
        ones = np.ones(len(rows), np.int8)
        starts, members = families.rows_of(csr_array((ones, (turn[rows], turn[others])), (n, n)))
        right = np.ascontiguousarray(families.union(sets, *columns)[turn])
        return scattered(places, sets.substitute(starts, members, right)[turn][j], shape)

    return rule


RULES = {
    "cholesky": by_column("a", True),
    "tangent": by_column("la", True),
    "tangent_panels": by_column("ll", True),
    "adjoint": by_column("ll", False),
    "outer": component_wise("ll", "l"),
    "inner": component_wise("ll", "l"),
    "partial_inverse": by_column("l", False),
    "sandwich": component_wise("lll", "l"),
    "solve": solve,
    "solve_triangular": with_factor(solve_triangle),
    "factor_product": with_factor(times_triangle),
    "factor_outer": factor_outer,
    "product": product,
    "sampled_outer": sampled_outer,
    "logdet": logdet,
    "diagonal": copies("diagonal", "l"),
    "place_diagonal": placed("diagonal", "l"),
    "gather": copies("gather", "l"),
    "scatter": placed("gather", "l"),
    "weigh": weigh,
    "entries": copies("entries", "l"),
    "place_entries": placed("entries", "l"),
    "fold": fold,
    "unfold": copies("unfold", "a"),
    "promoted_logdet": lambda layout, sets, a, *, shape: families.everything(sets, [a], shape),
    "promoted_solve": promoted_solve,
    "promoted_partial_inverse": component_wise("a", "a"),
    "promoted_sandwich": component_wise("aa", "a"),
    "csc_triangle_solve": with_csc_triangle(solve_triangle),
    "csc_triangle_product": with_csc_triangle(times_triangle),
    "csc_triangle_outer": csc_triangle_outer,
}
