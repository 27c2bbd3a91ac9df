"""Elimination tree, postorder and column counts of a permuted symmetric pattern.

A pattern is a lower triangle by column (`indptr` int64, `indices` int32) with the diagonal present,
or a graph: lists of neighbors. `order[k]` is the row or vertex at place k, and `inverse` says
where each one is.

References
----------
Liu, J. W. H. (1990). The role of elimination trees in sparse factorization.
    SIAM J. Matrix Anal. Appl. 11(1), 134-172.
Gilbert, J. R., Ng, E. G., Peyton, B. W. (1994). An efficient algorithm to compute row and
    column counts for sparse Cholesky factorization. SIAM J. Matrix Anal. Appl. 15(4), 1075-1091.
"""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free

import numpy as np

from sparsechol._core.symbolic.blocks cimport (
    Block, ints, ints_in, longs, longs_in, workspace,
)
from sparsechol._core.symbolic.forest cimport depth_first


def inverse_permutation(const int32_t[::1] perm):
    """Where each number stands in a permutation."""
    inverse_array = np.empty(perm.shape[0], dtype=np.int32)
    cdef int32_t[::1] inverse = inverse_array
    if perm.shape[0]:
        invert(<int32_t>perm.shape[0], &perm[0], &inverse[0])
    return inverse_array


cdef void invert(int32_t n, const int32_t *perm, int32_t *inverse) noexcept nogil:
    """Write where each number stands in a permutation."""
    cdef int32_t k
    for k in range(n):
        inverse[perm[k]] = k


def renumber(const int32_t[::1] parent, const int32_t[::1] order, const int32_t[::1] inverse):
    """Parents of a forest whose node `order[k]` becomes node k."""
    parent_array = np.empty(parent.shape[0], dtype=np.int32)
    cdef int32_t[::1] renumbered = parent_array
    if parent.shape[0]:
        renumber_parents(<int32_t>parent.shape[0], &parent[0], &order[0], &inverse[0],
                         &renumbered[0])
    return parent_array


cdef void renumber_parents(int32_t n, const int32_t *parent, const int32_t *order,
                           const int32_t *inverse, int32_t *renumbered) noexcept nogil:
    """The same."""
    cdef int32_t k, above
    for k in range(n):
        above = parent[order[k]]
        renumbered[k] = inverse[above] if above != -1 else -1


def permuted_triangle(const int64_t[::1] indptr, const int32_t[::1] indices,
                      const int32_t[::1] inverse):
    """Rows above the diagonal of the permuted pattern, by column, and the entries they came from.

    Parameters
    ----------
    indptr, indices : lower triangle of the original pattern, each column with its diagonal first.
    inverse : inverse permutation.

    Returns
    -------
    starts, members, sources : ndarray
        List `j` is ``members[starts[j]:starts[j + 1]]``. ``sources`` holds the position in
        `indices`; it is complemented (``~p``) where the entry changed triangles, so that the
        lower triangle has the conjugate of a Hermitian value there.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1
    starts_array = np.zeros(n + 1, dtype=np.int64)
    members_array = np.empty(indptr[n] - n, dtype=np.int32)
    sources_array = np.empty(indptr[n] - n, dtype=np.int64)
    cdef int64_t[::1] starts = starts_array
    if n:
        list_upper_triangle(
            <int32_t>n, &indptr[0], &indices[0], &inverse[0], &starts[0],
            <int32_t *>ints_in(members_array), <int64_t *>longs_in(sources_array))
    return starts_array, members_array, sources_array


cdef void list_upper_triangle(int32_t n, const int64_t *indptr, const int32_t *indices,
                              const int32_t *inverse, int64_t *starts, int32_t *members,
                              int64_t *sources) noexcept nogil:
    """The same: (n + 1) starts, and as many members and sources as entries off the diagonal."""
    cdef int64_t *heads = starts + 1        # they end up where the lists end
    cdef int32_t a, b, j
    cdef int64_t p, q, total = 0, length
    for j in range(n + 1):
        starts[j] = 0
    for j in range(n):
        b = inverse[j]
        for p in range(indptr[j] + 1, indptr[j + 1]):
            heads[max(inverse[indices[p]], b)] += 1
    for j in range(n):
        length = heads[j]
        heads[j] = total
        total += length
    for j in range(n):
        b = inverse[j]
        for p in range(indptr[j] + 1, indptr[j + 1]):
            a = inverse[indices[p]]
            q = heads[max(a, b)]
            heads[max(a, b)] += 1
            members[q] = min(a, b)
            sources[q] = ~p if a < b else p


cdef struct Lists:
    # Places of the neighbors of each vertex in an order, those up to it first: up to i come
    # place[start[i]:middle[i]], itself among them if it is listed, and after it
    # place[middle[i]:end[i]].
    int32_t *place          # as many as members of the graph
    int64_t *start          # (n)
    int64_t *middle
    int64_t *end


cdef struct Work:
    # Workspace for the tree of n vertices.
    Lists lists
    int32_t *inverse        # (n) each
    int32_t *parent
    int32_t *back           # inverse of its postorder
    int32_t *spare          # (4, n)


def vertex_tree(const int64_t[::1] starts, const int32_t[::1] members,
                const int32_t[::1] weight, const int32_t[::1] order):
    """Tree of a graph whose vertices, of `weight` rows each, are eliminated in an order.

    Parameters
    ----------
    starts, members : the neighbors of each vertex, with or without itself.
    weight : rows of each vertex.
    order : the vertex at each place.

    Returns
    -------
    post : postorder: node j is vertex ``order[post[j]]``.
    parent, counts, weight : of each node; the count is that of its first row.
    """
    return tree_of_graph(order.shape[0], longs_in(starts), ints_in(members), members.shape[0],
                         ints_in(weight), ints_in(order))


cdef tuple tree_of_graph(Py_ssize_t n, const int64_t *starts, const int32_t *members,
                         Py_ssize_t entries, const int32_t *weight, const int32_t *order):
    """The same; `entries` is the number of members."""
    cdef Py_ssize_t j
    cdef Work work
    cdef uint8_t *memory
    post_array = np.empty(n, dtype=np.int32)
    parent_array = np.empty(n, dtype=np.int32)
    count_array = np.empty(n, dtype=np.int64)
    weight_array = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] post = post_array
    cdef int32_t[::1] parent = parent_array
    cdef int64_t[::1] count = count_array
    cdef int32_t[::1] rows = weight_array
    if n == 0:
        return post_array, parent_array, count_array, weight_array
    memory = workspace(lay_out(&work, NULL, n, entries))
    lay_out(&work, memory, n, entries)
    with nogil:
        invert(<int32_t>n, order, work.inverse)
        list_neighbors(n, starts, members, order, work.inverse, &work.lists)
        find_parents(n, &work.lists, work.parent, work.spare)
        list_postorder(<int32_t>n, work.parent, &post[0], work.spare)
        invert(<int32_t>n, &post[0], work.back)
        renumber_parents(<int32_t>n, work.parent, &post[0], work.back, &parent[0])
        for j in range(n):
            rows[j] = weight[order[post[j]]]
        count_columns(n, &parent[0], &work.lists, &rows[0], &post[0], work.back, work.spare,
                      &count[0])
        free(memory)
    return post_array, parent_array, count_array, weight_array


cdef int64_t lay_out(Work *work, uint8_t *start, int64_t n, int64_t members) noexcept nogil:
    """Place the workspace in a block of memory; returns its bytes."""
    cdef Block block = Block(start=start, used=0)
    work.lists.place = ints(&block, members)
    work.lists.start = longs(&block, n)
    work.lists.middle = longs(&block, n)
    work.lists.end = longs(&block, n)
    work.inverse = ints(&block, n)
    work.parent = ints(&block, n)
    work.back = ints(&block, n)
    work.spare = ints(&block, 4 * n)
    return block.used


cdef void list_neighbors(Py_ssize_t n, const int64_t *starts, const int32_t *members,
                         const int32_t *order, const int32_t *inverse,
                         Lists *lists) noexcept nogil:
    """Fill in the lists."""
    cdef int32_t *places = lists.place
    cdef int32_t i, k
    cdef int64_t p, low, high, top = 0
    for i in range(n):
        low = top
        top += starts[order[i] + 1] - starts[order[i]]
        high = top - 1
        lists.start[i] = low
        for p in range(starts[order[i]], starts[order[i] + 1]):
            k = inverse[members[p]]
            places[low] = places[high] = k      # at one end it is kept
            low += k <= i
            high -= k > i
        lists.middle[i] = high + 1
        lists.end[i] = top


cdef void find_parents(Py_ssize_t n, const Lists *lists, int32_t *parent,
                       int32_t *ancestor) noexcept nogil:
    """Parents in the elimination tree (Liu 1990, algorithm 4.2), -1 for a root."""
    cdef int32_t i, k, above
    cdef int64_t p
    for i in range(n):
        parent[i] = -1
        ancestor[i] = INT32_MAX
        for p in range(lists.start[i], lists.middle[i]):
            # Climb from k to its root; hang the root below i and shorten the path to i.
            k = lists.place[p]
            while k < i:
                above = ancestor[k]
                ancestor[k] = i
                if above == INT32_MAX:
                    parent[k] = i
                k = above


def postorder(const int32_t[::1] parent):
    """Postorder of a forest whose parents have larger numbers; children in ascending order."""
    cdef Py_ssize_t n = parent.shape[0]
    order_array = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] order = order_array
    cdef int32_t[::1] work = np.empty(3 * n, dtype=np.int32)
    if n:
        list_postorder(<int32_t>n, &parent[0], &order[0], &work[0])
    return order_array


cdef void list_postorder(int32_t n, const int32_t *parent, int32_t *order,
                         int32_t *work) noexcept nogil:
    """The same; workspace is (3, n)."""
    cdef int32_t j, following, place = 0, root = -1
    cdef int32_t *child = work
    cdef int32_t *sibling = work + n
    for j in range(n):
        child[j] = -1
    for j in range(n - 1, -1, -1):
        if parent[j] == -1:
            sibling[j] = root
            root = j
        else:
            sibling[j] = child[parent[j]]
            child[parent[j]] = j
    while root != -1:
        following = sibling[root]
        place = depth_first(root, child, sibling, work + 2 * <Py_ssize_t>n, order, place)
        root = following


cdef inline int32_t find_root(int32_t *ancestor, int32_t node) noexcept nogil:
    """Root of the set of `node`, with path halving."""
    while ancestor[node] != node:
        ancestor[node] = ancestor[ancestor[node]]
        node = ancestor[node]
    return node


cdef void count_columns(Py_ssize_t n, const int32_t *parent, const Lists *lists,
                        const int32_t *weight, const int32_t *post, const int32_t *inverse,
                        int32_t *work, int64_t *count) noexcept nogil:
    """Entries in each column of L, diagonal included (Gilbert, Ng, Peyton 1994, figure 3).

    Node j of the tree, in postorder, was at place `k = post[j]` before, and `inverse` says the
    same; the lists are those of k. Node j stands for ``weight[j]`` rows with equal neighbors, of
    which the first is counted. Row i of L is a subtree of the tree; every leaf of it adds the
    weight of i to the column counts above, and where two leaves meet it is taken off again.
    """
    cdef int32_t *descendant = work             # first descendant
    cdef int32_t *seen = work + n               # its largest so far, by row
    cdef int32_t *leaf = work + 2 * n           # latest leaf, by row
    cdef int32_t *ancestor = work + 3 * n
    cdef int32_t i, j, previous
    cdef int64_t p
    for j in range(n):
        count[j] = weight[j]
        descendant[j] = ancestor[j] = j
        seen[j] = leaf[j] = -1
    for j in range(n):
        if parent[j] != -1:
            descendant[parent[j]] = min(descendant[parent[j]], descendant[j])
            count[parent[j]] = 0        # only leaves of the tree start with their diagonal
    for j in range(n):
        if parent[j] != -1:
            count[parent[j]] -= weight[j]
        for p in range(lists.middle[post[j]], lists.end[post[j]]):
            i = inverse[lists.place[p]]
            if descendant[j] <= seen[i]:
                continue
            seen[i] = descendant[j]
            count[j] += weight[i]
            previous = leaf[i]
            leaf[i] = j
            if previous != -1:
                count[find_root(ancestor, previous)] -= weight[i]
        if parent[j] != -1:
            ancestor[j] = parent[j]
    for j in range(n):
        if parent[j] != -1:
            count[parent[j]] += count[j]


def totals(const int64_t[::1] count):
    """The sum of the column counts, and of their squares."""
    cdef Py_ssize_t j
    cdef int64_t entries = 0
    cdef double flops = 0
    for j in range(count.shape[0]):
        entries += count[j]
        flops += <double>count[j] * <double>count[j]
    return entries, flops


def columns_of(const int32_t[::1] parent, const int64_t[::1] count, const int32_t[::1] weight,
               Py_ssize_t columns):
    """Tree and counts of columns from those of nodes that stand for `weight` columns each.

    The columns of a node are a chain, each with an entry less than the one before.
    """
    cdef Py_ssize_t nodes = parent.shape[0]
    cdef int32_t j, k, column = 0
    parent_array = np.empty(columns, dtype=np.int32)
    count_array = np.empty(columns, dtype=np.int64)
    cdef int32_t[::1] above = parent_array
    cdef int64_t[::1] length = count_array
    cdef int32_t[::1] first = np.empty(nodes, dtype=np.int32)
    with nogil:
        for j in range(nodes):
            first[j] = column
            column += weight[j]
        for j in range(nodes):
            column = first[j]
            for k in range(weight[j]):
                above[column + k] = column + k + 1
                length[column + k] = count[j] - k
            above[column + weight[j] - 1] = first[parent[j]] if parent[j] != -1 else -1
    return parent_array, count_array
