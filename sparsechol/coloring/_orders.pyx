"""Orders in which a greedy coloring takes the vertices.

Degrees count the neighbors at distance one in a graph (`back` empty), or at distance two in a
bipartite graph. There rows with more than `DENSE` entries are left out: the vertices of such a row
all need different colors, whatever the order.

References
----------
Gebremedhin, A. H., Nguyen, D., Patwary, M. M. A., Pothen, A. (2013). ColPack: software for graph
    coloring and related problems in scientific computing. ACM Trans. Math. Softw. 40(1), article 1.
Matula, D. W., Beck, L. L. (1983). Smallest-last ordering and clustering and graph coloring
    algorithms. J. ACM 30(3), 417-427.
"""

from libc.stdint cimport int32_t, int64_t

import numpy as np

from sparsechol._core.parallel.pool cimport pool_begin, pool_call, pool_end, pool_stopped

cdef enum:
    DENSE = 4096

SMALLEST_LAST, INCIDENCE_DEGREE, DYNAMIC_LARGEST_FIRST = range(3)


cdef int64_t neighbors(int32_t v, const int64_t[::1] starts, const int32_t[::1] members,
                       const int64_t[::1] back, const int32_t[::1] vertices, int32_t[::1] mark,
                       int32_t stamp, int32_t[::1] found) noexcept nogil:
    """Write the neighbors of a vertex to `found`, each once; return their number."""
    cdef int64_t p, k, r, count = 0
    cdef int32_t x
    if back.shape[0] == 0:
        for p in range(starts[v], starts[v + 1]):
            found[count] = members[p]
            count += 1
        return count
    mark[v] = stamp
    for p in range(starts[v], starts[v + 1]):
        r = members[p]
        if back[r + 1] - back[r] > DENSE:
            continue
        for k in range(back[r], back[r + 1]):
            x = vertices[k]
            if mark[x] != stamp:
                mark[x] = stamp
                found[count] = x
                count += 1
    return count


def degrees(const int64_t[::1] starts, const int32_t[::1] members, const int64_t[::1] back,
            const int32_t[::1] vertices):
    """Count the neighbors of each vertex."""
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int32_t v
    cdef int32_t[::1] mark = np.full(n, -1, np.int32)
    cdef int32_t[::1] found = np.empty(max(n, 1), np.int32)
    out = np.empty(n, np.int32)
    cdef int32_t[::1] degree = out
    cdef pool_call call
    pool_begin(&call)
    with nogil:
        for v in range(n):
            if pool_stopped(64 * (1 + starts[v + 1] - starts[v])):
                break
            degree[v] = <int32_t>neighbors(v, starts, members, back, vertices, mark, v, found)
    pool_end(&call)
    return out


cdef struct Buckets:
    # A doubly linked list of the vertices of each key, the last one put in first.
    int32_t *head
    int32_t *after
    int32_t *before


cdef void put(Buckets *b, int32_t v, int32_t key) noexcept nogil:
    """Put a vertex into the list of a key."""
    b.after[v], b.before[v] = b.head[key], -1
    if b.head[key] >= 0:
        b.before[b.head[key]] = v
    b.head[key] = v


cdef void take(Buckets *b, int32_t v, int32_t key) noexcept nogil:
    """Take a vertex out of the list of its key."""
    if b.before[v] >= 0:
        b.after[b.before[v]] = b.after[v]
    else:
        b.head[key] = b.after[v]
    if b.after[v] >= 0:
        b.before[b.after[v]] = b.before[v]


def dynamic_order(const int64_t[::1] starts, const int32_t[::1] members, const int64_t[::1] back,
                  const int32_t[::1] vertices, const int32_t[::1] degree, int kind):
    """Order the vertices by degrees among the vertices that are left, or that have been taken.

    SMALLEST_LAST takes the vertex with fewest neighbors left, and reverses the order at the end.
    DYNAMIC_LARGEST_FIRST takes the vertex with most neighbors left. INCIDENCE_DEGREE takes the
    vertex with most neighbors taken; on a chordal graph that is the reverse of a perfect
    elimination order (maximum cardinality search).
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int32_t v, x, key, t, largest = 0
    cdef int32_t change = 1 if kind == 1 else -1
    cdef int64_t q, count
    cdef int32_t[::1] mark = np.full(n, -1, np.int32)
    cdef int32_t[::1] found = np.empty(max(n, 1), np.int32)
    cdef int32_t[::1] keys = np.array(degree) if kind != 1 else np.zeros(n, np.int32)
    cdef int32_t[::1] after = np.empty(max(n, 1), np.int32)
    cdef int32_t[::1] before = np.empty(max(n, 1), np.int32)
    cdef int32_t[::1] head
    out = np.empty(n, np.int32)
    cdef int32_t[::1] order = out
    cdef Buckets buckets
    if degree.shape[0] != n:
        raise ValueError("there must be a degree for each vertex")
    for v in range(n):
        largest = max(largest, degree[v])
    head = np.full(<int64_t>largest + 2, -1, np.int32)
    buckets.head, buckets.after, buckets.before = &head[0], &after[0], &before[0]
    cdef pool_call call
    pool_begin(&call)
    with nogil:
        for v in range(<int32_t>n - 1, -1, -1):
            put(&buckets, v, keys[v])
        key = 0 if kind == 0 else largest
        for t in range(n):
            if kind == 0:
                key = max(key - 1, 0)
                while head[key] < 0:
                    key += 1
            else:
                key = min(key + 1, largest)
                while head[key] < 0:
                    key -= 1
            v = head[key]
            if pool_stopped(64 * (1 + starts[v + 1] - starts[v])):
                break
            take(&buckets, v, key)
            keys[v] = -1
            order[n - 1 - t if kind == 0 else t] = v
            count = neighbors(v, starts, members, back, vertices, mark, t, found)
            for q in range(count):
                x = found[q]
                if keys[x] >= 0:
                    take(&buckets, x, keys[x])
                    keys[x] += change
                    put(&buckets, x, keys[x])
    pool_end(&call)
    return out
