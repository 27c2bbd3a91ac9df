"""Approximate minimum degree ordering on a quotient graph.

Eliminating a vertex joins its neighbours to a clique. The quotient graph never stores cliques:
an eliminated vertex becomes an *element* that lists the *variables* of its clique, and a variable
i lists the elements it belongs to, E_i, followed by the variables it is still joined to by an
edge, A_i. Its neighbours are A_i and all L_e, e in E_i.

    list of a variable      [ e e e | v v v v ]         `elements[i]` of them, `length[i]` in all
    list of an element      [ v v v v v ]

Variables with the same neighbours become one *supervariable*, of weight `weight[i]` > 0. While a
pivot is processed, the variables of its element carry a negative weight. Elements that are
swallowed by a newer one, and variables that left, have weight or stamp 0 and are passed over.

References
----------
Amestoy, P. R., Davis, T. A., Duff, I. S. (1996). An approximate minimum degree ordering
    algorithm. SIAM J. Matrix Anal. Appl. 17(4), 886-905.
Amestoy, P. R., Davis, T. A., Duff, I. S. (2004). Algorithm 837: AMD, an approximate minimum
    degree ordering algorithm. ACM Trans. Math. Softw. 30(3), 381-388.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t, int64_t, uint64_t

import numpy as np

from sparsechol.symbolic.forest cimport depth_first


cdef enum:
    IS_ELEMENT = -1         # in place of the number of elements of a variable
    IS_DENSE = -2


cdef struct Graph:
    int32_t n
    int64_t room            # length of `lists`
    int64_t free            # first free place in `lists`
    int32_t eliminated      # vertices ordered so far
    int32_t lowest          # no variable has a smaller degree
    int64_t flag            # stamps from `flag` on belong to the current pivot
    int32_t *lists
    int64_t *start          # of the list of each vertex
    int32_t *length
    int32_t *elements
    int32_t *weight
    int32_t *degree         # approximate external degree of a variable, |L_e| of an element
    int64_t *stamp          # |L_e \\ L_pivot| + flag of an element, marks of a variable; 0: gone
    int32_t *parent         # vertex that swallowed it
    int32_t *head           # variables of each degree, doubly linked by next and previous
    int32_t *next
    int32_t *previous
    int32_t *bucket         # variables of each hash value, linked by next; hash in previous


cdef inline void enlist(Graph *g, int32_t i, int32_t degree) noexcept nogil:
    """Put variable i at the front of the list of its degree."""
    cdef int32_t front = g.head[degree]
    g.degree[i] = degree
    g.next[i] = front
    g.previous[i] = -1
    if front != -1:
        g.previous[front] = i
    g.head[degree] = i
    g.lowest = min(g.lowest, degree)


cdef inline void delist(Graph *g, int32_t i) noexcept nogil:
    """Take variable i out of the list of its degree."""
    if g.next[i] != -1:
        g.previous[g.next[i]] = g.previous[i]
    if g.previous[i] != -1:
        g.next[g.previous[i]] = g.next[i]
    else:
        g.head[g.degree[i]] = g.next[i]


cdef inline void swallow(Graph *g, int32_t vertex, int32_t by) noexcept nogil:
    """An element or variable goes into another one."""
    g.parent[vertex] = by
    g.weight[vertex] = 0
    g.stamp[vertex] = 0


cdef void set_up(Graph *g, double dense) noexcept nogil:
    """Degree lists; dense rows leave the graph, isolated vertices are ordered at once."""
    cdef int32_t i
    for i in range(g.n):
        if g.length[i] > dense:
            g.elements[i] = IS_DENSE
            g.weight[i] = 0
            g.stamp[i] = 0
            g.eliminated += 1
    for i in range(g.n):
        if g.weight[i] == 0:
            continue
        if g.length[i] == 0:
            g.elements[i] = IS_ELEMENT
            g.stamp[i] = 0
            g.eliminated += 1
        else:
            enlist(g, i, g.length[i])


cdef int32_t take_pivot(Graph *g) noexcept nogil:
    """A variable of least approximate degree."""
    cdef int32_t pivot
    while g.head[g.lowest] == -1:
        g.lowest += 1
    pivot = g.head[g.lowest]
    delist(g, pivot)
    return pivot


cdef int64_t collect_garbage(Graph *g, int64_t keep_from) noexcept nogil:
    """Close the gaps between lists.

    The unfinished list that begins at `keep_from` stays the last; returns where it begins now.
    """
    cdef int32_t v
    cdef int64_t p, q = 0
    cdef int32_t _
    # The first entry of each list moves to `start`; its place names the owner.
    for v in range(g.n):
        if g.stamp[v] != 0 and g.length[v] > 0:
            p = g.start[v]
            g.start[v] = g.lists[p]
            g.lists[p] = ~v
    p = 0
    while p < keep_from:
        v = ~g.lists[p]
        p += 1
        if v < 0:
            continue
        g.lists[q] = <int32_t>g.start[v]
        g.start[v] = q
        q += 1
        for _ in range(g.length[v] - 1):
            g.lists[q] = g.lists[p]
            q += 1
            p += 1
    for p in range(keep_from, g.free):
        g.lists[q + p - keep_from] = g.lists[p]
    g.free = q + g.free - keep_from
    return q


cdef inline int32_t gather(Graph *g, int32_t i) noexcept nogil:
    """Claim variable i for the pivot's element: its weight, or 0 if it is claimed or gone."""
    cdef int32_t weight = g.weight[i]
    if weight <= 0:
        return 0
    g.weight[i] = -weight
    delist(g, i)
    return weight


cdef void form_in_place(Graph *g, int32_t pivot) noexcept nogil:
    """L_pivot of a pivot without elements: its own list, shrunk."""
    cdef int64_t p, q = g.start[pivot]
    cdef int32_t i, weight
    for p in range(g.start[pivot], g.start[pivot] + g.length[pivot]):
        i = g.lists[p]
        weight = gather(g, i)
        if weight:
            g.degree[pivot] += weight
            g.lists[q] = i
            q += 1
    g.length[pivot] = <int32_t>(q - g.start[pivot])


cdef void form_at_end(Graph *g, int32_t pivot) noexcept nogil:
    """L_pivot = (A_pivot and all L_e, e in E_pivot) without the pivot, as a new list.

    Every e is swallowed. What has been read of a list is cut off before garbage is collected.
    """
    cdef int64_t begin = g.free, p = g.start[pivot]
    cdef int32_t rest = g.length[pivot]
    cdef int32_t k, e, i, weight, source
    cdef int32_t count = g.elements[pivot]
    cdef int64_t q
    for k in range(count + 1):
        if k < count:
            e = g.lists[p]
            p += 1
            rest -= 1
            source = e
        else:
            source = pivot
            g.start[pivot] = p
            g.length[pivot] = rest
        q = g.start[source]
        while g.length[source] > 0:
            i = g.lists[q]
            q += 1
            g.length[source] -= 1
            weight = gather(g, i)
            if weight == 0:
                continue
            if g.free >= g.room:
                g.start[source] = q
                if source != pivot:
                    g.start[pivot] = p
                    g.length[pivot] = rest
                begin = collect_garbage(g, begin)
                q = g.start[source]
                p = g.start[pivot]
            g.degree[pivot] += weight
            g.lists[g.free] = i
            g.free += 1
        if source != pivot:
            swallow(g, e, pivot)
    g.start[pivot] = begin
    g.length[pivot] = <int32_t>(g.free - begin)


cdef void measure_outside(Graph *g, int32_t pivot) noexcept nogil:
    """stamp[e] - flag <- |L_e \\ L_pivot| for every element e next to a variable of L_pivot."""
    cdef int64_t p, q, stamp
    cdef int32_t i, e, weight
    for p in range(g.start[pivot], g.start[pivot] + g.length[pivot]):
        i = g.lists[p]
        weight = -g.weight[i]
        for q in range(g.start[i], g.start[i] + g.elements[i]):
            e = g.lists[q]
            stamp = g.stamp[e]
            if stamp >= g.flag:
                g.stamp[e] = stamp - weight
            elif stamp != 0:
                g.stamp[e] = g.degree[e] + g.flag - weight


cdef int32_t update_variables(Graph *g, int32_t pivot) noexcept nogil:
    """Lists, degrees and hash values of the variables of L_pivot; weight eliminated with it.

    Elements inside L_pivot are swallowed (aggressive absorption); a variable with no neighbour
    outside L_pivot is eliminated with the pivot (mass elimination).
    """
    cdef int64_t p
    cdef int32_t i, weight, gone = 0
    for p in range(g.start[pivot], g.start[pivot] + g.length[pivot]):
        i = g.lists[p]
        if not update_variable(g, i, pivot):
            weight = -g.weight[i]
            swallow(g, i, pivot)
            g.degree[pivot] -= weight
            gone += weight
    return gone


cdef inline bint update_variable(Graph *g, int32_t i, int32_t pivot) noexcept nogil:
    """False if variable i has no neighbour outside L_pivot."""
    cdef int64_t first = g.start[i], q = first, middle, p
    cdef int64_t degree = 0
    cdef uint64_t hash_value = 0
    cdef int32_t x
    for p in range(first, first + g.elements[i]):
        x = g.lists[p]
        if g.stamp[x] == 0:
            continue
        if g.stamp[x] > g.flag:
            degree += g.stamp[x] - g.flag
            hash_value += <uint64_t>x
            g.lists[q] = x
            q += 1
        else:
            swallow(g, x, pivot)
    middle = q
    for p in range(first + g.elements[i], first + g.length[i]):
        x = g.lists[p]
        if g.weight[x] > 0:
            degree += g.weight[x]
            hash_value += <uint64_t>x
            g.lists[q] = x
            q += 1
    if q == first:
        return False
    g.degree[i] = <int32_t>min(<int64_t>g.degree[i], degree)
    # The pivot comes first. At least one entry was dropped (the pivot or a swallowed element),
    # so there is a place for it: the first variable moves to the end, the first element to the
    # place of that variable.
    g.lists[q] = g.lists[middle]
    g.lists[middle] = g.lists[first]
    g.lists[first] = pivot
    g.elements[i] = <int32_t>(middle - first + 1)
    g.length[i] = <int32_t>(q - first + 1)
    x = <int32_t>(hash_value % <uint64_t>g.n)
    g.next[i] = g.bucket[x]
    g.bucket[x] = i
    g.previous[i] = x
    return True


cdef void find_supervariables(Graph *g, int32_t pivot) noexcept nogil:
    """Variables of L_pivot with equal lists become one; only equal hash values are compared."""
    cdef int64_t p, q
    cdef int32_t i, j, before
    for p in range(g.start[pivot], g.start[pivot] + g.length[pivot]):
        i = g.lists[p]
        if g.weight[i] == 0:
            continue
        j = g.previous[i]
        i = g.bucket[j]
        g.bucket[j] = -1
        while i != -1 and g.next[i] != -1:
            for q in range(g.start[i] + 1, g.start[i] + g.length[i]):
                g.stamp[g.lists[q]] = g.flag
            before = i
            j = g.next[i]
            while j != -1:
                if same_list(g, i, j):
                    g.weight[i] += g.weight[j]
                    swallow(g, j, i)
                    g.next[before] = g.next[j]
                else:
                    before = j
                j = g.next[j]
            g.flag += 1
            i = g.next[i]


cdef inline bint same_list(Graph *g, int32_t i, int32_t j) noexcept nogil:
    """Whether j has the list of i, whose entries carry the stamp `flag`."""
    cdef int64_t q
    if g.length[i] != g.length[j] or g.elements[i] != g.elements[j]:
        return False
    for q in range(g.start[j] + 1, g.start[j] + g.length[j]):
        if g.stamp[g.lists[q]] != g.flag:
            return False
    return True


cdef void finish_element(Graph *g, int32_t pivot, bint at_end) noexcept nogil:
    """The variables that are left go back to the degree lists; L_pivot lists only them."""
    cdef int64_t p, q = g.start[pivot]
    cdef int32_t i, weight
    for p in range(g.start[pivot], g.start[pivot] + g.length[pivot]):
        i = g.lists[p]
        weight = -g.weight[i]
        if weight == 0:
            continue
        g.weight[i] = weight
        enlist(g, i, <int32_t>min(<int64_t>g.degree[i] + g.degree[pivot] - weight,
                                  <int64_t>g.n - g.eliminated - weight))
        g.lists[q] = i
        q += 1
    g.length[pivot] = <int32_t>(q - g.start[pivot])
    g.weight[pivot] = 0
    g.stamp[pivot] = 1 if g.length[pivot] else 0
    if at_end:
        g.free = q


cdef void eliminate(Graph *g) noexcept nogil:
    """Eliminate all variables, a supervariable of least approximate degree at a time."""
    cdef int32_t pivot, largest = 0
    cdef bint at_end
    while g.eliminated < g.n:
        pivot = take_pivot(g)
        g.eliminated += g.weight[pivot]
        g.weight[pivot] = -g.weight[pivot]
        g.degree[pivot] = 0
        at_end = g.elements[pivot] > 0
        if at_end:
            form_at_end(g, pivot)
        else:
            form_in_place(g, pivot)
        g.elements[pivot] = IS_ELEMENT
        largest = max(largest, g.degree[pivot])
        measure_outside(g, pivot)
        g.eliminated += update_variables(g, pivot)
        g.flag += largest + 1
        find_supervariables(g, pivot)
        finish_element(g, pivot, at_end)


cdef void assembly_postorder(Graph *g, int32_t *perm) noexcept nogil:
    """Postorder of the forest of who swallowed whom; dense rows last.

    Below an element, the elements it swallowed come first: its own variables are eliminated
    together with it, after them.
    """
    cdef int32_t *child = g.head
    cdef int32_t *sibling = g.next
    cdef int32_t v, place = 0
    cdef bint elements
    for v in range(g.n):
        child[v] = -1
    for elements in range(2):
        for v in range(g.n - 1, -1, -1):
            if g.parent[v] != -1 and (g.elements[v] == IS_ELEMENT) == elements:
                sibling[v] = child[g.parent[v]]
                child[g.parent[v]] = v
    for v in range(g.n):
        if g.parent[v] != -1 or g.elements[v] == IS_DENSE:
            continue
        place = depth_first(v, child, sibling, g.previous, perm, place)
    for v in range(g.n):
        if g.elements[v] == IS_DENSE:
            perm[place] = v
            place += 1


cdef int32_t *filled(Py_ssize_t n, int32_t value, list owners):
    """An int32 array that `owners` keeps alive."""
    cdef int32_t[::1] array = np.full(n, value, dtype=np.int32)
    owners.append(array)
    return &array[0]


def amd(const int64_t[::1] indptr, const int32_t[::1] indices):
    """Approximate minimum degree ordering of a symmetric pattern.

    Quotient graph with element absorption, approximate external degrees, mass elimination,
    supervariables found by hashing, aggressive absorption, and rows of more than
    ``max(16, 10 sqrt(n))`` entries put last (Amestoy, Davis, Duff 1996, 2004).

    Parameters
    ----------
    indptr : (n + 1,) int64 memoryview
    indices : int32 memoryview
        Both triangles by column, without the diagonal and without repetition.

    Returns
    -------
    perm : (n,) int32 ndarray
        ``A[perm][:, perm]`` has a sparse Cholesky factor.
    """
    cdef Graph g
    cdef Py_ssize_t n = indptr.shape[0] - 1
    cdef Py_ssize_t v
    cdef int64_t nnz = indices.shape[0]
    cdef list owners = []
    cdef int64_t[::1] start, stamp
    cdef int32_t[::1] lists
    perm_array = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] perm = perm_array
    if n == 0:
        return perm_array
    start = np.array(indptr[:n])
    stamp = np.ones(n, dtype=np.int64)
    lists = np.empty(nnz + nnz // 5 + n, dtype=np.int32)
    g = Graph(n=<int32_t>n, room=lists.shape[0], free=nnz, eliminated=0, lowest=0, flag=2,
              lists=&lists[0], start=&start[0], stamp=&stamp[0],
              length=filled(n, 0, owners), elements=filled(n, 0, owners),
              weight=filled(n, 1, owners), degree=filled(n, 0, owners),
              parent=filled(n, -1, owners), head=filled(n, -1, owners),
              next=filled(n, -1, owners), previous=filled(n, -1, owners),
              bucket=filled(n, -1, owners))
    g.lowest = g.n - 1
    with nogil:
        for v in range(nnz):
            g.lists[v] = indices[v]
        for v in range(n):
            g.length[v] = <int32_t>(indptr[v + 1] - indptr[v])
        set_up(&g, max(16.0, 10.0 * sqrt(<double>n)))
        eliminate(&g)
        assembly_postorder(&g, &perm[0])
    return perm_array
