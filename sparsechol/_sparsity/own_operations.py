"""Pass sets of inputs through the kernels of the factorization.

Operations and the letters of their arrays are those of `numeric.operations`. For maps of arrays,
products, solves, log-determinants and partial inverses the sets are exact, but for numbers that
cancel. Sets may be too large for operations from panels to panels, which are taken by columns of
the elimination tree or by components.
"""

from functools import partial
from itertools import product as all_pairs

import numpy as np
from scipy.sparse import csc_array, csr_array

from .._core.numeric.operations import CODES, CORE_RANK, NAMES
from .._core.symbolic.congruence import ranges
from . import propagate
from .sets import Sets


def connect(sets: Sets, operation: str, pattern, operands, shape, **options):
    """Return the sets of the result of an operation.

    Parameters
    ----------
    sets : Sets
    operation : str
        A name in `numeric.operations.NAMES`.
    pattern : SymbolicFactor or TriangularPattern
    operands : list of arrays of sets or None
        In the order of the operation. Further operands with values of A may come before them.
    shape : tuple of int
        Shape of the result.
    **options
        `lower` and `permute` of the operation.
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
    """Return the array at a place of a batch, some dimensions of which may be 1."""
    lead = ids.shape[: ids.ndim - rank]
    return ids[tuple(0 if size == 1 else k for k, size in zip(place, lead, strict=True))]


class Layout:
    """The positions of the entries of A and of L in the arrays of the kernels."""

    def __init__(self, pattern):
        self.pattern = pattern
        self.n = pattern.shape[0]

    def places(self, operation, source):
        """Return, for each element of the result of a copy, its element of the operand."""
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
        """Return the length of an array."""
        return self.pattern._handle.length(letter)

    @property
    def rows_and_columns(self):
        """Rows and columns of the stored entries of A."""
        P = self.pattern
        return P.indices, np.repeat(np.arange(self.n), np.diff(P.indptr))

    @property
    def matrix(self):
        """The pattern of A, both triangles."""
        i, j = self.rows_and_columns
        ones = np.ones(len(i), np.int8)
        L = csc_array((ones, (i, j)), shape=(self.n, self.n))
        return csr_array(L + L.T)

    @property
    def factor(self):
        """Rows and columns of the entries of L, in the order of L."""
        starts, rows = self.pattern.factor_pattern()
        return rows.astype(np.int64), np.repeat(np.arange(self.n), np.diff(starts))

    @property
    def labels(self):
        """The connected component of each row of A."""
        return propagate.connected_components(self.matrix)

    def labels_of(self, letter):
        """Return the component of each element of an array; padding has a number of its own."""
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
    """Return an array of sets with the given elements at places, and nothing elsewhere."""
    out = propagate.no_inputs(size)
    out[places] = ids
    return out


def by_component(layout, sets, letters, operands):
    """Return the union of the elements of each component, and behind them nothing."""
    count = int(layout.labels.max(initial=-1)) + 1
    terms = [propagate.no_inputs(count + 1)]
    for letter, ids in zip(letters, operands, strict=True):
        if ids is None:
            continue
        labels = layout.labels_of(letter)
        if ids.ndim == 2:
            ids = propagate.union_along(sets, ids, (1,))
        ones = np.ones(len(labels), np.int8)
        members = csr_array((ones, (labels, np.arange(len(labels)))), (count + 1, len(labels)))
        terms.append(propagate.apply_matrix(sets, members, ids))
    out = propagate.union(sets, *terms)
    out[count] = 0
    return out


# ---- maps between arrays ----


def copies(operation, source):
    """Return the rule of a copy."""

    def rule(layout, sets, ids, *, shape):
        return ids[layout.places(operation, source)]

    return rule


def placed(operation, source):
    """Return the rule of the adjoint of a copy."""

    def rule(layout, sets, ids, *, shape):
        return scattered(layout.places(operation, source), ids, shape)

    return rule


def gathered_inverse(layout, sets, ids, *, shape):
    panels = RULES["partial_inverse"](layout, sets, ids, shape=(layout.size("l"),))
    return RULES["gather"](layout, sets, panels, shape=shape)


def weigh(layout, sets, ids, *, shape):
    places = layout.places("entries", "l")
    return scattered(places, ids[places], shape)


def turn(layout, sets, panels, ids, *, shape):
    """Signs are constant where they are defined."""
    return propagate.no_inputs(shape) if ids is None else weigh(layout, sets, ids, shape=shape)


def fold(layout, sets, ids, *, shape):
    sources = layout.places("unfold", "a")
    count = len(sources)
    ones = np.ones(count, np.int8)
    members = csr_array((ones, (sources, np.arange(count))), (shape[0], count))
    return propagate.apply_matrix(sets, members, ids)


# ---- products ----


def by_columns(apply, x):
    """Apply a map of vectors to each column."""
    return np.stack([apply(x[:, k]) for k in range(x.shape[1])], axis=1)


def of_rows(sets, rows, ids, n):
    """Return the union of the entries in each row of a matrix, (n, 1)."""
    members = csr_array((np.ones(len(rows), np.int8), (rows, np.arange(len(rows)))), (n, len(rows)))
    return propagate.apply_matrix(sets, members, ids)[:, None]


def product(layout, sets, a, x, *, shape):
    terms = [propagate.no_inputs(shape)]
    if a is not None:
        i, j = layout.rows_and_columns
        terms += [of_rows(sets, i, a, layout.n), of_rows(sets, j, a, layout.n)]
    if x is not None:
        terms.append(propagate.apply_matrix(sets, layout.matrix, x.T).T)
    return propagate.union(sets, *terms, shape=shape)


def sampled_outer(layout, sets, *operands, shape):
    i, j = layout.rows_and_columns
    rows = [propagate.union_along(sets, x, (1,)) for x in operands if x is not None]
    return propagate.union(sets, *(r[i] for r in rows), *(r[j] for r in rows))


def sampled_product(sets, i, w, j, x):
    """Return the sets of the products of rows i of w and rows j of x."""
    pairs = ((i, w), (j, x))
    rows = [propagate.union_along(sets, y, (1,))[k] for k, y in pairs if y is not None]
    return propagate.union(sets, *rows)


def triangle(layout, panels, permute):
    """Return rows and columns of L, their sets, and the row of A of each row of L."""
    i, j = layout.factor
    order = layout.pattern.perm if permute else np.arange(layout.n)
    if panels is not None:
        panels = panels[layout.places("entries", "l")]
    return i, j, panels, order


def times_triangle(sets, i, j, t, x, before, after, shape):
    """Multiply a matrix with entries (i, j) by x; rows of x and of the result are permuted."""
    n = shape[0]
    out = propagate.no_inputs(shape)
    terms = [out]
    if t is not None:
        terms.append(of_rows(sets, i, t, n))
    if x is not None:
        A = csr_array((np.ones(len(i), np.int8), (i, j)), shape=(n, n))
        terms.append(propagate.apply_matrix(sets, A, x[before].T).T)
    out[after] = propagate.union(sets, *terms, shape=shape)
    return out


def solve_triangle(sets, i, j, t, x, before, after, shape):
    """Solve a triangular system with entries (i, j), from the first row on or from the last."""
    n = shape[0]
    terms = [propagate.no_inputs(shape)]
    if t is not None:
        terms.append(of_rows(sets, i, t, n))
    if x is not None:
        terms.append(x[before])
    right = propagate.union(sets, *terms, shape=shape)
    forward = bool((i >= j).all())
    turn = np.arange(n) if forward else np.arange(n)[::-1]
    off = i != j
    ones = np.ones(int(off.sum()), np.int8)
    starts, members = propagate.row_lists(csr_array((ones, (turn[i[off]], turn[j[off]])), (n, n)))
    substitute = partial(sets.substitute, starts, members)
    solved = by_columns(lambda c: substitute(np.ascontiguousarray(c[turn]))[turn], right)
    out = propagate.no_inputs(shape)
    out[after] = solved
    return out


def with_factor(apply):
    """Return the rule of a product or a solve with L or its transpose."""

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
    """Return the rule of a product or a solve with a plain triangle or its transpose."""

    def rule(layout, sets, t, x, *, shape, lower=False):
        i, j = layout.rows_and_columns
        natural = np.arange(layout.n)
        if not lower:
            i, j = j, i
        return apply(sets, np.asarray(i, np.int64), j, t, x, natural, natural, shape)

    return rule


# ---- congruences of rectangular matrices ----


FIRST, SECOND, VALUE, WEIGHT, OTHER = range(5)  # columns of the table of pairs


def pairs(pattern):
    """Return all pairs (p, q) of entries of A in one block of rows, and what they meet in.

    That is the packed value at their columns, and the weight between their rows.
    """
    k = pattern.block
    row = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    start = pattern.indptr[::k][row // k]
    count = np.append(pattern.indptr[::k], pattern.indptr[-1])[1:][row // k] - start
    p = np.repeat(np.arange(row.shape[0]), count)
    q = ranges(start, count)
    i, j = pattern.indices[p], pattern.indices[q]
    P, n = pattern.pattern, np.int64(max(pattern.shape[1], 1))
    keys = np.repeat(np.arange(P.shape[0]), np.diff(P.indptr)) * n + P.indices
    value = np.searchsorted(keys, np.minimum(i, j) * n + np.maximum(i, j))
    weight = row[p] * k + row[q] % k
    return p, q, value, weight, row[q] * k + row[p] % k


def gathered(target, terms):
    """Return the rule that unites, for each target, the sets of sources of its pairs.

    `target` and `terms` name columns of the table of `pairs`: those of the result, and those of
    each operand.
    """

    def rule(layout, sets, *operands, shape):
        table = pairs(layout.pattern)
        out = [propagate.no_inputs(shape)]
        for ids, columns in zip(operands, terms, strict=True):
            if ids is None:
                continue
            for to, column in all_pairs(target, columns):
                ones = np.ones(table[to].shape[0], np.int8)
                members = csr_array((ones, (table[to], table[column])), (shape[0], len(ids)))
                out.append(propagate.apply_matrix(sets, members, ids))
        return propagate.union(sets, *out, shape=shape)

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
        terms.append(by_columns(partial(propagate.union_by_label, sets, labels), x))
    return propagate.union(sets, *terms, shape=shape)


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
    return propagate.union_all(sets, found, shape)


def by_column(letters, upwards):
    """Return a rule in which a column of L gets the sets of its descendants or its ancestors."""

    def rule(layout, sets, *operands, shape):
        i, j = layout.factor
        n, places = layout.n, layout.places("entries", "l")
        columns = [propagate.no_inputs(n)]
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
        starts, members = propagate.row_lists(csr_array((ones, (turn[rows], turn[others])), (n, n)))
        right = np.ascontiguousarray(propagate.union(sets, *columns)[turn])
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
    "promoted_logdet": lambda layout, sets, a, *, shape: propagate.union_all(sets, [a], shape),
    "promoted_solve": promoted_solve,
    "promoted_partial_inverse": component_wise("a", "a"),
    "promoted_sandwich": component_wise("aa", "a"),
    "rcond": lambda layout, sets, *operands, shape: propagate.union_all(
        sets, [ids for ids in operands if ids is not None], shape
    ),
    "ldl": by_column("a", True),
    "turn": turn,
    "ldl_signs": lambda layout, sets, a, signs, *, shape: by_column("a", True)(
        layout, sets, a, shape=shape
    ),
    "replaced_pivots": lambda layout, sets, *operands, shape: propagate.union_all(
        sets, [ids for ids in operands if ids is not None], shape
    ),
    "csc_triangle_solve": with_csc_triangle(solve_triangle),
    "csc_triangle_product": with_csc_triangle(times_triangle),
    "csc_triangle_outer": csc_triangle_outer,
    "gram": gathered((VALUE,), ((FIRST, SECOND), (WEIGHT, OTHER), (FIRST, SECOND))),
    "gram_rows": gathered((FIRST,), ((WEIGHT, OTHER), (SECOND,), (VALUE,))),
    "gathered_inverse": gathered_inverse,
    "gram_weights": gathered((WEIGHT, OTHER), ((FIRST, SECOND), (FIRST, SECOND), (VALUE,))),
}
