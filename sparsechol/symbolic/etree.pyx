"""Elimination tree, postorder and column counts of a permuted symmetric pattern.

Patterns are lower triangles by column (`indptr` int64, `indices` int32) with the diagonal
present. A permutation is given by its inverse: `inverse[i]` is the place of the original row `i`.

References
----------
Liu, J. W. H. (1990). The role of elimination trees in sparse factorization.
    SIAM J. Matrix Anal. Appl. 11(1), 134-172.
Gilbert, J. R., Ng, E. G., Peyton, B. W. (1994). An efficient algorithm to compute row and
    column counts for sparse Cholesky factorization. SIAM J. Matrix Anal. Appl. 15(4), 1075-1091.
"""

from libc.stdint cimport int32_t, int64_t

import numpy as np

from sparsechol.symbolic.forest cimport depth_first


cdef void cumulate(int64_t[::1] counts) noexcept nogil:
    """Turn counts in `counts[1:]` into starts: `counts[j]` becomes the start of list `j`."""
    cdef Py_ssize_t j
    for j in range(1, counts.shape[0]):
        counts[j] += counts[j - 1]


def permuted_triangle(const int64_t[::1] indptr, const int32_t[::1] indices,
                      const int32_t[::1] inverse, bint upper, bint traced=False):
    """Strict triangle of the permuted pattern, by column, and the entry each position came from.

    Parameters
    ----------
    indptr, indices : lower triangle of the original pattern.
    inverse : inverse permutation.
    upper : True lists for each column the rows above the diagonal, False those below it.
    traced : whether `sources` is wanted; otherwise it is empty.

    Returns
    -------
    starts, members, sources : ndarray
        List `j` is ``members[starts[j]:starts[j + 1]]``. ``sources`` holds the position in
        `indices`; it is complemented (``~p``) where the entry changed triangles, so that a
        Hermitian value must be conjugated.
    """
    cdef Py_ssize_t n = indptr.shape[0] - 1
    cdef Py_ssize_t j
    cdef int64_t p, q, total = 0
    cdef int32_t a, b, column, row
    starts_array = np.zeros(n + 1, dtype=np.int64)
    cdef int64_t[::1] starts = starts_array
    cdef int64_t[::1] heads
    cdef int32_t[::1] members
    cdef int64_t[::1] sources

    with nogil:
        for j in range(n):
            b = inverse[j]
            for p in range(indptr[j], indptr[j + 1]):
                if indices[p] == j:
                    continue
                a = inverse[indices[p]]
                column = max(a, b) if upper else min(a, b)
                starts[column + 1] += 1
        cumulate(starts)
        total = starts[n]
    heads = starts_array[:n].copy()
    members_array = np.empty(total, dtype=np.int32)
    sources_array = np.empty(total if traced else 0, dtype=np.int64)
    members = members_array
    sources = sources_array
    with nogil:
        for j in range(n):
            b = inverse[j]
            for p in range(indptr[j], indptr[j + 1]):
                if indices[p] == j:
                    continue
                a = inverse[indices[p]]
                column, row = (max(a, b), min(a, b)) if upper else (min(a, b), max(a, b))
                q = heads[column]
                heads[column] += 1
                members[q] = row
                if traced:
                    sources[q] = ~p if a < b else p
    return starts_array, members_array, sources_array


def below_diagonal(const int64_t[::1] starts, const int32_t[::1] members,
                   const int32_t[::1] order, const int32_t[::1] inverse):
    """Rows below the diagonal by column, ascending, from the columns above it by row.

    Node `order[k]` becomes node k, and `inverse` says the same; the order must keep every row
    after the columns in its list, as a postorder of the elimination tree does.
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef Py_ssize_t j
    cdef int32_t i, row, column
    cdef int64_t p
    start_array = np.zeros(n + 1, dtype=np.int64)
    row_array = np.empty(members.shape[0], dtype=np.int32)
    cdef int64_t[::1] start = start_array
    cdef int32_t[::1] rows = row_array
    cdef int64_t[::1] head
    with nogil:
        for p in range(members.shape[0]):
            start[inverse[members[p]] + 1] += 1
        cumulate(start)
    head = start_array[:n].copy()
    with nogil:
        for j in range(n):
            row = <int32_t>j
            i = order[j]
            for p in range(starts[i], starts[i + 1]):
                column = inverse[members[p]]
                rows[head[column]] = row
                head[column] += 1
    return start_array, row_array


def elimination_tree(const int64_t[::1] starts, const int32_t[::1] members):
    """Parents in the elimination tree (Liu 1990, algorithm 4.2), -1 for a root.

    `starts`, `members` list for each column the rows above the diagonal.
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int32_t i, k, above
    cdef int64_t p
    parent_array = np.full(n, -1, dtype=np.int32)
    cdef int32_t[::1] parent = parent_array
    cdef int32_t[::1] ancestor = np.full(n, -1, dtype=np.int32)
    with nogil:
        for i in range(n):
            for p in range(starts[i], starts[i + 1]):
                # Climb from k to its root; hang the root below i and shorten the path to i.
                k = members[p]
                while k != -1 and k != i:
                    above = ancestor[k]
                    ancestor[k] = i
                    if above == -1:
                        parent[k] = i
                    k = above
    return parent_array


def postorder(const int32_t[::1] parent):
    """Postorder of a forest whose parents have larger numbers; children in ascending order."""
    cdef Py_ssize_t n = parent.shape[0]
    cdef int32_t j, following, place = 0
    order_array = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] order = order_array
    cdef int32_t[::1] child = np.full(n, -1, dtype=np.int32)
    cdef int32_t[::1] sibling = np.full(n, -1, dtype=np.int32)
    cdef int32_t[::1] stack = np.empty(n, dtype=np.int32)
    cdef int32_t root = -1
    if n == 0:
        return order_array
    with nogil:
        for j in range(<int32_t>n - 1, -1, -1):
            if parent[j] == -1:
                sibling[j] = root
                root = j
            else:
                sibling[j] = child[parent[j]]
                child[parent[j]] = j
        while root != -1:
            following = sibling[root]
            place = depth_first(root, &child[0], &sibling[0], &stack[0], &order[0], place)
            root = following
    return order_array


cdef inline int32_t find_root(int32_t[::1] ancestor, int32_t node) noexcept nogil:
    """Root of the set of `node`, with path halving."""
    while ancestor[node] != node:
        ancestor[node] = ancestor[ancestor[node]]
        node = ancestor[node]
    return node


def column_counts(const int32_t[::1] parent, const int64_t[::1] starts,
                  const int32_t[::1] members):
    """Entries in each column of L, diagonal included (Gilbert, Ng, Peyton 1994, figure 3).

    The columns must be numbered in postorder; `starts`, `members` list for each column the rows
    below the diagonal. Row i of L is a subtree of the tree; every leaf of it adds one to the
    column counts above, and where two leaves meet one is taken off again.
    """
    cdef Py_ssize_t n = parent.shape[0]
    cdef int32_t i, j, previous
    cdef int64_t p
    count_array = np.ones(n, dtype=np.int64)
    cdef int64_t[::1] count = count_array
    cdef int32_t[::1] descendant = np.arange(n, dtype=np.int32)      # first descendant
    cdef int32_t[::1] seen = np.full(n, -1, dtype=np.int32)          # its largest so far, by row
    cdef int32_t[::1] leaf = np.full(n, -1, dtype=np.int32)          # latest leaf, by row
    cdef int32_t[::1] ancestor = np.arange(n, dtype=np.int32)
    with nogil:
        for j in range(n):
            if parent[j] != -1:
                descendant[parent[j]] = min(descendant[parent[j]], descendant[j])
                count[parent[j]] = 0        # only leaves of the tree start with their diagonal
        for j in range(n):
            if parent[j] != -1:
                count[parent[j]] -= 1
            for p in range(starts[j], starts[j + 1]):
                i = members[p]
                if descendant[j] <= seen[i]:
                    continue
                seen[i] = descendant[j]
                count[j] += 1
                previous = leaf[i]
                leaf[i] = j
                if previous != -1:
                    count[find_root(ancestor, previous)] -= 1
            if parent[j] != -1:
                ancestor[j] = parent[j]
        for j in range(n):
            if parent[j] != -1:
                count[parent[j]] += count[j]
    return count_array
