"""Coarsening: vertices joined in pairs, so that a smaller graph keeps the shape of a large one.

Each vertex takes the free neighbor with the heaviest edge. If too many vertices stay alone, as the
leaves of a star do, two of them with the same heaviest neighbor are joined: they are two steps
apart.

References
----------
Karypis, G., Kumar, V. (1998). A fast and high quality multilevel scheme for partitioning
    irregular graphs. SIAM J. Sci. Comput. 20(1), 359-392.
LaSalle, D., et al. (2015). Improving graph partitioning for modern graphs and architectures.
    IA3 '15. (Pairs two steps apart.)
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, realloc

from sparsechol._core.ordering.graph cimport Graph, allocate, random_number, release, room


cdef enum:
    FREE = -1
    HEAVIEST_EDGE = (1 << 30) - 1       # the sum of two is a 32-bit number
    WINDOW = 1024           # vertices that lie side by side and choose in random order
    TWO_STEPS = 8           # pairs two steps apart where one vertex in so many stays alone


cdef int32_t match(const Graph *g, int64_t heaviest, uint64_t *state, int32_t *mate,
                   int32_t *wait) noexcept nogil:
    """Write to `mate` the partner of each vertex, or the vertex itself; return the number of pairs.

    A vertex alone counts as a pair. No pair weighs more than `heaviest`. `wait` is workspace for n
    vertices. The vertices choose in random order within windows, so that pairs do not line up, and
    neighbors lie near in memory.
    """
    cdef int32_t v, u, best, alone = 0, count = 0
    cdef int64_t k, window = 1
    cdef int64_t step = (random_number(state) & (WINDOW - 1)) | 1
    while window < WINDOW and window < g.n:
        window *= 2
    for v in range(g.n):
        mate[v] = FREE
    for k in range((g.n + window - 1) // window * window):
        u = <int32_t>(k & (window - 1))
        v = <int32_t>(k - u + ((u * step) & (window - 1)))
        if v >= g.n or mate[v] != FREE:
            continue
        best = partner(g, v, heaviest, mate, random_number(state) & 1)
        if best == FREE:
            alone += 1
        else:
            mate[v] = best
            mate[best] = v
    if alone > g.n // TWO_STEPS:
        match_two_steps(g, heaviest, mate, wait)
    for v in range(g.n):
        u = mate[v]
        if u == FREE:
            mate[v] = v
        count += u == FREE or u > v
    return count


cdef inline int32_t partner(const Graph *g, int32_t v, int64_t heaviest, const int32_t *mate,
                            bint last) noexcept nogil:
    """Return the free neighbor with the heaviest edge; of equal ones the lightest."""
    cdef int32_t u, edge, best = FREE, best_edge = 0, best_weight = 0
    cdef int64_t p, most = heaviest - g.weight[v]
    for p in range(g.start[v], g.start[v + 1]):
        u = g.adjacent[p]
        if mate[u] != FREE or g.weight[u] > most:
            continue
        edge = 1 if g.edge == NULL else g.edge[p]
        if (best == FREE or edge > best_edge
                or (edge == best_edge and g.weight[u] < best_weight + last)):
            best = u
            best_edge = edge
            best_weight = g.weight[u]
    return best


cdef void match_two_steps(const Graph *g, int64_t heaviest, int32_t *mate,
                          int32_t *wait) noexcept nogil:
    """Join free vertices with the same heaviest neighbor, and vertices without neighbors."""
    cdef int32_t v, u, hub, edge, best_edge, lonely = FREE
    cdef int64_t p
    for v in range(g.n):
        wait[v] = FREE
    for v in range(g.n):
        if mate[v] != FREE:
            continue
        hub = FREE
        best_edge = 0
        for p in range(g.start[v], g.start[v + 1]):
            edge = 1 if g.edge == NULL else g.edge[p]
            if edge > best_edge:
                best_edge = edge
                hub = g.adjacent[p]
        u = lonely if hub == FREE else wait[hub]
        if u != FREE and <int64_t>g.weight[u] + g.weight[v] <= heaviest:
            mate[v] = u
            mate[u] = v
            u = FREE
        else:
            u = v
        if hub == FREE:
            lonely = u
        else:
            wait[hub] = u


cdef bint contract(const Graph *g, const int32_t *mate, int32_t count, int32_t *coarse,
                   Graph *into) noexcept nogil:
    """Make the graph whose `count` vertices are the pairs; return False if memory is short.

    `coarse` is written: the pair of each vertex.
    """
    cdef int32_t v, u, c, k, _, edge
    cdef int64_t p, q = 0, begin
    cdef int32_t *place
    cdef int64_t at
    cdef void *shorter
    if not allocate(into, count, g.start[g.n], True):
        release(into)
        return False
    place = <int32_t *>room(count, sizeof(int32_t))     # of each neighbor in the list
    if place == NULL:
        release(into)
        return False
    c = 0
    for v in range(g.n):
        if mate[v] >= v:
            coarse[v] = c
            coarse[mate[v]] = c
            place[c] = 0
            c += 1
    into.total = g.total
    c = 0
    for v in range(g.n):
        if mate[v] < v:
            continue
        begin = q
        into.start[c] = q
        into.weight[c] = g.weight[v] + (g.weight[mate[v]] if mate[v] != v else 0)
        u = v
        for _ in range(2):
            for p in range(g.start[u], g.start[u + 1]):
                k = coarse[g.adjacent[p]]
                if k == c:
                    continue
                at = begin + place[k]
                edge = 1 if g.edge == NULL else g.edge[p]
                if at < q and into.adjacent[at] == k:
                    into.edge[at] = min(into.edge[at] + edge, <int32_t>HEAVIEST_EDGE)
                else:
                    place[k] = <int32_t>(q - begin)
                    into.adjacent[q] = k
                    into.edge[q] = edge
                    q += 1
            if mate[v] == v:
                break
            u = mate[v]
        c += 1
    into.start[count] = q
    free(place)
    shorter = realloc(into.adjacent, <size_t>max(q, 1) * sizeof(int32_t))
    if shorter != NULL:
        into.adjacent = <int32_t *>shorter
    shorter = realloc(into.edge, <size_t>max(q, 1) * sizeof(int32_t))
    if shorter != NULL:
        into.edge = <int32_t *>shorter
    return True
