"""The graph of a symmetric pattern: rows with equal neighbors are one vertex, dense rows are out.

Two rows are twins if they are neighbors and have the same other neighbors, as the unknowns at
one node of a mesh have. The elimination of one twin causes no fill in the other, so that twins may
stand side by side in any good ordering. A row with very many neighbors comes last in any ordering.

References
----------
Ashcraft, C. (1995). Compressed graphs and the minimum degree algorithm. SIAM J. Sci. Comput.
    16(6), 1404-1411.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free
from libc.string cimport memset

import numpy as np

from sparsechol._core.ordering.graph cimport Graph, allocate, release, room
from sparsechol._core.symbolic.etree cimport tree_of_graph

from sparsechol._core.symbolic.etree import columns_of


cdef enum:
    DENSE = -1              # in place of a vertex


cdef class Compressed:
    """The graph of a lower pattern by column, sorted, with the diagonal.

    Rows with more than ``max(16, 10 sqrt(n))`` neighbors are left out, as in AMD (Amestoy, Davis,
    Duff 2004).
    """

    def __cinit__(self):
        memset(&self.graph, 0, sizeof(Graph))

    def __init__(self, const int64_t[::1] indptr, const int32_t[::1] indices):
        cdef Py_ssize_t n = indptr.shape[0] - 1
        cdef Graph whole
        cdef bint well
        if self.graph.start != NULL:
            raise ValueError("a graph belongs to one pattern")
        group = np.empty(n, dtype=np.int32)
        self.group = group
        if n == 0:
            return
        with nogil:
            well = mirror(indptr, indices, &whole) and compress(
                &whole, &self.group[0], &self.graph)
            release(&whole)
        if not well:
            raise MemoryError("no memory for the graph of the pattern")

    def __dealloc__(self):
        release(&self.graph)

    @property
    def vertices(self) -> int:
        """Number of vertices; dense rows are in none."""
        return self.graph.n

    @property
    def entries(self) -> int:
        """Number of neighbors of all vertices together."""
        return self.graph.start[self.graph.n] if self.graph.start != NULL else 0

    @property
    def complete(self) -> bool:
        """Whether every row is in a vertex."""
        return self.graph.total == self.group.shape[0]

    def tree(self, const int32_t[::1] perm):
        """Return what `symbolic.analysis.elimination` returns, in the time of the smaller graph.

        The graph must be complete. In `perm` the rows of each vertex must follow one another.

        Returns
        -------
        perm, parent, counts : rows in postorder, and parents and counts of the columns of L.
        """
        cdef int32_t n = self.graph.n
        cdef int64_t entries = self.entries
        cdef int32_t k, v = -1, size = 0
        cdef bint well = self.complete and perm.shape[0] == self.group.shape[0]
        if not well:
            raise ValueError("an order of all rows of a complete graph is needed")
        if n == 0:
            return tuple(np.empty(0, dtype=kind) for kind in (np.int32, np.int32, np.int64))
        order_array = np.empty(n, dtype=np.int32)
        cdef int32_t[::1] order = order_array
        with nogil:
            for k in range(perm.shape[0]):
                well = well and 0 <= perm[k] < perm.shape[0]
                if well and self.group[perm[k]] != v:
                    v = self.group[perm[k]]
                    well = size < n
                    if well:
                        order[size] = v
                        size += 1
        if not well or size < n:
            raise ValueError("the rows of a vertex must follow one another")
        post, parent, count, weight = tree_of_graph(
            n, self.graph.start, self.graph.adjacent, entries, self.graph.weight, &order[0])
        if n == perm.shape[0]:
            return order_array[post], parent, count
        rows_array = np.empty(perm.shape[0], dtype=np.int32)
        cdef int32_t[::1] rows = rows_array
        cdef int32_t[::1] place = np.empty(n, dtype=np.int32)
        order = order_array[post]
        with nogil:
            self.expand(&order[0], &place[0], &rows[0])
        return rows_array, *columns_of(parent, count, weight, perm.shape[0])

    cdef int64_t expand(self, const int32_t *order, int32_t *start, int32_t *perm) noexcept nogil:
        """Write the rows in the order of their vertices, dense rows last; return their number.

        The number does not count dense rows. `start` is workspace, (vertices).
        """
        cdef int64_t v, place = 0, dense
        cdef int32_t k
        for v in range(self.graph.n):
            start[order[v]] = <int32_t>place
            place += self.graph.weight[order[v]]
        dense = place
        for v in range(self.group.shape[0]):
            k = self.group[v]
            if k == DENSE:
                perm[dense] = <int32_t>v
                dense += 1
            else:
                perm[start[k]] = <int32_t>v
                start[k] += 1
        return place


cdef bint mirror(const int64_t[::1] indptr, const int32_t[::1] indices,
                 Graph *into) noexcept nogil:
    """Write both triangles of a lower pattern, without the diagonal.

    Return False if memory is short.
    """
    cdef int32_t n = <int32_t>(indptr.shape[0] - 1)
    cdef int32_t i, j
    cdef int64_t p, total = 0, length
    cdef int64_t *head
    if not allocate(into, n, 2 * (indptr[n] - n), False):
        return False
    # Each head is the place in its list that is filled next; at last it is the end of the list.
    head = into.start + 1
    memset(into.start, 0, (<size_t>n + 1) * sizeof(int64_t))
    for j in range(n):
        head[j] += indptr[j + 1] - indptr[j] - 1
        for p in range(indptr[j] + 1, indptr[j + 1]):
            head[indices[p]] += 1
    for j in range(n):
        length = head[j]
        head[j] = total
        total += length
    # The entries of list j above the diagonal came from the columns before j.
    for j in range(n):
        for p in range(indptr[j] + 1, indptr[j + 1]):
            i = indices[p]
            into.adjacent[head[j]] = i
            head[j] += 1
            into.adjacent[head[i]] = j
            head[i] += 1
        into.weight[j] = 1
    into.total = n
    return True


cdef inline bint twins(const Graph *g, int32_t u, int32_t v) noexcept nogil:
    """Return whether two neighboring rows have the same other neighbors."""
    cdef int64_t p = g.start[u], q = g.start[v]
    cdef int64_t end = g.start[u + 1], last = g.start[v + 1]
    if end - p != last - q:
        return False
    while True:
        if p < end and g.adjacent[p] == v:
            p += 1
        if q < last and g.adjacent[q] == u:
            q += 1
        if p == end or q == last:
            return p == end and q == last
        if g.adjacent[p] != g.adjacent[q]:
            return False
        p += 1
        q += 1


cdef bint find_twins(const Graph *g, int32_t *twin) noexcept nogil:
    """Write to `twin` the first row with the same neighbors; a DENSE row stays DENSE.

    Two neighbors are compared only if the numbers of their neighbors, themselves included, have
    equal sums. Return False if memory is short.
    """
    cdef int64_t p, total
    cdef int32_t u, v
    cdef int64_t *sums = <int64_t *>room(g.n, sizeof(int64_t))
    if sums == NULL:
        return False
    for v in range(g.n):
        sums[v] = -1
        if twin[v] == DENSE:
            continue
        total = v
        for p in range(g.start[v], g.start[v + 1]):
            total += g.adjacent[p]
        sums[v] = total
        for p in range(g.start[v], g.start[v + 1]):
            u = g.adjacent[p]
            if u >= v:
                break
            if sums[u] == total and twins(g, u, v):
                twin[v] = twin[u]
                break
    free(sums)
    return True


cdef bint compress(Graph *whole, int32_t *group, Graph *into) noexcept nogil:
    """Make the graph whose vertices are sets of twins; write the vertex of each row to `group`.

    A graph without twins and dense rows moves as it is. Return False if memory is short.
    """
    cdef int32_t v, u, n = whole.n, count = 0
    cdef int64_t p, q = 0
    cdef double dense = max(16.0, 10.0 * sqrt(<double>n))
    cdef int32_t *twin = <int32_t *>room(n, sizeof(int32_t))
    if twin == NULL:
        return False
    for v in range(n):
        twin[v] = DENSE if whole.start[v + 1] - whole.start[v] > dense else v
    if not find_twins(whole, twin):
        free(twin)
        return False
    for v in range(n):
        if twin[v] == v:
            group[v] = count
            count += 1
    if count == n:
        into[0] = whole[0]
        memset(whole, 0, sizeof(Graph))
        free(twin)
        return True
    for v in range(n):
        if twin[v] == v:
            for p in range(whole.start[v], whole.start[v + 1]):
                u = whole.adjacent[p]
                q += twin[u] == u
    if not allocate(into, count, q, False):
        free(twin)
        return False
    memset(into.weight, 0, <size_t>count * sizeof(int32_t))
    q = 0
    for v in range(n):
        if twin[v] == DENSE:
            group[v] = DENSE
            continue
        group[v] = group[twin[v]]
        into.weight[group[v]] += 1
        into.total += 1
        if twin[v] != v:
            continue
        into.start[group[v]] = q
        for p in range(whole.start[v], whole.start[v + 1]):
            u = whole.adjacent[p]
            if twin[u] == u:
                into.adjacent[q] = group[u]
                q += 1
    into.start[count] = q
    free(twin)
    return True
