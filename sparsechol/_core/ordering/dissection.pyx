"""Nested dissection: a separator is ordered last, before it the two sides, each the same way.

        [ side 0            S ]
        [         side 1    S ]         the rows and columns of a separator S and of its two sides
        [   S       S       S ]

Small parts are ordered by minimum degree; the separators around them count in the degrees.

References
----------
George, A. (1973). Nested dissection of a regular finite element mesh. SIAM J. Numer. Anal. 10(2),
    345-363.
Pellegrini, F., Roman, J., Amestoy, P. (2000). Hybridizing nested dissection and halo approximate
    minimum degree for efficient sparse matrix ordering. Concurrency: Pract. Exper. 12, 69-84.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

import numpy as np

from sparsechol._core.parallel.pool cimport (
    POOL_DOWN, pool_begin, pool_call, pool_end, pool_least, pool_lower, pool_read, pool_run,
    pool_scratch, pool_stopped, pool_worker,
)
from sparsechol._core.ordering.amd cimport Quotient, close_quotient, minimum_degree, open_quotient
from sparsechol._core.ordering.compressed cimport Compressed
from sparsechol._core.ordering.graph cimport Graph, allocate, random_number, release, room
from sparsechol._core.ordering.separator cimport SEPARATOR, Split, close_split, open_split, separate


cdef enum:
    LEAF = 200              # vertices that are not cut any more
    TASK_LEVELS = 7         # of the dissection, that threads share


# ---- Parts ----


cdef struct Part:
    # Some of the vertices. In the order they take `place` and the places behind it.
    Graph graph
    int32_t *vertex             # their numbers in the whole graph
    int32_t place
    uint64_t state              # of its random numbers


cdef struct Space:
    # Workspace of a thread, opened when the thread gets work.
    bint opened
    Split split
    int32_t *halo               # (n) numbers of the vertices around a leaf, or -1


cdef struct Dissection:
    const Graph *graph          # the whole graph
    int32_t *order              # vertex at each place
    int32_t *local              # (n) its number in its leaf, or -1
    Space *spaces               # one for each thread
    Part *parts                 # one for each task; parts of tasks that have run are freed
    pool_least failed           # 0 if memory was short or the call was stopped


cdef void drop(Part *part) noexcept nogil:
    """Free a part."""
    release(&part.graph)
    free(part.vertex)
    part.vertex = NULL


cdef bint cut_out(const Part *whole, const int8_t *side, int8_t which, int32_t count,
                  int64_t entries, int32_t *local, Part *part) noexcept nogil:
    """Copy the part on one side, with all edges inside it; return False if memory is short.

    `local` is workspace, one for each vertex of `whole`.
    """
    cdef const Graph *g = &whole.graph
    cdef Graph *h = &part.graph
    cdef int32_t v, k = 0
    cdef int64_t p, q = 0
    part.vertex = <int32_t *>room(count, sizeof(int32_t))
    if not allocate(h, count, entries, g.edge != NULL) or part.vertex == NULL:
        drop(part)
        return False
    for v in range(g.n):
        if side[v] == which:
            local[v] = k
            k += 1
    k = 0
    for v in range(g.n):
        if side[v] != which:
            continue
        part.vertex[k] = whole.vertex[v]
        h.weight[k] = g.weight[v]
        h.total += g.weight[v]
        h.start[k] = q
        k += 1
        for p in range(g.start[v], g.start[v + 1]):
            if side[g.adjacent[p]] == which:
                h.adjacent[q] = local[g.adjacent[p]]
                if g.edge != NULL:
                    h.edge[q] = g.edge[p]
                q += 1
    h.start[count] = q
    return True


cdef bint split_components(const Graph *g, int32_t *queue, int8_t *side) noexcept nogil:
    """Put each component on the side that weighs less; return whether there are several."""
    cdef int64_t weight[2]
    cdef int32_t v, u, head = 0, tail = 0, seed = 0
    cdef int64_t p
    cdef int8_t to
    weight[0] = weight[1] = 0
    memset(side, -1, g.n)
    while tail < g.n:
        while side[seed] != -1:
            seed += 1
        to = 0 if weight[0] <= weight[1] else 1
        side[seed] = to
        queue[tail] = seed
        tail += 1
        while head < tail:
            v = queue[head]
            head += 1
            weight[to] += g.weight[v]
            for p in range(g.start[v], g.start[v + 1]):
                u = g.adjacent[p]
                if side[u] == -1:
                    side[u] = to
                    queue[tail] = u
                    tail += 1
    return weight[1] > 0


cdef bint split(Dissection *d, Space *space, Part *part, Part *halves) noexcept nogil:
    """Cut a part in two, and put its separator last; return False if it cannot be cut.

    A part that is cut is used up; otherwise it is unchanged. Short memory is noted in `failed`.
    """
    cdef const Graph *g = &part.graph
    cdef int8_t *side = <int8_t *>room(g.n, 1)
    cdef int32_t *local = <int32_t *>room(g.n, sizeof(int32_t))
    cdef int32_t v, at
    cdef int32_t count[3]
    cdef int64_t entries[2]
    cdef bint done = False
    count[0] = count[1] = count[2] = 0
    entries[0] = entries[1] = 0
    if side == NULL or local == NULL:
        pool_lower(&d.failed, 0)
    elif not split_components(g, local, side) and not separate(
            &space.split, g, &part.state, side):
        pool_lower(&d.failed, 0)
    else:
        for v in range(g.n):
            count[side[v]] += 1
            if side[v] != SEPARATOR:
                entries[side[v]] += g.start[v + 1] - g.start[v]
        if count[0] and count[1]:
            done = True
            at = part.place + count[0] + count[1]
            for v in range(g.n):
                if side[v] == SEPARATOR:
                    d.order[at] = part.vertex[v]
                    at += 1
            for v in range(2):
                halves[v].place = part.place + v * count[0]
                halves[v].state = random_number(&part.state)
                if not cut_out(part, side, v, count[v], entries[v], local, &halves[v]):
                    pool_lower(&d.failed, 0)
            drop(part)
    free(side)
    free(local)
    return done


cdef void order_leaf(Dissection *d, Space *space, Part *part) noexcept nogil:
    """Order a part by minimum degree; the separators around it are fixed. The part is used up.

    The lists are those of the whole graph: neighbors outside the part have later places.
    """
    cdef const Graph *g = d.graph
    cdef const Graph *h = &part.graph
    cdef Quotient q
    cdef int32_t k, v, u, around = 0
    cdef int64_t p, at, entries = 0, total = h.total
    cdef int32_t *found
    cdef int32_t *halo = space.halo
    memset(&q, 0, sizeof(Quotient))
    for k in range(h.n):
        d.local[part.vertex[k]] = k
    for k in range(h.n):
        v = part.vertex[k]
        entries += 2 * (g.start[v + 1] - g.start[v]) - (h.start[k + 1] - h.start[k])
    found = <int32_t *>room(entries // 2 + 1, sizeof(int32_t))      # the vertices around
    if found != NULL:
        for k in range(h.n):
            v = part.vertex[k]
            for p in range(g.start[v], g.start[v + 1]):
                u = g.adjacent[p]
                if halo[u] == -1 and d.local[u] == -1:
                    halo[u] = h.n + around
                    found[around] = u
                    around += 1
                    total += g.weight[u]
    if found == NULL or not open_quotient(&q, h.n + around, entries, total):
        pool_lower(&d.failed, 0)
    else:
        at = 0
        for k in range(h.n):
            v = part.vertex[k]
            q.vertex[k].weight = g.weight[v]
            q.vertex[k].start = at
            q.vertex[k].length = <int32_t>(g.start[v + 1] - g.start[v])
            for p in range(g.start[v], g.start[v + 1]):
                u = g.adjacent[p]
                q.lists[at] = halo[u] if halo[u] != -1 else d.local[u]
                at += 1
        for k in range(around):
            q.vertex[h.n + k].weight = g.weight[found[k]]
            q.fixed[h.n + k] = 1
            q.vertex[h.n + k].length = 0
        for k in range(h.n):
            for p in range(q.vertex[k].start, q.vertex[k].start + q.vertex[k].length):
                if q.lists[p] >= h.n:
                    q.vertex[q.lists[p]].length += 1
        for k in range(around):
            q.vertex[h.n + k].start = at
            at += q.vertex[h.n + k].length
            q.vertex[h.n + k].length = 0
        for k in range(h.n):
            for p in range(q.vertex[k].start, q.vertex[k].start + q.vertex[k].length):
                u = q.lists[p]
                if u >= h.n:
                    q.lists[q.vertex[u].start + q.vertex[u].length] = k
                    q.vertex[u].length += 1
        if minimum_degree(&q, &d.order[part.place]) < 0:
            pool_lower(&d.failed, 0)
        else:
            for k in range(h.n):
                v = d.order[part.place + k]
                d.order[part.place + k] = part.vertex[v]
    if found != NULL:
        for k in range(around):
            halo[found[k]] = -1
    free(found)
    close_quotient(&q)
    drop(part)


# ---- Tasks ----


cdef struct Stack:
    Part *parts
    int64_t count
    int64_t room


cdef bint put(Stack *stack, const Part *part) noexcept nogil:
    """Put a part on a stack; return False if memory is short."""
    cdef Part *parts
    if stack.count == stack.room:
        parts = <Part *>realloc(stack.parts, <size_t>(2 * stack.room + 64) * sizeof(Part))
        if parts == NULL:
            return False
        stack.parts = parts
        stack.room = 2 * stack.room + 64
    stack.parts[stack.count] = part[0]
    stack.count += 1
    return True


cdef void dissect(Dissection *d, Space *space, Part *part) noexcept nogil:
    """Order a part down to the leaves. The part is used up."""
    cdef Stack stack
    cdef Part halves[2]
    cdef Part now
    cdef int k
    memset(&stack, 0, sizeof(Stack))
    now = part[0]
    memset(part, 0, sizeof(Part))
    while True:
        memset(halves, 0, 2 * sizeof(Part))
        if pool_read(&d.failed) == 0:
            drop(&now)
        elif now.graph.n <= LEAF or not split(d, space, &now, halves):
            order_leaf(d, space, &now)
        for k in range(2):
            if halves[k].vertex != NULL and not put(&stack, &halves[k]):
                pool_lower(&d.failed, 0)
                drop(&halves[k])
        if stack.count == 0:
            break
        stack.count -= 1
        now = stack.parts[stack.count]
    free(stack.parts)


cdef bint open_space(Space *space, int32_t n) noexcept nogil:
    """Open the workspace if it is not open yet; return False if memory is short."""
    if space.opened:
        return True
    space.opened = True
    space.halo = <int32_t *>room(n, sizeof(int32_t))
    if not open_split(&space.split, n) or space.halo == NULL:
        return False
    memset(space.halo, 0xff, <size_t>n * sizeof(int32_t))
    return True


cdef void run(void *context, int32_t task, pool_worker *worker) noexcept nogil:
    """Cut a part for the two tasks below; a task of the lowest level orders its part."""
    cdef Dissection *d = <Dissection *>context
    cdef int32_t tasks = (1 << TASK_LEVELS) - 1
    cdef int32_t node = tasks - 1 - task
    cdef Part *part = &d.parts[node]
    cdef Space *space = &d.spaces[worker.number]
    if part.vertex == NULL or pool_read(&d.failed) == 0:
        return
    if not open_space(space, d.graph.n):
        pool_lower(&d.failed, 0)
        return
    if 2 * node + 1 >= tasks or part.graph.n <= LEAF:
        dissect(d, space, part)
    elif not split(d, space, part, &d.parts[2 * node + 1]):
        order_leaf(d, space, part)


cdef bint dissect_all(const Graph *g, uint64_t seed, int threads, int32_t *order) noexcept nogil:
    """Order a graph with at least one vertex; return False if memory is short."""
    cdef int32_t tasks = (1 << TASK_LEVELS) - 1
    cdef int32_t parent[(1 << TASK_LEVELS) - 1]
    cdef Part parts[(1 << TASK_LEVELS) - 1]
    cdef Dissection d
    cdef int32_t v, node
    cdef void *scratch = malloc(pool_scratch(tasks, threads))
    memset(&d, 0, sizeof(Dissection))
    memset(parts, 0, tasks * sizeof(Part))
    d.failed = 1
    d.graph = g
    d.order = order
    d.parts = parts
    d.local = <int32_t *>room(g.n, sizeof(int32_t))
    d.spaces = <Space *>calloc(threads, sizeof(Space))
    parts[0].state = seed
    parts[0].vertex = <int32_t *>room(g.n, sizeof(int32_t))
    for node in range(tasks):
        parent[tasks - 1 - node] = tasks - 1 - ((node - 1) >> 1) if node else -1
    if (scratch != NULL and d.local != NULL and d.spaces != NULL and parts[0].vertex != NULL
            and copied(g, &parts[0].graph)):
        for v in range(g.n):
            parts[0].vertex[v] = v
        memset(d.local, 0xff, <size_t>g.n * sizeof(int32_t))
        pool_run(threads, tasks, parent, POOL_DOWN, NULL, run, &d, scratch)
        if pool_stopped(0):
            pool_lower(&d.failed, 0)
    else:
        pool_lower(&d.failed, 0)
    for node in range(tasks):
        drop(&parts[node])
    free(scratch)
    free(d.local)
    if d.spaces != NULL:
        for v in range(threads):
            if d.spaces[v].opened:
                close_split(&d.spaces[v].split)
                free(d.spaces[v].halo)
    free(d.spaces)
    return pool_read(&d.failed) != 0


cdef bint copied(const Graph *g, Graph *into) noexcept nogil:
    """Copy the arrays of an unweighted graph; return False if memory is short."""
    if not allocate(into, g.n, g.start[g.n], False):
        return False
    memcpy(into.start, g.start, (<size_t>g.n + 1) * sizeof(int64_t))
    memcpy(into.adjacent, g.adjacent, <size_t>g.start[g.n] * sizeof(int32_t))
    memcpy(into.weight, g.weight, <size_t>g.n * sizeof(int32_t))
    into.total = g.total
    return True


def nested_dissection(Compressed graph, int threads=1, uint64_t seed=0):
    """Return a nested dissection ordering, by multilevel vertex separators.

    Parameters
    ----------
    graph : Compressed
    threads : int, optional
        Most threads that work on it. The result does not depend on their number.
    seed : int, optional
        Seed of the random numbers: equal seeds give equal results.

    Returns
    -------
    perm : (n,) int32 ndarray
        ``A[perm][:, perm]`` has a sparse Cholesky factor.
    """
    cdef bint well = True
    cdef pool_call call
    perm_array = np.empty(graph.group.shape[0], dtype=np.int32)
    cdef int32_t[::1] perm = perm_array
    cdef int32_t[::1] order = np.empty(graph.graph.n + 1, dtype=np.int32)
    cdef int32_t[::1] start = np.empty(graph.graph.n + 1, dtype=np.int32)
    if perm.shape[0] == 0:
        return perm_array
    pool_begin(&call)
    with nogil:
        if graph.graph.n > 0:
            well = dissect_all(&graph.graph, seed, threads, &order[0])
        if well:
            graph.expand(&order[0], &start[0], &perm[0])
    pool_end(&call)
    if not well:
        raise MemoryError("no memory for the nested dissection")
    return perm_array
