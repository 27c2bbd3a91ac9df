"""Approximate minimum degree ordering on a quotient graph.

Eliminating a vertex joins its neighbors to a clique. The quotient graph never stores cliques:
an eliminated vertex becomes an *element* that lists the *variables* of its clique, and a variable
i lists the elements it belongs to, E_i, followed by the variables it is still joined to by an
edge, A_i. Its neighbors are A_i and all L_e, e in E_i.

    list of a variable      [ e e e | v v v v ]         `elements[i]` of them, `length[i]` in all
    list of an element      [ v v v v v ]

Variables with the same neighbors become one *supervariable*, of weight `weight[i]` > 0. While a
pivot is processed, the variables of its element carry a negative weight. An element absorbed by a
newer element, or a variable absorbed by another variable, has weight 0 and the degree GONE, and is
skipped.

If a part of a larger graph is ordered, the vertices around it that are eliminated later count in
the degrees but are never pivots: they are *fixed* (the halo of Pellegrini, Roman and Amestoy).

References
----------
Amestoy, P. R., Davis, T. A., Duff, I. S. (1996). An approximate minimum degree ordering
    algorithm. SIAM J. Matrix Anal. Appl. 17(4), 886-905.
Amestoy, P. R., Davis, T. A., Duff, I. S. (2004). Algorithm 837: AMD, an approximate minimum
    degree ordering algorithm. ACM Trans. Math. Softw. 30(3), 381-388.
Pellegrini, F., Roman, J., Amestoy, P. (2000). Hybridizing nested dissection and halo approximate
    minimum degree for efficient sparse matrix ordering. Concurrency: Pract. Exper. 12, 69-84.
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

import numpy as np

from sparsechol._core.ordering.compressed cimport Compressed
from sparsechol._core.ordering.graph cimport Graph, room
from sparsechol._core.parallel.pool cimport pool_begin, pool_call, pool_end, pool_stopped
from sparsechol._core.symbolic.forest cimport depth_first


cdef enum:
    IS_ELEMENT = -1         # in place of the number of elements of a variable
    GONE = -1               # in place of the degree of an absorbed element or variable


# The loops below avoid branches that are hard to predict: an entry that is dropped is written too,
# and the next entry overwrites it; a term that does not count is masked.


cdef inline int64_t positive(int64_t x) noexcept nogil:
    """Return all bits set if x > 0, else none."""
    return (-x) >> 63


cdef inline void enlist(Quotient *g, int32_t i, int32_t degree) noexcept nogil:
    """Put variable i at the front of the list of its degree; a fixed one is its own list."""
    cdef int32_t end = g.n + min(degree, g.most)
    cdef int32_t front = g.link[end].next
    g.vertex[i].degree = degree
    if g.fixed[i]:
        g.link[i] = Link(next=i, previous=i)
        return
    g.link[i] = Link(next=front, previous=end)
    g.link[front].previous = i
    g.link[end].next = i
    g.lowest = min(g.lowest, degree)


cdef inline void delist(Quotient *g, int32_t i) noexcept nogil:
    """Take variable i out of the list of its degree."""
    cdef Link link = g.link[i]
    g.link[link.next].previous = link.previous
    g.link[link.previous].next = link.next


cdef inline void swallow(Quotient *g, int32_t vertex, int32_t by) noexcept nogil:
    """Absorb an element or variable into another one."""
    g.parent[vertex] = by
    g.vertex[vertex].weight = 0
    g.vertex[vertex].degree = GONE
    g.vertex[vertex].length = 0


cdef inline void strip(Quotient *g, int32_t leaf, int32_t by) noexcept nogil:
    """Eliminate a vertex whose only neighbor, if any, is `by`: it leaves an element of nothing."""
    g.left -= g.vertex[leaf].weight
    g.waiting -= g.vertex[leaf].weight
    swallow(g, leaf, by)
    g.vertex[leaf].elements = IS_ELEMENT


cdef void strip_leaves(Quotient *g) noexcept nogil:
    """Eliminate vertices with one neighbor, and those that have one when these are gone.

    They cause no fill. A vertex keeps the number of its neighbors, as `degree`, and the exclusive
    or of their numbers: where one is left, it is that one. First come, first served, so that the
    middle of a tree is its root. The queue lies in `next` of the links, each vertex in it once.
    """
    cdef int32_t *left = g.sibling
    cdef int32_t v, leaf, by, head = 0, tail = 0
    cdef int64_t p
    for v in range(g.n):
        left[v] = 0
        for p in range(g.vertex[v].start, g.vertex[v].start + g.vertex[v].length):
            left[v] ^= g.lists[p]
        g.vertex[v].degree = g.vertex[v].length
        if g.vertex[v].degree == 1:
            g.link[tail].next = v
            tail += 1
    while head < tail:
        leaf = g.link[head].next
        head += 1
        if g.vertex[leaf].degree != 1 or g.fixed[leaf]:
            continue
        by = left[leaf]
        strip(g, leaf, -1 if g.fixed[by] else by)
        left[by] ^= leaf
        g.vertex[by].degree -= 1
        if g.vertex[by].degree == 1:
            g.link[tail].next = by
            tail += 1


cdef void set_up(Quotient *g) noexcept nogil:
    """Eliminate leaves and isolated vertices at once; build the degree lists."""
    cdef int32_t i, degree
    cdef int64_t p
    cdef bint leaves = False
    for i in range(g.n):
        if not g.fixed[i]:
            g.waiting += g.vertex[i].weight
        g.left += g.vertex[i].weight
        leaves |= g.vertex[i].length == 1
    if leaves:
        strip_leaves(g)
    for i in range(g.n):
        degree = 0
        for p in range(g.vertex[i].start, g.vertex[i].start + g.vertex[i].length):
            degree += g.vertex[g.lists[p]].weight
        if degree > 0:
            enlist(g, i, degree)
        elif g.vertex[i].elements != IS_ELEMENT and not g.fixed[i]:
            strip(g, i, -1)


cdef int32_t take_pivot(Quotient *g) noexcept nogil:
    """Return a variable of least approximate degree."""
    cdef int32_t pivot
    while g.link[g.n + g.lowest].next == g.n + g.lowest:
        g.lowest += 1
    pivot = g.link[g.n + g.lowest].next
    delist(g, pivot)
    return pivot


cdef int64_t collect_garbage(Quotient *g, int64_t keep_from) noexcept nogil:
    """Close the gaps between lists.

    The unfinished list that begins at `keep_from` stays the last one. Return its new beginning.
    """
    cdef int32_t v
    cdef int64_t p, q = 0
    cdef int32_t _
    # The first entry of each list moves to `start`; its place names the owner.
    for v in range(g.n):
        if g.vertex[v].length > 0:
            p = g.vertex[v].start
            g.vertex[v].start = g.lists[p]
            g.lists[p] = ~v
    p = 0
    while p < keep_from:
        v = ~g.lists[p]
        p += 1
        if v < 0:
            continue
        g.lists[q] = <int32_t>g.vertex[v].start
        g.vertex[v].start = q
        q += 1
        for _ in range(g.vertex[v].length - 1):
            g.lists[q] = g.lists[p]
            q += 1
            p += 1
    for p in range(keep_from, g.free):
        g.lists[q + p - keep_from] = g.lists[p]
    g.free = q + g.free - keep_from
    return q


cdef inline int32_t claim(Quotient *g, const int32_t *source, int32_t length, int32_t *into,
                          int32_t *degree) noexcept nogil:
    """Collect the variables of a list that are not claimed or gone; return their number.

    `into` may be `source`. A claimed variable gets a negative weight.
    """
    cdef int32_t size = 0, k, i, weight
    for k in range(length):
        i = source[k]
        weight = g.vertex[i].weight
        if weight > 0:
            g.vertex[i].weight = -weight
            delist(g, i)
            degree[0] += weight
            into[size] = i
            size += 1
    return size


cdef void form_in_place(Quotient *g, int32_t pivot) noexcept nogil:
    """Form L_pivot of a pivot without elements from its own list."""
    cdef int32_t *start = g.lists + g.vertex[pivot].start
    g.vertex[pivot].length = claim(
        g, start, g.vertex[pivot].length, start, &g.vertex[pivot].degree)


cdef void form_at_end(Quotient *g, int32_t pivot) noexcept nogil:
    """Form L_pivot = (A_pivot and all L_e, e in E_pivot) without the pivot, as a new list.

    Every e is absorbed. The part of the pivot's list that has been read is cut off before garbage
    is collected. There is room then: the live lists never take more than at the start, and no list
    is longer than n.
    """
    cdef int64_t begin = g.free
    cdef int32_t k, source, count = g.vertex[pivot].elements
    for k in range(count + 1):
        source = pivot
        if k < count:
            source = g.lists[g.vertex[pivot].start]
            g.vertex[pivot].start += 1
            g.vertex[pivot].length -= 1
        if g.free + g.vertex[source].length > g.room:
            begin = collect_garbage(g, begin)
        g.free += claim(g, g.lists + g.vertex[source].start, g.vertex[source].length,
                        g.lists + g.free, &g.vertex[pivot].degree)
        if source != pivot:
            swallow(g, source, pivot)
    g.vertex[pivot].start = begin
    g.vertex[pivot].length = <int32_t>(g.free - begin)


cdef void measure_inside(Quotient *g, int32_t pivot) noexcept nogil:
    """Set stamp[e] - flag to |L_e and L_pivot| for every element e next to L_pivot."""
    cdef int64_t flag = g.flag
    cdef int32_t j, k, weight
    cdef Vertex *vertex = g.vertex
    cdef Vertex *e
    cdef const int32_t *variables = g.lists + vertex[pivot].start
    cdef const int32_t *elements
    for j in range(vertex[pivot].length):
        weight = -vertex[variables[j]].weight
        elements = g.lists + vertex[variables[j]].start
        for k in range(vertex[variables[j]].elements):
            e = &vertex[elements[k]]
            e.stamp = max(e.stamp, flag) + weight


cdef int32_t update_variables(Quotient *g, int32_t pivot) noexcept nogil:
    """Update the variables of L_pivot: lists, degrees, hash values. Return the eliminated weight.

    Elements inside L_pivot are absorbed (aggressive absorption). A variable with no neighbor
    outside L_pivot is eliminated with the pivot (mass elimination).
    """
    cdef int64_t p
    cdef int32_t i, weight, gone = 0
    for p in range(g.vertex[pivot].start, g.vertex[pivot].start + g.vertex[pivot].length):
        i = g.lists[p]
        if not update_variable(g, i, pivot):
            weight = -g.vertex[i].weight
            swallow(g, i, pivot)
            g.vertex[pivot].degree -= weight
            gone += weight
    return gone


cdef inline bint update_variable(Quotient *g, int32_t i, int32_t pivot) noexcept nogil:
    """Update variable i; return False if it has no neighbor outside L_pivot."""
    cdef Vertex *vertex = g.vertex
    cdef int32_t *entries = g.lists + vertex[i].start
    cdef int64_t degree = 0, outside, flag = g.flag
    cdef uint32_t hash_value = 0
    cdef int32_t x, k, weight, kept, size = 0, middle, others = 0, elements = vertex[i].elements
    for k in range(elements):
        x = entries[k]
        outside = vertex[x].degree + flag - vertex[x].stamp
        if outside == 0:
            swallow(g, x, pivot)
        kept = <int32_t>positive(outside)
        degree += outside & kept
        hash_value += <uint32_t>(x & kept)
        entries[size] = x
        size -= kept
    middle = size
    for k in range(elements, vertex[i].length):
        x = entries[k]
        weight = vertex[x].weight
        kept = <int32_t>positive(weight)
        others += weight & kept
        hash_value += <uint32_t>(x & kept)
        entries[size] = x
        size -= kept
    degree += others
    if size == 0 and not g.fixed[i]:
        return False
    vertex[i].degree = <int32_t>min(<int64_t>vertex[i].degree, degree)
    # The pivot comes first. At least one entry was dropped (the pivot or an absorbed element),
    # so there is a place for it: the first variable moves to the end, the first element to the
    # place of that variable.
    entries[size] = entries[middle]
    entries[middle] = entries[0]
    entries[0] = pivot
    vertex[i].elements = middle + 1
    vertex[i].length = size + 1
    x = <int32_t>(hash_value & g.mask)
    g.link[i] = Link(next=g.bucket[x], previous=x)
    g.bucket[x] = i
    return True


cdef void find_supervariables(Quotient *g, int32_t pivot) noexcept nogil:
    """Merge variables of L_pivot with equal lists; compare only those of equal hash values."""
    cdef int64_t p, q
    cdef int32_t i, j, before
    for p in range(g.vertex[pivot].start, g.vertex[pivot].start + g.vertex[pivot].length):
        i = g.lists[p]
        if g.vertex[i].weight == 0:
            continue
        j = g.link[i].previous
        i = g.bucket[j]
        g.bucket[j] = -1
        while i != -1 and g.link[i].next != -1:
            for q in range(g.vertex[i].start + 1, g.vertex[i].start + g.vertex[i].length):
                g.vertex[g.lists[q]].stamp = g.flag
            before = i
            j = g.link[i].next
            while j != -1:
                if same_list(g, i, j):
                    g.vertex[i].weight += g.vertex[j].weight
                    swallow(g, j, i)
                    g.link[before].next = g.link[j].next
                else:
                    before = j
                j = g.link[j].next
            g.flag += 1
            i = g.link[i].next


cdef inline bint same_list(Quotient *g, int32_t i, int32_t j) noexcept nogil:
    """Return whether j has the list of i, whose entries carry the stamp `flag`."""
    cdef int64_t q
    if (g.vertex[i].length != g.vertex[j].length or g.vertex[i].elements != g.vertex[j].elements
            or g.fixed[i] != g.fixed[j]):
        return False
    for q in range(g.vertex[j].start + 1, g.vertex[j].start + g.vertex[j].length):
        if g.vertex[g.lists[q]].stamp != g.flag:
            return False
    return True


cdef void finish_element(Quotient *g, int32_t pivot, bint at_end) noexcept nogil:
    """Put the variables that are left back into the degree lists; shrink L_pivot to them."""
    cdef int64_t p, q = g.vertex[pivot].start
    cdef int32_t i, weight
    for p in range(g.vertex[pivot].start, g.vertex[pivot].start + g.vertex[pivot].length):
        i = g.lists[p]
        weight = -g.vertex[i].weight
        if weight == 0:
            continue
        g.vertex[i].weight = weight
        enlist(g, i, <int32_t>min(<int64_t>g.vertex[i].degree + g.vertex[pivot].degree - weight,
                                  g.left - weight))
        g.lists[q] = i
        q += 1
    g.vertex[pivot].length = <int32_t>(q - g.vertex[pivot].start)
    g.vertex[pivot].weight = 0
    if at_end:
        g.free = q


cdef bint eliminate(Quotient *g) noexcept nogil:
    """Eliminate all variables, each time a supervariable of least approximate degree.

    Return False if the call was stopped before the end.
    """
    cdef int32_t pivot, gone, largest = 0
    cdef bint at_end
    while g.waiting > 0:
        pivot = take_pivot(g)
        if pool_stopped(64 + 8 * <int64_t>g.vertex[pivot].degree):
            return False
        g.waiting -= g.vertex[pivot].weight
        g.left -= g.vertex[pivot].weight
        g.vertex[pivot].weight = -g.vertex[pivot].weight
        g.vertex[pivot].degree = 0
        at_end = g.vertex[pivot].elements > 0
        if at_end:
            form_at_end(g, pivot)
        else:
            form_in_place(g, pivot)
        g.vertex[pivot].elements = IS_ELEMENT
        largest = max(largest, g.vertex[pivot].degree)
        measure_inside(g, pivot)
        gone = update_variables(g, pivot)
        g.waiting -= gone
        g.left -= gone
        g.flag += largest + 1
        find_supervariables(g, pivot)
        finish_element(g, pivot, at_end)
    return True


cdef int32_t assembly_postorder(Quotient *g, int32_t *perm) noexcept nogil:
    """List the forest of absorptions in postorder, without fixed variables; return its size.

    Below an element, the elements that it absorbed come first. The variables of the element follow,
    because they are eliminated together with it.
    """
    cdef int32_t *child = g.bucket
    cdef int32_t *sibling = g.sibling
    cdef int32_t v, place = 0
    cdef bint elements
    for v in range(g.n):
        child[v] = -1
    for elements in range(2):
        for v in range(g.n - 1, -1, -1):
            if g.parent[v] != -1 and (g.vertex[v].elements == IS_ELEMENT) == elements:
                sibling[v] = child[g.parent[v]]
                child[g.parent[v]] = v
    for v in range(g.n):
        if g.parent[v] == -1 and g.vertex[v].elements == IS_ELEMENT:
            place = depth_first(v, child, sibling, g.lists, perm, place)
    return place


# ---- Memory and interface ----


cdef bint open_quotient(Quotient *g, int32_t n, int64_t entries, int64_t total) noexcept nogil:
    """Allocate a graph of n vertices of this total weight; return False if memory is short.

    The caller fills `start`, `length`, `lists`, `weight` and `fixed`.
    """
    cdef int32_t v
    cdef int64_t links
    memset(g, 0, sizeof(Quotient))
    g.n = n
    g.room = entries + entries // 5 + n
    g.free = entries
    g.most = <int32_t>min(total, <int64_t>INT32_MAX - n - 1)
    links = <int64_t>n + g.most + 1
    # One block, large enough for large pages to pay.
    g.vertex = <Vertex *>room(
        n * <int64_t>(sizeof(Vertex) + 3 * sizeof(int32_t) + 1)
        + links * <int64_t>sizeof(Link) + g.room * <int64_t>sizeof(int32_t), 1)
    if g.vertex == NULL:
        return False
    g.link = <Link *>(g.vertex + n)
    g.lists = <int32_t *>(g.link + links)
    g.parent = g.lists + g.room
    g.bucket = g.parent + n
    g.sibling = g.bucket + n
    g.fixed = <uint8_t *>(g.sibling + n)
    for v in range(n, n + g.most + 1):
        g.link[v] = Link(next=v, previous=v)
    memset(g.bucket, 0xff, <size_t>n * sizeof(int32_t))
    memset(g.parent, 0xff, <size_t>n * sizeof(int32_t))         # all -1
    memset(g.fixed, 0, <size_t>n * sizeof(uint8_t))
    memset(g.vertex, 0, <size_t>n * sizeof(Vertex))
    while 2 * g.mask + 1 < <uint64_t>n:
        g.mask = 2 * g.mask + 1
    g.flag = 1
    g.lowest = g.most
    return True


cdef void close_quotient(Quotient *g) noexcept nogil:
    """Free the memory of a quotient graph."""
    free(g.vertex)


cdef int32_t minimum_degree(Quotient *g, int32_t *perm) noexcept nogil:
    """Order all vertices but the fixed ones; return their number. The graph is used up.

    Return -1 if the call was stopped before the end.
    """
    set_up(g)
    return assembly_postorder(g, perm) if eliminate(g) else -1


def amd(Compressed graph):
    """Return an approximate minimum degree ordering.

    The quotient graph has element absorption, approximate external degrees, mass elimination,
    supervariables found by hashing, and aggressive absorption (Amestoy, Davis, Duff 1996, 2004).

    Parameters
    ----------
    graph : Compressed

    Returns
    -------
    perm : (n,) int32 ndarray
        ``A[perm][:, perm]`` has a sparse Cholesky factor.
    """
    cdef const Graph *whole = &graph.graph
    cdef Quotient g
    cdef bint well = True
    cdef pool_call call
    perm_array = np.empty(graph.group.shape[0], dtype=np.int32)
    cdef int32_t[::1] perm = perm_array
    cdef int32_t[::1] order = np.empty(whole.n + 1, dtype=np.int32)
    cdef int32_t[::1] start = np.empty(whole.n + 1, dtype=np.int32)
    if perm.shape[0] == 0:
        return perm_array
    pool_begin(&call)
    with nogil:
        if whole.n > 0:
            well = open_quotient(&g, whole.n, whole.start[whole.n], whole.total)
            if well:
                fill(&g, whole)
                well = minimum_degree(&g, &order[0]) >= 0
            close_quotient(&g)
        if well:
            graph.expand(&order[0], &start[0], &perm[0])
    pool_end(&call)
    if not well:
        raise MemoryError("no memory for the minimum degree ordering")
    return perm_array


cdef void fill(Quotient *g, const Graph *whole) noexcept nogil:
    """Fill a quotient graph with all vertices of a graph."""
    cdef int32_t v
    memcpy(g.lists, whole.adjacent, <size_t>whole.start[whole.n] * sizeof(int32_t))
    for v in range(whole.n):
        g.vertex[v].weight = whole.weight[v]
        g.vertex[v].start = whole.start[v]
        g.vertex[v].length = <int32_t>(whole.start[v + 1] - whole.start[v])
