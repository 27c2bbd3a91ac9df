"""The graphs of a pattern that are colored, and greedy colorings of each."""

from itertools import islice, product

import numpy as np
from scipy.sparse import csc_array

from .._cached import cached_property
from . import _orders as orders
from ._acyclic import acyclic_coloring
from ._decompression import two_sided
from ._distance2 import distance2_coloring, is_lattice_valid
from ._pattern import coordinates
from ._star import star_coloring

NONE = np.empty(0, np.int64), np.empty(0, np.int32)
DYNAMIC = {
    "smallest_last": orders.SMALLEST_LAST,
    "incidence_degree": orders.INCIDENCE_DEGREE,
    "dynamic_largest_first": orders.DYNAMIC_LARGEST_FIRST,
    "perfect_elimination": orders.INCIDENCE_DEGREE,
}
ORDERS = ("natural", "largest_first", *DYNAMIC, "random")
MOST_LATTICE_COLORS = 40
MOST_LATTICE_TESTS = 30_000  # a few microseconds each
COMMON = 0.6  # a difference in this part of the rows is a period of a grid


class Graph:
    """Vertices to be colored one after the other.

    Attributes
    ----------
    n : int
        Number of vertices.
    lower_bound : int
        No valid coloring has fewer colors.
    """

    n: int
    lower_bound: int

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the lists of neighbors, and lists back for neighbors at distance two, or none."""
        raise NotImplementedError

    def greedy(self, order, max_colors):
        """Color the vertices in an order; return None if more than `max_colors` are needed."""
        raise NotImplementedError

    @cached_property
    def degrees(self):
        """Number of neighbors of each vertex."""
        return orders.degrees(*self.arrays())

    def order(self, name, rng):
        """Return the vertices in the order of that name."""
        if name == "natural":
            return np.arange(self.n, dtype=np.int32)
        if name == "random":
            return rng.permutation(self.n).astype(np.int32)
        if name == "largest_first":
            return np.argsort(-self.degrees, kind="stable").astype(np.int32)
        return orders.dynamic_order(*self.arrays(), self.degrees, DYNAMIC[name])


class Columns(Graph):
    """Columns of a matrix; two columns are in conflict if they share a row.

    Parameters
    ----------
    A : csc_array
    """

    def __init__(self, A):
        R = A.tocsr()
        self.n = A.shape[1]
        self._arrays = (*lists(A), *lists(R))
        self.lower_bound = int(np.diff(R.indptr).max(initial=0)) or min(1, self.n)

    def arrays(self):
        """Return the rows of each column, and the columns of each row."""
        return self._arrays

    def greedy(self, order, max_colors):
        """Find a partial distance-2 coloring."""
        return distance2_coloring(*self._arrays, order, max_colors)

    def lattice(self, max_colors):
        """Return colors ``(l + t (l // N) + u (l // M)) % k`` of the columns l, or None.

        Such colors fit the stencils of grids. N and M are differences that the columns of many
        rows have.
        """
        starts, members = self._arrays[2:]
        periods = frequent_differences(starts, members)
        pairs = [(N, M) for q, N in enumerate(periods) for M in periods[q:]]
        moduli = range(max(self.lower_bound, 1), min(max_colors, MOST_LATTICE_COLORS) + 1)
        tests = (
            (k, N, t, M, u)
            for k in moduli
            for (N, M), t in product(pairs, range(k))
            for u in (range(1) if N == M else range(1, k))
        )
        for k, N, t, M, u in islice(tests, MOST_LATTICE_TESTS):
            if is_lattice_valid(starts, members, k, N, t, M, u):
                column = np.arange(self.n)
                return ((column + t * (column // N) + u * (column // M)) % k).astype(np.int32)
        return None


class Vertices(Graph):
    """Vertices of a graph without loops, for star or acyclic coloring.

    Parameters
    ----------
    A : csc_array, symmetric
    method : {'direct', 'substitution'}
        Star coloring or acyclic coloring.
    side : (n,) ndarray of int8, optional
        0 or 1: each side has colors of its own.
    """

    def __init__(self, A, method, side=None):
        self.n = A.shape[0]
        self.starts, self.members = lists(A)
        self._side = np.zeros(self.n, np.int8) if side is None else side
        self._sides = 1 if side is None else 2
        self._color = star_coloring if method == "direct" else acyclic_coloring
        self.lower_bound = min(2, self.n) if len(self.members) else min(1, self.n)

    def arrays(self):
        """Return the neighbors of each vertex."""
        return (self.starts, self.members, *NONE)

    def greedy(self, order, max_colors, distance2=False):
        """Find a star coloring or an acyclic coloring.

        With `distance2` a vertex also avoids the colors around its neighbors without a color.
        """
        return self._color(
            self.starts, self.members, order, self._side, self._sides, max_colors, distance2
        )


def lists(A):
    """Return starts and members of the lists of a matrix, in the types of the kernels."""
    return A.indptr.astype(np.int64), A.indices.astype(np.int32)


def frequent_differences(starts, members, rows=1000, most=8, widest=32):
    """Return differences above one between members of a list that many of the lists have."""
    counts = np.diff(starts)
    sample = np.flatnonzero((counts > 1) & (counts <= widest))
    sample = sample[:: max(1, len(sample) // rows)]
    found = [np.subtract.outer(x, x) for x in (members[starts[r] : starts[r + 1]] for r in sample)]
    if not found:
        return []
    differences = np.concatenate([x.ravel() for x in found])
    values, times = np.unique(differences[differences > 1], return_counts=True)
    common = values[np.argsort(-times, kind="stable")][:most]
    return sorted(common[times[np.searchsorted(values, common)] > COMMON * len(sample)].tolist())


# ---- the graph of each structure ----


def columns_of(A, method):
    """Return the graph of the columns."""
    return Columns(A)


def rows_of(A, method):
    """Return the graph of the rows."""
    return Columns(A.T.tocsc())


def adjacency(A, method):
    """Return the graph of a symmetric pattern."""
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
    if method == "direct" and len(i) - int(off.sum()) < A.shape[0]:
        graph.lower_bound = min(1, graph.n)  # one column may find all its mirror images
    # Each product has n elements.
    graph.lower_bound = max(graph.lower_bound, -(-unknown // max(A.shape[0], 1)))
    return graph


def both_sides(A, method):
    """Return the graph of columns and rows."""
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
