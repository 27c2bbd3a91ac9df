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

from libc.stdint cimport INT32_MAX, int32_t, int64_t

import numpy as np

from sparsechol._core.symbolic.forest cimport depth_first


def inverse_permutation(const int32_t[::1] perm):
    """Where each number stands in a permutation."""
    cdef int32_t k
    inverse_array = np.empty(perm.shape[0], dtype=np.int32)
    cdef int32_t[::1] inverse = inverse_array
    with nogil:
        for k in range(<int32_t>perm.shape[0]):
            inverse[perm[k]] = k
    return inverse_array


def renumber(const int32_t[::1] parent, const int32_t[::1] order, const int32_t[::1] inverse):
    """Parents of a forest whose node `order[k]` becomes node k."""
    cdef int32_t k, above
    parent_array = np.empty(parent.shape[0], dtype=np.int32)
    cdef int32_t[::1] renumbered = parent_array
    with nogil:
        for k in range(<int32_t>parent.shape[0]):
            above = parent[order[k]]
            renumbered[k] = inverse[above] if above != -1 else -1
    return parent_array


def permuted_triangle(const int64_t[::1] indptr, const int32_t[::1] indices,
                      const int32_t[::1] inverse, bint traced=False):
    """Rows above the diagonal of the permuted pattern, by column, and the entries they came from.

    Parameters
    ----------
    indptr, indices : lower triangle of the original pattern, each column with its diagonal first.
    inverse : inverse permutation.
    traced : whether `sources` is wanted; otherwise it is empty.

    Returns
    -------
    starts, members, sources : ndarray
        List `j` is ``members[starts[j]:starts[j + 1]]``. ``sources`` holds the position in
        `indices`; it is complemented (``~p``) where the entry changed triangles, so that the
        lower triangle has the conjugate of a Hermitian value there.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1
    cdef Py_ssize_t j
    cdef int64_t p, q, total = 0, length
    cdef int32_t a, b
    starts_array = np.empty(n + 1, dtype=np.int64)
    members_array = np.empty(indptr[n] - n, dtype=np.int32)
    sources_array = np.empty(indptr[n] - n if traced else 0, dtype=np.int64)
    cdef int64_t[::1] starts = starts_array
    cdef int64_t[::1] heads = starts_array[1:]      # they end up where the lists end
    cdef int32_t[::1] members = members_array
    cdef int64_t[::1] sources = sources_array
    with nogil:
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
                if traced:
                    sources[q] = ~p if a < b else p
    return starts_array, members_array, sources_array


def neighbors(const int64_t[::1] starts, const int32_t[::1] members,
              const int32_t[::1] order, const int32_t[::1] inverse):
    """Places of the neighbors of each vertex in an order, those up to it first.

    Returns
    -------
    places, start, middle, end : ndarray
        Up to ``order[i]`` come the vertices at ``places[start[i]:middle[i]]``, itself among them if
        it is listed, after it those at ``places[middle[i]:end[i]]``.
    """
    cdef Py_ssize_t n = order.shape[0]
    cdef int32_t i, k
    cdef int64_t p, low, high, top = 0
    place_array = np.empty(members.shape[0], dtype=np.int32)
    start_array = np.empty(n, dtype=np.int64)
    middle_array = np.empty(n, dtype=np.int64)
    end_array = np.empty(n, dtype=np.int64)
    cdef int32_t[::1] places = place_array
    cdef int64_t[::1] start = start_array
    cdef int64_t[::1] middle = middle_array
    cdef int64_t[::1] end = end_array
    with nogil:
        for i in range(n):
            low = top
            top += starts[order[i] + 1] - starts[order[i]]
            high = top - 1
            start[i] = low
            for p in range(starts[order[i]], starts[order[i] + 1]):
                k = inverse[members[p]]
                places[low] = places[high] = k      # at one end it is kept
                low += k <= i
                high -= k > i
            middle[i] = high + 1
            end[i] = top
    return place_array, start_array, middle_array, end_array


def elimination_tree(const int32_t[::1] places, const int64_t[::1] start,
                     const int64_t[::1] end):
    """Parents in the elimination tree (Liu 1990, algorithm 4.2), -1 for a root.

    ``places[start[i]:end[i]]`` are the rows above the diagonal of column i.
    """
    cdef Py_ssize_t n = start.shape[0]
    cdef int32_t i, k, above
    cdef int64_t p
    parent_array = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] parent = parent_array
    cdef int32_t[::1] ancestor = np.empty(n, dtype=np.int32)
    with nogil:
        for i in range(n):
            parent[i] = -1
            ancestor[i] = INT32_MAX
            for p in range(start[i], end[i]):
                # Climb from k to its root; hang the root below i and shorten the path to i.
                k = places[p]
                while k < i:
                    above = ancestor[k]
                    ancestor[k] = i
                    if above == INT32_MAX:
                        parent[k] = i
                    k = above
    return parent_array


def postorder(const int32_t[::1] parent):
    """Postorder of a forest whose parents have larger numbers; children in ascending order."""
    cdef Py_ssize_t n = parent.shape[0]
    cdef int32_t j, following, place = 0, root = -1
    order_array = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] order = order_array
    cdef int32_t[:, ::1] work = np.empty((3, n), dtype=np.int32)
    cdef int32_t[::1] child = work[0]
    cdef int32_t[::1] sibling = work[1]
    if n == 0:
        return order_array
    with nogil:
        for j in range(<int32_t>n):
            child[j] = -1
        for j in range(<int32_t>n - 1, -1, -1):
            if parent[j] == -1:
                sibling[j] = root
                root = j
            else:
                sibling[j] = child[parent[j]]
                child[parent[j]] = j
        while root != -1:
            following = sibling[root]
            place = depth_first(root, &child[0], &sibling[0], &work[2, 0], &order[0], place)
            root = following
    return order_array


cdef inline int32_t find_root(int32_t[::1] ancestor, int32_t node) noexcept nogil:
    """Root of the set of `node`, with path halving."""
    while ancestor[node] != node:
        ancestor[node] = ancestor[ancestor[node]]
        node = ancestor[node]
    return node


def column_counts(const int32_t[::1] parent, const int32_t[::1] places,
                  const int64_t[::1] start, const int64_t[::1] end, const int32_t[::1] weight,
                  const int32_t[::1] post, const int32_t[::1] inverse):
    """Entries in each column of L, diagonal included (Gilbert, Ng, Peyton 1994, figure 3).

    Node j of the tree, in postorder, was at place `k = post[j]` before, and `inverse` says the
    same; ``places[start[k]:end[k]]`` are the places of its rows below the diagonal. Node j stands
    for ``weight[j]`` rows with equal neighbors, of which the first is counted. Row i of L is a
    subtree of the tree; every leaf of it adds the weight of i to the column counts above, and where
    two leaves meet it is taken off again.
    """
    cdef Py_ssize_t n = parent.shape[0]
    cdef int32_t i, j, previous
    cdef int64_t p
    count_array = np.empty(n, dtype=np.int64)
    cdef int64_t[::1] count = count_array
    cdef int32_t[:, ::1] work = np.empty((4, n), dtype=np.int32)
    cdef int32_t[::1] descendant = work[0]      # first descendant
    cdef int32_t[::1] seen = work[1]            # its largest so far, by row
    cdef int32_t[::1] leaf = work[2]            # latest leaf, by row
    cdef int32_t[::1] ancestor = work[3]
    with nogil:
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
            for p in range(start[post[j]], end[post[j]]):
                i = inverse[places[p]]
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
    return count_array


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
