"""Vertex separators: few vertices that cut a graph into two sides of about the same weight.

    side 0  |  separator  |  side 1           no edge joins the two sides

The graph is coarsened until few vertices are left. There one side is grown from a single vertex;
the separator is then carried back level by level and improved at each. Growing and improving take
the same step, that of Fiduccia and Mattheyses for separators: a vertex of the separator moves to
one side, and its neighbors on the other side take its place.

    gain of moving v to side 0  =  weight of v  -  weight of its neighbors on side 1

References
----------
Fiduccia, C. M., Mattheyses, R. M. (1982). A linear-time heuristic for improving network
    partitions. 19th Design Automation Conference, 175-181.
Ashcraft, C., Liu, J. W. H. (1997). Using domain decomposition to find graph bisectors.
    BIT 37(3), 506-534. (Separators that trade places with their neighbors.)
Karypis, G., Kumar, V. (1998). A fast and high quality multilevel scheme for partitioning
    irregular graphs. SIAM J. Sci. Comput. 20(1), 359-392.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from sparsechol._core.ordering.coarsen cimport contract, match
from sparsechol._core.ordering.graph cimport Graph, random_number, release, room
from sparsechol._core.parallel.pool cimport pool_stopped


cdef enum:
    COARSEST = 100          # a graph of so many vertices is not coarsened any more
    SEVERAL = 3000          # above so many vertices several coarsest graphs are tried,
    MIDDLE = 200            # from a graph of so many vertices,
    MIDDLE_PART = 30        # or of this part of the vertices
    WAYS = 5                # coarsest graphs that are tried
    GROWTHS = 4             # random vertices from which a side is grown
    SWEEPS = 16             # sweeps through a separator at each level, if they all help
    PATIENCE = 200          # moves without gain before a sweep is given up
    LEVELS = 64

# A side weighs at most this part of the graph.
cdef double HEAVIEST_SIDE = 0.7
# A pair of vertices weighs at most this part of the graph.
cdef double HEAVIEST_PAIR = 1 / 30.0
# Weight of an empty separator, so that two of them are compared by their sides.
cdef double NOTHING = 0.01


# ---- Gains and their heap ----


cdef inline void rise(Split *s, int32_t v) noexcept nogil:
    """Move v up the heap to its place."""
    cdef int32_t *heap = s.heap
    cdef int32_t *place = s.place
    cdef const int64_t *gains = s.gain
    cdef int32_t at = place[v] - 1, above
    cdef int64_t gain = gains[v]
    while at > 0:
        above = (at - 1) >> 1
        if gains[heap[above]] >= gain:
            break
        heap[at] = heap[above]
        place[heap[at]] = at + 1
        at = above
    heap[at] = v
    place[v] = at + 1


cdef inline void sink(Split *s, int32_t v) noexcept nogil:
    """Move v down the heap to its place."""
    cdef int32_t *heap = s.heap
    cdef int32_t *place = s.place
    cdef const int64_t *gains = s.gain
    cdef int32_t at = place[v] - 1, below, size = s.size
    cdef int64_t gain = gains[v]
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and gains[heap[below + 1]] > gains[heap[below]]:
            below += 1
        if gains[heap[below]] <= gain:
            break
        heap[at] = heap[below]
        place[heap[at]] = at + 1
        at = below
    heap[at] = v
    place[v] = at + 1


cdef inline void push(Split *s, int32_t v) noexcept nogil:
    s.heap[s.size] = v
    s.size += 1
    s.place[v] = s.size
    rise(s, v)


cdef inline void take_out(Split *s, int32_t v) noexcept nogil:
    """Remove v from the heap."""
    cdef int32_t at = s.place[v] - 1, last
    s.place[v] = 0
    s.size -= 1
    if at == s.size:
        return
    last = s.heap[s.size]
    s.heap[at] = last
    s.place[last] = at + 1
    rise(s, last)
    sink(s, last)


# ---- Moves ----


cdef inline void change(Split *s, int32_t v, int8_t to) noexcept nogil:
    """Change the side of v, and note its old side."""
    cdef int32_t weight = s.graph.weight[v]
    s.moved[s.changes] = v
    s.came_from[s.changes] = s.side[v]
    s.changes += 1
    s.weight[s.side[v]] -= weight
    s.weight[to] += weight
    s.side[v] = to


cdef inline void line_up(Split *s, int32_t v) noexcept nogil:
    """Put a vertex of the separator into the heap."""
    cdef const int32_t *adjacent = s.graph.adjacent
    cdef const int32_t *weight = s.graph.weight
    cdef const int8_t *side = s.side
    cdef int8_t other = 1 - s.to
    cdef int64_t p, gain = weight[v]
    for p in range(s.graph.start[v], s.graph.start[v + 1]):
        if side[adjacent[p]] == other:
            gain -= weight[adjacent[p]]
    s.gain[v] = gain
    push(s, v)


cdef inline void pull(Split *s, int32_t v) noexcept nogil:
    """Move a vertex of the shrinking side into the separator."""
    cdef const int32_t *adjacent = s.graph.adjacent
    cdef const int32_t *weight = s.graph.weight
    cdef const int8_t *side = s.side
    cdef int8_t other = 1 - s.to
    cdef int64_t p, gain = weight[v]
    cdef int32_t u, mine = weight[v]
    change(s, v, SEPARATOR)
    if not s.listed[v]:
        s.listed[v] = 1
        s.members[s.count] = v
        s.count += 1
    for p in range(s.graph.start[v], s.graph.start[v + 1]):
        u = adjacent[p]
        if side[u] == other:
            gain -= weight[u]
        elif side[u] == SEPARATOR:
            s.gain[u] += mine
            rise(s, u)
    s.gain[v] = gain
    push(s, v)


cdef void move(Split *s, int32_t v) noexcept nogil:
    """Move a vertex of the separator to a side; its neighbors on the other take its place."""
    cdef const int32_t *adjacent = s.graph.adjacent
    cdef int64_t p, end = s.graph.start[v + 1]
    cdef int8_t other = 1 - s.to
    take_out(s, v)
    change(s, v, s.to)
    for p in range(s.graph.start[v], end):
        if s.side[adjacent[p]] == other:
            pull(s, adjacent[p])


cdef void take_back(Split *s, int64_t until) noexcept nogil:
    """Undo all changes of sides but the first `until`."""
    cdef int32_t v, weight
    while s.changes > until:
        s.changes -= 1
        v = s.moved[s.changes]
        weight = s.graph.weight[v]
        s.weight[s.side[v]] -= weight
        s.side[v] = s.came_from[s.changes]
        s.weight[s.side[v]] += weight


cdef void settle(Split *s) noexcept nogil:
    """Empty the heap, and list only the vertices of the separator."""
    cdef int32_t k, v, count = 0
    for k in range(s.size):
        s.place[s.heap[k]] = 0
    s.size = 0
    for k in range(s.count):
        v = s.members[k]
        if s.side[v] == SEPARATOR:
            s.members[count] = v
            count += 1
        else:
            s.listed[v] = 0
    s.count = count
    s.changes = 0


cdef void look(Split *s) noexcept nogil:
    """List the separator and sum the weights, from the sides of all vertices."""
    cdef int32_t v
    s.weight[0] = s.weight[1] = s.weight[2] = 0
    s.count = 0
    for v in range(s.graph.n):
        s.weight[s.side[v]] += s.graph.weight[v]
        if s.side[v] == SEPARATOR:
            s.members[s.count] = v
            s.count += 1
            s.listed[v] = 1


cdef void forget(Split *s) noexcept nogil:
    """Clear the marks of the members, for the next graph."""
    cdef int32_t k
    for k in range(s.count):
        s.listed[s.members[k]] = 0
    s.count = 0


# ---- Growing and improving ----


cdef inline bint better(const int64_t *one, const int64_t *other, int64_t most) noexcept nogil:
    """Return whether the first of two separators is better: allowed, and of the smaller measure.

    The measure is separator / (side 0 * side 1)^(3/2), so that a separator in the middle may be
    heavier.
    """
    cdef int64_t side = max(one[0], one[1]), other_side = max(other[0], other[1])
    if side > most or other_side > most:
        return side < other_side
    return (square(one[2] + NOTHING) * cube(<double>other[0] * other[1])
            < square(other[2] + NOTHING) * cube(<double>one[0] * one[1]))


cdef inline double square(double x) noexcept nogil:
    return x * x


cdef inline double cube(double x) noexcept nogil:
    return x * x * x


cdef bint sweep(Split *s, int to) noexcept nogil:
    """Move vertices to one side while that helps; keep the best, return whether it is better."""
    cdef int64_t best[3]
    cdef int64_t at = 0
    cdef int32_t k, v, idle = 0, patience = min(<int32_t>PATIENCE, s.count)
    s.to = to
    for k in range(s.count):
        line_up(s, s.members[k])
    memcpy(best, s.weight, 3 * sizeof(int64_t))
    while idle < patience and s.size:
        v = s.heap[0]
        if s.weight[to] + s.graph.weight[v] > s.most:
            break
        move(s, v)
        idle += 1
        if better(s.weight, best, s.most):
            memcpy(best, s.weight, 3 * sizeof(int64_t))
            at = s.changes
            idle = 0
    take_back(s, at)
    settle(s)
    return at > 0


cdef void improve(Split *s) noexcept nogil:
    """Move the separator towards one side, then the other, until neither helps."""
    cdef int _, failures = 0
    cdef int to = 1 if s.weight[0] < s.weight[1] else 0
    for _ in range(SWEEPS):
        failures = 0 if sweep(s, to) else failures + 1
        if failures == 2:
            break
        to = 1 - to


cdef void grow(Split *s, int32_t seed, bint in_layers) noexcept nogil:
    """Grow side 0 from a single vertex as long as it may grow; keep the best separator.

    The next vertex is the one with the greatest gain or, in layers, the one that has been in the
    separator longest.
    """
    cdef int64_t best[3]
    cdef int64_t at = 0
    cdef int32_t v, rest = 0, head = 0
    memset(s.side, 1, s.graph.n)
    s.weight[0] = s.weight[2] = 0
    s.weight[1] = s.graph.total
    s.to = 0
    pull(s, seed)
    memcpy(best, s.weight, 3 * sizeof(int64_t))
    while s.weight[0] <= s.most and s.weight[1] > 0:
        if s.size == 0:
            while s.side[rest] != 1:
                rest += 1
            pull(s, rest)
        v = s.heap[0]
        if in_layers:
            while s.side[s.members[head]] != SEPARATOR:
                head += 1
            v = s.members[head]
        move(s, v)
        if better(s.weight, best, s.most):
            memcpy(best, s.weight, 3 * sizeof(int64_t))
            at = s.changes
    take_back(s, at)
    settle(s)


# ---- Levels ----


cdef bint open_split(Split *s, int32_t n) noexcept nogil:
    """Allocate workspace for graphs of up to n vertices; return False if memory is short.

    `close_split` frees it in either case.
    """
    memset(s, 0, sizeof(Split))
    s.gain = <int64_t *>room(n, sizeof(int64_t))
    s.heap = <int32_t *>room(n, sizeof(int32_t))
    s.members = <int32_t *>room(n, sizeof(int32_t))
    s.moved = <int32_t *>room(2 * <int64_t>n + 2, sizeof(int32_t))
    s.came_from = <int8_t *>room(2 * <int64_t>n + 2, 1)
    s.mate = <int32_t *>room(n, sizeof(int32_t))
    s.wait = <int32_t *>room(n, sizeof(int32_t))
    s.trial = <int8_t *>room(n, 1)
    s.place = <int32_t *>calloc(<size_t>n + 1, sizeof(int32_t))
    s.listed = <uint8_t *>calloc(<size_t>n + 1, 1)
    return (s.gain != NULL and s.heap != NULL and s.members != NULL and s.moved != NULL
            and s.came_from != NULL and s.mate != NULL and s.wait != NULL and s.trial != NULL
            and s.place != NULL and s.listed != NULL)


cdef void close_split(Split *s) noexcept nogil:
    free(s.gain)
    free(s.heap)
    free(s.members)
    free(s.moved)
    free(s.came_from)
    free(s.mate)
    free(s.wait)
    free(s.trial)
    free(s.place)
    free(s.listed)


cdef void take(Split *s, const Graph *g, int8_t *side) noexcept nogil:
    """Set the graph to work on."""
    s.graph = g
    s.side = side
    s.most = max(<int64_t>(HEAVIEST_SIDE * g.total), g.total // 2 + 1)


cdef void improve_on(Split *s, const Graph *g, int8_t *side) noexcept nogil:
    """Improve the separator that the sides of the vertices tell."""
    take(s, g, side)
    look(s)
    improve(s)
    forget(s)


cdef void start_separator(Split *s, const Graph *g, uint64_t *state, int8_t *side) noexcept nogil:
    """Find the best of a few separators, each grown from a random vertex."""
    cdef int64_t best[3]
    cdef int k
    memset(best, 0, 3 * sizeof(int64_t))
    for k in range(GROWTHS):
        take(s, g, s.trial)
        grow(s, <int32_t>(random_number(state) % <uint64_t>g.n), k % 2 == 0)
        if k == 0 or better(s.weight, best, s.most):
            memcpy(best, s.weight, 3 * sizeof(int64_t))
            memcpy(side, s.trial, g.n)
        forget(s)
    improve_on(s, g, side)


cdef struct Level:
    Graph graph
    int32_t *coarse             # vertex of the next level that each one is part of
    int8_t *side


cdef inline int64_t level_work(const Graph *g) noexcept nogil:
    """About how long a step of a level takes, in multiplications."""
    return 16 * (g.n + g.start[g.n])


cdef int coarsen(Split *s, Level *levels, int top, int32_t target, uint64_t *state) noexcept nogil:
    """Add coarser levels above `top` until one has at most `target` vertices.

    Stop as well if the graph hardly gets smaller. Return the last level, or -1 if memory is short
    or the call was stopped.
    """
    cdef int32_t count
    cdef int64_t heaviest = <int64_t>(HEAVIEST_PAIR * levels[top].graph.total) + 1
    cdef Level *level
    while levels[top].graph.n > target and top + 1 < LEVELS:
        level = &levels[top]
        if pool_stopped(level_work(&level.graph)):
            return -1
        count = match(&level.graph, heaviest, state, s.mate, s.wait)
        if count > 0.95 * level.graph.n:
            break
        level.coarse = <int32_t *>room(level.graph.n, sizeof(int32_t))
        level[1].side = <int8_t *>room(count, sizeof(int8_t))
        if level.coarse == NULL or level[1].side == NULL or not contract(
                &level.graph, s.mate, count, level.coarse, &level[1].graph):
            return -1
        top += 1
    return top


cdef void drop(Level *levels, int begin) noexcept nogil:
    """Free the levels above `begin`."""
    cdef int k
    free(levels[begin].coarse)
    levels[begin].coarse = NULL
    for k in range(begin + 1, LEVELS):
        release(&levels[k].graph)
        free(levels[k].coarse)
        free(levels[k].side)
        memset(&levels[k], 0, sizeof(Level))


cdef void refine(Split *s, Level *levels, int top, int bottom) noexcept nogil:
    """Carry the separator of level `top` down to `bottom`, improved at each level."""
    cdef int k
    cdef int32_t v
    cdef Level *level
    for k in range(top - 1, bottom - 1, -1):
        level = &levels[k]
        if pool_stopped(level_work(&level.graph)):
            return
        for v in range(level.graph.n):
            level.side[v] = level[1].side[level.coarse[v]]
        improve_on(s, &level.graph, level.side)


cdef bint several_ways(Split *s, Level *levels, int middle, int ways,
                       uint64_t *state) noexcept nogil:
    """Find the best separator of level `middle` by several series of coarser graphs.

    Return False if memory is short or the call was stopped.
    """
    cdef Level *level = &levels[middle]
    cdef int64_t best[3]
    cdef int64_t found[3]
    cdef int32_t v
    cdef int k, top
    cdef int8_t *kept = <int8_t *>room(level.graph.n, 1)
    if kept == NULL:
        return False
    memset(best, 0, 3 * sizeof(int64_t))
    for k in range(ways):
        top = coarsen(s, levels, middle, COARSEST, state)
        if top < 0:
            free(kept)
            return False
        start_separator(s, &levels[top].graph, state, levels[top].side)
        refine(s, levels, top, middle)
        drop(levels, middle)
        if pool_stopped(0):         # the sides may be unknown
            free(kept)
            return False
        memset(found, 0, 3 * sizeof(int64_t))
        for v in range(level.graph.n):
            found[level.side[v]] += level.graph.weight[v]
        take(s, &level.graph, level.side)
        if k == 0 or better(found, best, s.most):
            memcpy(best, found, 3 * sizeof(int64_t))
            memcpy(kept, level.side, level.graph.n)
    memcpy(level.side, kept, level.graph.n)
    free(kept)
    return True


cdef bint separate(Split *s, const Graph *g, uint64_t *state, int8_t *side) noexcept nogil:
    """Find a separator of a graph with at least one vertex.

    Return False if memory is short or the call was stopped. The side of each vertex is written to
    `side`. A side may be empty, as in a clique.
    """
    cdef Level levels[LEVELS]
    cdef int middle = 0, ways = 1
    cdef bint well
    memset(levels, 0, LEVELS * sizeof(Level))
    levels[0].graph = g[0]
    levels[0].side = side
    if g.n >= SEVERAL:
        ways = WAYS
        middle = coarsen(s, levels, 0, max(MIDDLE, g.n // MIDDLE_PART), state)
    well = middle >= 0 and several_ways(s, levels, middle, ways, state)
    if well:
        refine(s, levels, middle, 0)
    drop(levels, 0)
    return well and not pool_stopped(0)
