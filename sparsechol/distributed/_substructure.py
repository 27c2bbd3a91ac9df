"""The inverse on the pattern of A, by subtrees: each rank eliminates rows that only it needs.

MUMPS computes entries of the inverse column by column (ICNTL(30)): the fewer, the better. For a
whole pattern that is n sweeps up and down the elimination tree, many times the factorization. Here
the tree is cut into subtrees, dealt out to the ranks, and the part G above all of them:

    A = [ D0        .  ]     D0, D1: subtrees of rank 0 and 1
        [     D1    .  ]
        [  .   .    G  ]

1. Rank i eliminates Di from its rows and the neighbors that they have in G; what that adds to
   those neighbors, a dense block, goes to all ranks.
2. Rank i adds the blocks of the others to Di and G. That is A with all other subtrees eliminated,
   so its inverse is the inverse of A there: the serial engine factors it and computes the entries
   on its pattern.

Entries of A and of the inverse travel between the rank that has them and the one whose subtrees
they belong to. G is worked on by every rank.
"""

import heapq
import warnings
from typing import Any

import numpy as np
from mpi4py import MPI
from scipy.linalg import LinAlgWarning

from .._core.parallel.threads import thread_count
from .._core.symbolic.patterns import lower_pattern
from .._scipy.symbolic_factor import analyze_pattern
from ._context import CHUNK, ROOT, broadcast, everywhere

# Subtrees for each rank beyond which the tree is not cut further.
MOST_SUBTREES = 32

# The work of a rank on its subtrees and on the part above, in factorizations (see above).
OWN_WORK, COMMON_WORK = 4, 3


class Substructure:
    """Divide rows and entries of the matrix among the ranks; collective.

    Parameters
    ----------
    comm : communicator
    pattern : (indptr, indices)
        The lower triangle of this rank's part of A.
    perm : (n,) ndarray
    tree : (parent, counts) in the order of `perm` on the root
    """

    def __init__(self, comm: MPI.Comm, pattern, perm: np.ndarray, tree: Any):
        self.comm = comm
        n = perm.size
        owner = np.empty(n, dtype=np.int32)
        if comm.rank == ROOT:
            owner[perm] = partition(tree[0], tree[1], comm.size)
        broadcast(comm, owner)
        place = np.empty(n, dtype=np.int64)
        place[perm] = np.arange(n)

        column = np.repeat(np.arange(n, dtype=np.int32), np.diff(pattern[0]))
        row = pattern[1]
        target = np.where(owner[row] >= 0, owner[row], owner[column])
        self.sent = [np.flatnonzero(target == rank) for rank in range(comm.size)]
        self.shared = np.flatnonzero(target < 0)  # entries of G, which go to all
        rows = exchange(comm, [row[k] for k in self.sent])
        columns = exchange(comm, [column[k] for k in self.sent])
        common_rows = exchange(comm, [row[self.shared]] * comm.size)
        common_columns = exchange(comm, [column[self.shared]] * comm.size)

        everything = np.concatenate(rows + columns)
        border = np.unique(everything[owner[everything] < 0])
        borders = gather_all(comm, border)
        own, above = np.flatnonzero(owner == comm.rank), np.flatnonzero(owner < 0)
        own, above = own[np.argsort(place[own])], above[np.argsort(place[above])]
        others = borders[: comm.rank] + borders[comm.rank + 1 :]
        self.others = [rank for rank in range(comm.size) if rank != comm.rank]

        def analyses():
            within = [
                np.flatnonzero(np.isin(r, border) & np.isin(c, border))
                for r, c in zip(common_rows, common_columns, strict=True)
            ]
            some_rows = [r[k] for r, k in zip(common_rows, within, strict=True)]
            some_columns = [c[k] for c, k in zip(common_columns, within, strict=True)]
            inner = Local(np.concatenate([own, border]), [border], rows, columns, some_rows,
                          some_columns)  # fmt: skip
            outer = Local(np.concatenate([own, above]), others, rows, columns, common_rows,
                          common_columns)  # fmt: skip
            return within, inner, outer

        self.within, self.inner, self.outer = everywhere(comm, analyses)

    def inverse(self, packed) -> np.ndarray:
        """Compute the entries of the inverse at this rank's packed values; collective."""
        comm = self.comm
        values = exchange(comm, [packed[k] for k in self.sent])
        common = exchange(comm, [packed[self.shared]] * comm.size)
        update = everywhere(comm, lambda: self._eliminated(values, common))
        matrix = self.outer.assembled(values, common)
        for rank, block in enumerate(gather_all(comm, update)):
            if rank != comm.rank:
                self.outer.add_clique(matrix, self.others.index(rank), block)
        inverse = everywhere(comm, lambda: self.outer.inverse(matrix))
        out = np.empty_like(packed)
        pieces = exchange(comm, [inverse[k] for k in self.outer.places])
        for k, piece in zip(self.sent, pieces, strict=True):
            out[k] = piece
        out[self.shared] = inverse[self.outer.common_places[comm.rank]]
        return out

    def _eliminated(self, values, common):
        """Return the update matrix of this rank's subtrees on their neighbors above."""
        if not self.inner.cliques[0].size:
            return np.empty(0, dtype=values[0].dtype)
        common = [v[k] for v, k in zip(common, self.within, strict=True)]
        return self.inner.schur_update(self.inner.assembled(values, common))


class Local:
    """Hold some rows and columns of A as a matrix of its own for the serial engine.

    Its rows are in the order of A, so that lower triangles remain lower triangles. `cliques` are
    sets of rows whose dense blocks belong to the pattern.
    """

    def __init__(self, members, cliques, rows, columns, common_rows, common_columns):
        self.threads = thread_count()
        numbers = np.sort(members)
        order = np.searchsorted(numbers, members)
        entries = [
            [np.searchsorted(numbers, k) for k in part]
            for part in (rows, columns, common_rows, common_columns)
        ]
        self.cliques = [np.searchsorted(numbers, clique) for clique in cliques]
        pairs = [lower_pairs(clique) for clique in self.cliques]
        row = np.concatenate(entries[0] + entries[2] + [r for r, _ in pairs])
        column = np.concatenate(entries[1] + entries[3] + [c for _, c in pairs])
        del pairs
        arrays = by_column(row, column, numbers.size)
        self.pattern = analyze_pattern(*arrays, order, True, self.threads)
        self.places = self._places(*entries[:2])
        self.common_places = self._places(*entries[2:])

    def _places(self, rows, columns):
        """Return the packed positions of entries, for each rank that sends them."""
        indptr, indices = self.pattern.indptr, self.pattern.indices
        n = indptr.size - 1
        keys = np.repeat(np.arange(n), np.diff(indptr)) * n + indices
        return [np.searchsorted(keys, c * n + r) for r, c in zip(rows, columns, strict=True)]

    def assembled(self, values, common):
        """Return packed values: the sum of the values from all ranks."""
        packed = np.zeros(self.pattern.indices.size, dtype=values[0].dtype)
        for places, parts in ((self.places, values), (self.common_places, common)):
            for k, part in zip(places, parts, strict=True):
                packed[k] += part
        return packed

    def _clique_columns(self, which):
        """Yield the packed positions of each column of a clique's lower triangle."""
        indptr, indices = self.pattern.indptr, self.pattern.indices
        clique = self.cliques[which]
        for k, column in enumerate(clique):
            begin, end = indptr[column], indptr[column + 1]
            yield begin + np.searchsorted(indices[begin:end], clique[k:])

    def add_clique(self, packed, which, block) -> None:
        """Add the lower triangle of a dense block, by column, to packed values."""
        begin = 0
        for places in self._clique_columns(which):
            packed[places] += block[begin : begin + places.size]
            begin += places.size

    def factor(self, packed):
        """Factor packed values."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)  # MUMPS's factor has been checked
            return self.pattern.factorize(packed, threads=self.threads)

    def inverse(self, packed):
        """Compute the entries of the inverse as packed values."""
        F = self.factor(packed)
        return F._on_pattern(F._inverse(self.threads))[0]

    def schur_update(self, packed):
        """Return what eliminating all other rows adds to the clique, which is ordered last.

        The factor L of the clique's block C has L L^H = C + update.
        """
        F = self.factor(packed)
        on_pattern = F._on_pattern(F._valid_panels)[0]
        m = self.cliques[0].size
        L = np.zeros((m, m), dtype=packed.dtype)
        for k, places in enumerate(self._clique_columns(0)):
            L[k:, k] = on_pattern[places]
        product = L @ L.conj().T
        columns = [
            product[k:, k] - packed[places] for k, places in enumerate(self._clique_columns(0))
        ]
        return np.concatenate(columns)


def lower_pairs(clique):
    """Return rows and columns of the lower triangle of a dense block."""
    m = clique.size
    column = np.repeat(np.arange(m), np.arange(m, 0, -1))
    starts = np.concatenate([[0], np.cumsum(np.arange(m, 0, -1))])[:-1]
    row = np.arange(column.size) - starts[column] + column
    return clique[row], clique[column]


def by_column(row, column, n):
    """Return the lower pattern by column of entries in any order."""
    order = np.argsort(column, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=n))])
    return lower_pattern(starts.astype(np.int64), row[order].astype(np.int32), True)


def exchange(comm: MPI.Comm, pieces: list[np.ndarray]) -> list[np.ndarray]:
    """Send an array to each rank, and return the arrays from all ranks; collective."""
    sizes = comm.alltoall([piece.size for piece in pieces])
    arrays = [np.empty(size, dtype=pieces[0].dtype) for size in sizes]
    requests = [comm.Irecv(part, rank) for rank, part in messages(arrays)]
    requests += [comm.Isend(part, rank) for rank, part in messages(pieces)]
    MPI.Request.Waitall(requests)
    return arrays


def messages(arrays):
    """Yield the rank, and the part of its array, of each message."""
    for rank, array in enumerate(arrays):
        for i in range(0, array.size, CHUNK):
            yield rank, array[i : i + CHUNK]


def gather_all(comm: MPI.Comm, array: np.ndarray) -> list[np.ndarray]:
    """Return the arrays of all ranks on every rank; collective."""
    return exchange(comm, [array] * comm.size)


def partition(parent, counts, ranks):
    """Deal the subtrees of an elimination forest out to ranks.

    The heaviest subtree loses its root again and again. Each step gives a set of subtrees; the set
    with the least work for the busiest rank is taken.

    Parameters
    ----------
    parent, counts : (n,) ndarray
        Forest in postorder, -1 above its roots; entries in the columns of L.

    Returns
    -------
    (n,) int32 ndarray
        The rank of each node; -1 for a node above all subtrees.
    """
    n = parent.size
    owner = np.zeros(n, dtype=np.int32)
    if ranks == 1:
        return owner
    work, size, children = subtrees(parent, counts)
    heap = [(-work[v], v) for v in range(n) if parent[v] < 0]
    heapq.heapify(heap)
    above, cost, best, cut = [], 0.0, np.inf, None
    counted = -1
    while heap:
        if len(heap) != counted:
            counted = len(heap)
            trees = sorted(heap)
            dealt = deal([-w for w, _ in trees], ranks)
            busiest = OWN_WORK * max(dealt[1]) + COMMON_WORK * cost
            if busiest < best:
                best, cut = busiest, (trees, dealt[0], len(above))
        if counted > MOST_SUBTREES * ranks or COMMON_WORK * cost > best:
            break
        _, v = heapq.heappop(heap)
        above.append(v)
        cost += float(counts[v]) ** 2
        for child in children[v]:
            heapq.heappush(heap, (-work[child], child))
    if cut is None:
        return owner
    trees, ranks_of, length = cut
    for (_, v), rank in zip(trees, ranks_of, strict=True):
        owner[v - size[v] + 1 : v + 1] = rank
    owner[above[:length]] = -1
    return owner


def subtrees(parent, counts):
    """Return work and size of each subtree of a forest in postorder, and each node's children."""
    work = (counts.astype(np.float64) ** 2).tolist()
    size = [1] * len(work)
    children: list[list[int]] = [[] for _ in work]
    for v, p in enumerate(parent.tolist()):
        if p >= 0:
            work[p] += work[v]
            size[p] += size[v]
            children[p].append(v)
    return work, size, children


def deal(works, ranks):
    """Deal works, heaviest first, to ranks; return the rank of each and the load of each rank."""
    loads = [(0.0, rank) for rank in range(ranks)]
    chosen = []
    for work in works:
        load, rank = loads[0]
        heapq.heapreplace(loads, (load + work, rank))
        chosen.append(rank)
    return chosen, [load for load, _ in loads]
