"""The two graphs of a pattern that are colored, and the candidates for a coloring of each."""

from functools import cached_property
from itertools import islice, product

import numpy as np

from . import _distance2 as greedy
from . import _orders as orders
from . import _star as symmetric

NONE = np.empty(0, np.int64), np.empty(0, np.int32)
DYNAMIC = {
    "smallest_last": orders.SMALLEST_LAST,
    "incidence_degree": orders.INCIDENCE_DEGREE,
    "dynamic_largest_first": orders.DYNAMIC_LARGEST_FIRST,
    "perfect_elimination": orders.INCIDENCE_DEGREE,
}
ORDERS = ("natural", "largest_first", *DYNAMIC, "random")
MOST_OF_LATTICE = 40  # colors of a grid
MOST_TESTS = 30_000  # of lattices, a few microseconds each
COMMON = 0.6  # differences in this part of the rows are those of a grid


class Graph:
    """Vertices to be colored one after the other.

    Attributes
    ----------
    n : number of vertices.
    lower_bound : no valid coloring has fewer colors.
    """

    def arrays(self):
        """Lists of neighbors, and lists back for neighbors at distance two, or none."""
        raise NotImplementedError

    def colored(self, order, most):
        """Colors given in an order; None if more than `most` are needed."""
        raise NotImplementedError

    @cached_property
    def degrees(self):
        return orders.degrees(*self.arrays())

    def order(self, name, rng):
        """Vertices in the order of that name."""
        if name == "natural":
            return np.arange(self.n, dtype=np.int32)
        if name == "random":
            return rng.permutation(self.n).astype(np.int32)
        if name == "largest_first":
            return np.argsort(-self.degrees, kind="stable").astype(np.int32)
        return orders.dynamic(*self.arrays(), self.degrees, DYNAMIC[name])


class Columns(Graph):
    """Columns of a matrix, of which two are in conflict if they share a row.

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
        return self._arrays

    def colored(self, order, most):
        return greedy.color(*self._arrays, order, most)

    def lattice(self, most):
        """Colors ``l + t (l // N) + u (l // M)`` modulo k: right for the stencils of grids.

        N and M are differences that the columns of many rows have.
        """
        starts, members = self._arrays[2:]
        periods = frequent_differences(starts, members)
        pairs = [(N, M) for q, N in enumerate(periods) for M in periods[q:]]
        moduli = range(max(self.lower_bound, 1), min(most, MOST_OF_LATTICE) + 1)
        tests = (
            (k, N, t, M, u)
            for k in moduli
            for (N, M), t in product(pairs, range(k))
            for u in (range(1) if N == M else range(1, k))
        )
        for k, N, t, M, u in islice(tests, MOST_TESTS):
            if greedy.lattice(starts, members, k, N, t, M, u):
                column = np.arange(self.n)
                return ((column + t * (column // N) + u * (column // M)) % k).astype(np.int32)
        return None


class Vertices(Graph):
    """Vertices of a graph without loops, to be star colored or colored without cycles.

    Parameters
    ----------
    A : csc_array, symmetric
    side : (n,) ndarray of int8, optional
        0 or 1: each side has colors of its own.
    """

    def __init__(self, A, method, side=None):
        self.n = A.shape[0]
        self.starts, self.members = lists(A)
        self._side = np.zeros(self.n, np.int8) if side is None else side
        self._sides = 1 if side is None else 2
        self._color = symmetric.star if method == "direct" else symmetric.acyclic
        self.lower_bound = min(2, self.n) if len(self.members) else min(1, self.n)

    def arrays(self):
        return (self.starts, self.members, *NONE)

    def colored(self, order, most, wide=False):
        return self._color(self.starts, self.members, order, self._side, self._sides, most, wide)


def lists(A):
    """Starts and members, in the types of the kernels."""
    return A.indptr.astype(np.int64), A.indices.astype(np.int32)


def frequent_differences(starts, members, rows=1000, most=8, widest=32):
    """Differences above one between members of a list, in a sample of the lists."""
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
