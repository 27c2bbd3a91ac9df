"""The search for a coloring with few colors."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from .._scipy.input import unmasked
from .._typing import MatrixLike, Method, Order, Structure
from ._bidirectional import by_density, drop_symmetric, without_unneeded
from ._graphs import GRAPHS, ORDERS, Columns
from ._pattern import METHODS, STRUCTURES, entries_of
from ._result import Coloring

ROUNDS = 100  # number of times that the best coloring is recolored


def color(
    sparsity: MatrixLike,
    structure: Structure = "column",
    *,
    method: Method = "direct",
    order: Order = "auto",
    budget: float = 1.0,
    seed: int = 0,
) -> Coloring:
    """Color a sparsity pattern: find few directions that determine a Jacobian or a Hessian.

    Parameters
    ----------
    sparsity : (m, n) sparse or dense array
        The possible nonzeros of the matrix: the entries that a sparse array stores, explicit zeros
        too, or the nonzeros of a dense array. Values do not matter.
    structure : {'column', 'row', 'symmetric', 'bidirectional'}, optional
        The products with the matrix J that can be computed: ``J @ S`` (forward mode), ``S.T @ J``
        (reverse mode), ``J @ S`` for a symmetric J, or both ``J @ S`` and ``R.T @ J``.
    method : {'direct', 'substitution'}, optional
        With 'direct' each entry is read from one product. With 'substitution' an entry may need
        entries that were found before it: that takes fewer products, but rounding errors add up.
        'substitution' needs the structure 'symmetric' or 'bidirectional'.
    order : str or (n,) array_like of int, optional
        The order in which the vertices (columns, rows, or columns and then rows) take their colors:
        'natural', 'largest_first', 'smallest_last', 'incidence_degree', 'dynamic_largest_first',
        'perfect_elimination' (optimal on chordal graphs; the same as 'incidence_degree'),
        'random', or a permutation. 'auto' tries them one after the other, then colorings of grids,
        then recolors the best coloring, and keeps the coloring with the fewest colors.
    budget : float, optional
        Seconds after which 'auto' stops trying. At least one coloring is always found.
    seed : int, optional
        Seed of the random orders.

    Returns
    -------
    Coloring

    Raises
    ------
    ValueError
        If a name is unknown, the method does not fit the structure, the order is not a
        permutation, or the pattern for structure 'symmetric' is not symmetric.

    Notes
    -----
    Columns or rows get a greedy partial distance-2 coloring. Symmetric matrices get a star
    coloring, or an acyclic coloring for substitution (Gebremedhin et al., 2005, 2007). Both
    directions get a star or acyclic coloring of the graph of rows and columns, without the colors
    that are not needed (Montoison, Dalle and Gebremedhin, 2025); or dense rows are found by
    products with rows, and the other rows by products with columns.

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
    search = Search(entries_of(sparsity), structure, method, seed)
    if not isinstance(order, str):
        return search.as_coloring(search.greedy(checked_permutation(order, search.graph.n)))
    if order == "auto":
        return search.best_within(budget)
    if order not in ORDERS:
        raise ValueError(f"order must be one of {('auto', *ORDERS)}, not {order!r}")
    return search.as_coloring(search.greedy(order))


class Search:
    """A search through candidates in a fixed order, and the best coloring so far."""

    def __init__(self, A, structure, method, seed):
        self.A, self.structure, self.method = A, structure, method
        self.rng = np.random.default_rng(seed)
        self.graph = GRAPHS[structure](A, method)
        self.best: Coloring | None = None

    def best_within(self, budget: float) -> Coloring:
        """Try candidates until one has the fewest colors possible or the time is over."""
        deadline = perf_counter() + budget
        for colors in self.candidates():
            if colors is not None:
                coloring = self.as_coloring(colors)
                if self.best is None or coloring.num_colors < self.best.num_colors:
                    self.best = coloring
            if self.best is None:
                continue
            if self.best.num_colors <= self.graph.lower_bound or perf_counter() > deadline:
                break
        return cast("Coloring", self.best)  # the first candidate always has colors

    def candidates(self) -> Iterator[Any]:
        """Yield colors that are found when asked for, or None where there are too many."""
        if self.structure == "bidirectional":
            yield from by_density(self.A, self.max_colors)
        names = [name for name in ORDERS if name != "perfect_elimination"]  # as incidence degree
        for name in names[:2]:
            yield self.greedy(name)
        if isinstance(self.graph, Columns):
            yield self.graph.lattice(self.max_colors())
        else:
            yield from (self.greedy(name, distance2=True) for name in names[:2])
        for name in names[2:]:
            yield self.greedy(name)
        for turn in range(ROUNDS):
            yield self.greedy(self.recolor_order(turn))

    def greedy(self, order, **options):
        """Color the vertices in an order; return None if that takes too many colors.

        The structure 'bidirectional' gives a pair, the colors of the columns and of the rows.
        """
        if isinstance(order, str):
            order = self.graph.order(order, self.rng)
        colors = self.graph.greedy(order, self.max_colors(), **options)
        if colors is not None and self.structure == "symmetric" and self.method == "direct":
            lacking = self.A.nnz and not self.A.diagonal().all()
            return drop_symmetric(self.A, colors) if lacking else colors
        if self.structure != "bidirectional" or colors is None:
            return colors
        n = self.A.shape[1]
        return without_unneeded(self.A, colors[:n] // 2, colors[n:] // 2, self.method)

    def max_colors(self) -> int:
        """Return the most colors that a candidate may have to become the best one.

        In both directions some colors are dropped afterwards, so that a candidate may have more.
        """
        if self.best is None:
            return self.graph.n + 1
        better = self.best.num_colors - 1
        return better if self.structure != "bidirectional" else 2 * better + 8

    def as_coloring(self, colors) -> Coloring:
        """Return a candidate as a Coloring."""
        return Coloring(self.A, self.structure, self.method, colors, self.graph.lower_bound)

    def recolor_order(self, turn: int) -> np.ndarray:
        """Order the vertices by the colors of the best: last first, largest first, or at random.

        Partial distance-2 colorings do not get worse by recoloring in such an order
        (Culberson, 1992).
        """
        colors = cast("Coloring", self.best).colors
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


def checked_permutation(order: ArrayLike, n: int) -> np.ndarray:
    """Return a user's order of n vertices; raise ValueError unless it is a permutation."""
    order = unmasked(order, "order")
    if order.shape != (n,) or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(f"order must hold each of the {n} vertices from 0 on once")
    return np.ascontiguousarray(order, np.int32)
