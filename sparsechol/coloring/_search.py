"""The search for a coloring with few colors."""

from time import perf_counter

import numpy as np
from scipy.sparse import csc_array, issparse

from .._scipy.input import as_scipy, compressed
from ._bidirectional import by_density, without_unneeded
from ._decompression import coordinates, two_sided
from ._graphs import ORDERS, Columns, Vertices
from ._result import Coloring

STRUCTURES = ("column", "row", "symmetric", "bidirectional")
METHODS = ("direct", "substitution")
ROUNDS = 100  # of iterated greedy coloring


def color(pattern, structure="column", method="direct", order="auto", *, budget=1.0, seed=0):
    """Color a sparsity pattern: few directions that determine a Jacobian or a Hessian.

    Parameters
    ----------
    pattern : (m, n) sparse or dense array
        Where the matrix may have entries: what a sparse array stores, explicit zeros too, or where
        a dense one is not zero. Values do not matter.
    structure : {'column', 'row', 'symmetric', 'bidirectional'}, optional
        Which products with the matrix J are at hand: ``J @ S`` (forward mode), ``S.T @ J``
        (reverse mode), ``J @ S`` for a symmetric J, or both.
    method : {'direct', 'substitution'}, optional
        Whether each entry is found in one product alone, or from others that have been found: that
        takes fewer products of a symmetric matrix, or in both directions, but adds up rounding.
    order : str or (n,) array_like of int, optional
        The order in which vertices (columns, rows, or columns and then rows) take their colors:
        'natural', 'largest_first', 'smallest_last', 'incidence_degree', 'dynamic_largest_first',
        'perfect_elimination' (on chordal graphs; the same as incidence degree), 'random', or a
        permutation. 'auto' tries them one after the other, and colorings of grids and repeated
        colorings of the best, and keeps the one with fewest colors.
    budget : float, optional
        Seconds after which 'auto' tries no more; one coloring is always found.
    seed : int, optional
        Of the random orders.

    Returns
    -------
    Coloring

    Raises
    ------
    ValueError
        If a name is unknown, the method does not fit the structure, the order is no permutation, or
        the pattern of a symmetric matrix is not symmetric (naming an entry).

    Notes
    -----
    Columns and rows: greedy partial distance-2 coloring; symmetric: star coloring, or acyclic
    coloring with substitution (Gebremedhin et al., 2005, 2007); in both directions: the same on
    the graph of rows and columns, colors that are not needed left out (Montoison, Dalle and
    Gebremedhin, 2025), or dense rows by products with rows and the others by products with columns.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from sparsechol.coloring import color
    >>> J = sp.diags_array([np.ones(5), np.full(6, -2.0), np.ones(5)], offsets=[-1, 0, 1])
    >>> C = color(J)
    >>> C.colors, C.num_colors
    (array([0, 1, 2, 0, 1, 2], dtype=int32), 3)
    >>> bool((C.decompress(J @ C.seed()) != J).nnz == 0)
    True
    """
    if structure not in STRUCTURES:
        raise ValueError(f"structure must be one of {STRUCTURES}, not {structure!r}")
    if method not in METHODS or (method == "substitution" and structure in STRUCTURES[:2]):
        raise ValueError(
            f"method must be one of {METHODS}, and 'direct' for structure {structure!r};"
            f" not {method!r}"
        )
    search = Search(entries_of(pattern), structure, method, seed)
    if not isinstance(order, str):
        return search.finished(search.colored(permutation(order, search.graph.n)))
    if order == "auto":
        return search.best_of_all(budget)
    if order not in ORDERS:
        raise ValueError(f"order must be one of {('auto', *ORDERS)}, not {order!r}")
    return search.finished(search.colored(order))


def entries_of(pattern):
    """csc_array of ones, sorted, each entry once."""
    if issparse(pattern):
        A = compressed(pattern, np.complex128 if pattern.dtype.kind == "c" else np.float64)
        A = as_scipy(A).tocsc(copy=True)
        A.data = np.ones(A.data.shape, np.int8)
    else:
        dense = np.asarray(pattern)
        if dense.ndim != 2:
            raise ValueError(f"a pattern has two dimensions, not {dense.ndim}")
        A = csc_array(dense != 0)
    A.sum_duplicates()
    A.data = np.ones(A.data.shape, np.int8)
    return A


class Search:
    """One search: candidates in a fixed order, and the best so far."""

    def __init__(self, A, structure, method, seed):
        self.A, self.structure, self.method = A, structure, method
        self.rng = np.random.default_rng(seed)
        self.graph = GRAPHS[structure](A, method)
        self.best = None

    def best_of_all(self, budget):
        """Candidates until one has as few colors as can be, or the time is over."""
        deadline = perf_counter() + budget
        for colors in self.candidates():
            if colors is not None:
                coloring = self.finished(colors)
                if self.best is None or coloring.num_colors < self.best.num_colors:
                    self.best = coloring
            if self.best is None:
                continue
            if self.best.num_colors <= self.graph.lower_bound or perf_counter() > deadline:
                break
        return self.best

    def candidates(self):
        """Colors, found when they are asked for; None where there are too many."""
        if self.structure == "bidirectional":
            yield from by_density(self.A, self.most)
        names = [name for name in ORDERS if name != "perfect_elimination"]  # as incidence degree
        for name in names[:2]:
            yield self.colored(name)
        if isinstance(self.graph, Columns):
            yield self.graph.lattice(self.most())
        else:
            yield from (self.colored(name, wide=True) for name in names[:2])
        for name in names[2:]:
            yield self.colored(name)
        for turn in range(ROUNDS):
            yield self.colored(self.again(turn))

    def colored(self, order, **options):
        """Colors given in an order; in both directions of columns and of rows."""
        if isinstance(order, str):
            order = self.graph.order(order, self.rng)
        colors = self.graph.colored(order, self.most(), **options)
        if self.structure != "bidirectional" or colors is None:
            return colors
        n = self.A.shape[1]
        return without_unneeded(self.A, colors[:n] // 2, colors[n:] // 2, self.method)

    def most(self):
        """Colors that a candidate may have to be better than the best, before some are dropped."""
        if self.best is None:
            return self.graph.n + 1
        better = self.best.num_colors - 1
        return better if self.structure != "bidirectional" else 2 * better + 8

    def finished(self, colors):
        """A candidate as a Coloring."""
        return Coloring(self.A, self.structure, self.method, colors, self.graph.lower_bound)

    def again(self, turn):
        """Vertices by the classes of the best: last first, largest first, or at random.

        Partial distance-2 colorings do not get worse by it (Culberson, 1992).
        """
        colors = self.best.colors
        if self.structure == "bidirectional":
            columns, rows = colors
            colors = np.concatenate([columns, np.where(rows < 0, -1, rows + len(columns))])
        classes, colors = np.unique(colors, return_inverse=True)
        if turn % 3 == 0:
            rank = -np.arange(len(classes))
        elif turn % 3 == 1:
            rank = -np.bincount(colors, minlength=len(classes))
        else:
            rank = self.rng.permutation(len(classes))
        return np.lexsort((colors, rank[colors])).astype(np.int32)


def permutation(order, n):
    """An order given by the user."""
    order = np.asarray(order)
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(f"order must hold each of the {n} vertices from 0 on once")
    return np.ascontiguousarray(order, np.int32)


# ---- the graphs ----


def columns_of(A, method):
    return Columns(A)


def rows_of(A, method):
    return Columns(A.T.tocsc())


def adjacency(A, method):
    """The graph of a symmetric pattern."""
    if A.shape[0] != A.shape[1]:
        raise ValueError(f"a symmetric matrix is square; the shape is {A.shape}")
    difference = (A - A.T).tocoo()
    alone = np.flatnonzero(difference.data)
    if len(alone):
        i, j = difference.row[alone[0]], difference.col[alone[0]]
        raise ValueError(
            f"the pattern is not symmetric: one of the entries ({i}, {j}) and ({j}, {i}) is missing"
        )
    i, j = coordinates(A)
    off = i != j
    edges = csc_array((np.ones(int(off.sum()), np.int8), (i[off], j[off])), A.shape)
    graph = Vertices(edges, method)
    unknown = A.nnz - edges.nnz // 2
    # Each product has n elements.
    graph.lower_bound = max(graph.lower_bound, -(-unknown // max(A.shape[0], 1)))
    return graph


def both_sides(A, method):
    """The graph of columns and rows."""
    m, n = A.shape
    graph = Vertices(two_sided(A), method, np.repeat(np.array([0, 1], np.int8), [n, m]))
    graph.lower_bound = -(-A.nnz // max(m, n, 1))  # a product has m or n elements
    return graph


GRAPHS = {
    "column": columns_of,
    "row": rows_of,
    "symmetric": adjacency,
    "bidirectional": both_sides,
}
