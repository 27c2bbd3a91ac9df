"""Greedy partial distance-2 coloring: vertices that share a neighbor get different colors.

The vertices are the columns of a matrix and their neighbors its rows, or the other way round:
list `v` of `starts`, `members` holds the neighbors of vertex `v`, list `r` of `back`, `vertices`
the vertices that have neighbor `r`. The graph of vertices at distance two is never built.

References
----------
Gebremedhin, A. H., Manne, F., Pothen, A. (2005). What color is your Jacobian? Graph coloring for
    computing derivatives. SIAM Review 47(4), 629-705. Algorithm 3.1.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, realloc

import numpy as np

from sparsechol._core.parallel.pool cimport pool_begin, pool_call, pool_end, pool_stopped

cdef extern from *:
    """
    static inline int lowest_bit(unsigned long long x) { return __builtin_ctzll(x); }
    """
    int lowest_bit(uint64_t x) nogil


# Each row knows which of the first 64 colors it has, and that is mostly enough. If the rows of a
# vertex have all 64, the vertex looks at all other vertices of its rows; of a dense row it looks at
# the set of colors instead, 64 at a time. A row is dense if that is cheaper; the sets need no more
# memory than the matrix.
cdef struct DenseRows:
    uint64_t *sets  # (count, words)
    int64_t count
    int64_t words


cdef bint widen(DenseRows *dense, int64_t colors) noexcept nogil:
    """Make room for that many colors in each set; return False if memory is short."""
    cdef int64_t words = (colors + 63) // 64, old = dense.words, r, k
    cdef uint64_t *sets
    if dense.count == 0 or words <= old:
        return True
    words = max(words, 2 * old)
    sets = <uint64_t *>realloc(dense.sets, <size_t>(dense.count * words) * sizeof(uint64_t))
    if sets == NULL:
        return False
    for r in range(dense.count - 1, -1, -1):
        for k in range(old - 1, -1, -1):
            sets[r * words + k] = sets[r * old + k]
        for k in range(old, words):
            sets[r * words + k] = 0
    dense.sets, dense.words = sets, words
    return True


cdef int32_t first_free(DenseRows *dense, const int64_t[::1] place, const int32_t *rows,
                        int64_t count, const int32_t *forbidden, int32_t v,
                        int32_t colors) noexcept nogil:
    """Return the smallest color that no dense row has and that is not forbidden to `v`."""
    cdef int64_t k, q
    cdef uint64_t taken
    cdef int32_t c
    for k in range(dense.words):
        taken = 0
        for q in range(count):
            if place[rows[q]] >= 0:
                taken |= dense.sets[place[rows[q]] * dense.words + k]
        taken = ~taken
        while taken:
            c = <int32_t>(64 * k + lowest_bit(taken))
            if c >= colors or forbidden[c] != v:
                return c
            taken &= taken - 1
    c = <int32_t>min(64 * dense.words, colors)
    while c < colors and forbidden[c] == v:
        c += 1
    return c


cdef int32_t color_beyond_64(DenseRows *dense, const int64_t[::1] starts,
                             const int32_t[::1] members, const int64_t[::1] back,
                             const int32_t[::1] vertices, const int64_t[::1] place,
                             const int32_t[::1] color_of, int32_t[::1] forbidden, int32_t v,
                             int32_t colors) noexcept nogil:
    """Return the smallest color for `v`, whose rows together have the first 64 colors."""
    cdef int64_t p, k, r, count = starts[v + 1] - starts[v]
    cdef int32_t c
    cdef bint has_dense = False
    for p in range(starts[v], starts[v + 1]):
        r = members[p]
        if place[r] >= 0:
            has_dense = True
            continue
        for k in range(back[r], back[r + 1]):
            c = color_of[vertices[k]]
            if c >= 0:
                forbidden[c] = v
    if has_dense:
        return first_free(dense, place, &members[starts[v]], count, &forbidden[0], v, colors)
    c = 0
    while c < colors and forbidden[c] == v:
        c += 1
    return c


def distance2_coloring(const int64_t[::1] starts, const int32_t[::1] members,
                       const int64_t[::1] back, const int32_t[::1] vertices,
                       const int32_t[::1] order, int32_t max_colors):
    """Color vertex by vertex with the smallest color that no vertex at distance two has.

    Parameters
    ----------
    starts, members : lists of the neighbors of each vertex.
    back, vertices : lists of the vertices of each neighbor.
    order : (n,) the vertices.
    max_colors : most colors.

    Returns
    -------
    (n,) ndarray of int32, or None if more colors are needed
    """
    cdef Py_ssize_t n = starts.shape[0] - 1, m = back.shape[0] - 1
    cdef int64_t largest = 0, limit, p, r, t
    cdef int32_t v, c, colors = 0
    cdef bint enough = True
    cdef DenseRows dense
    cdef pool_call call
    color_array = np.full(n, -1, np.int32)
    cdef int32_t[::1] color_of = color_array
    cdef int32_t[::1] forbidden = np.full(n + 1, -1, np.int32)
    cdef uint64_t[::1] few = np.zeros(max(m, 1), np.uint64)
    cdef uint64_t taken
    cdef int64_t[::1] place = np.full(max(m, 1), -1, np.int64)
    if order.shape[0] != n:
        raise ValueError("the order must hold each vertex once")
    dense.sets, dense.words, dense.count = NULL, 0, 0
    pool_begin(&call)
    with nogil:
        for r in range(m):
            largest = max(largest, back[r + 1] - back[r])
        limit = max(<int64_t>64, largest // 16)
        for r in range(m):
            if back[r + 1] - back[r] > limit:
                place[r] = dense.count
                dense.count += 1
        enough = widen(&dense, 1)
        for t in range(n):
            if not enough or colors > max_colors:
                break
            v = order[t]
            if pool_stopped(64 * (1 + starts[v + 1] - starts[v])):
                break
            taken = 0
            for p in range(starts[v], starts[v + 1]):
                taken |= few[members[p]]
            if ~taken:
                c = lowest_bit(~taken)
                for p in range(starts[v], starts[v + 1]):
                    few[members[p]] |= (<uint64_t>1) << c
            else:
                c = color_beyond_64(&dense, starts, members, back, vertices, place, color_of,
                                    forbidden, v, colors)
            color_of[v] = c
            if c == colors:
                colors += 1
                enough = widen(&dense, colors)
            if dense.count and enough:
                for p in range(starts[v], starts[v + 1]):
                    r = place[members[p]]
                    if r >= 0:
                        dense.sets[r * dense.words + c // 64] |= (<uint64_t>1) << (c % 64)
        free(dense.sets)
    pool_end(&call)
    if not enough:
        raise MemoryError("no memory for the colors of dense rows")
    return color_array if colors <= max_colors else None


def is_lattice_valid(const int64_t[::1] back, const int32_t[::1] vertices, int64_t modulus,
                     int64_t first, int64_t step, int64_t second, int64_t leap):
    """Return whether a lattice coloring gives the vertices of each list different colors.

    The color of vertex v is ``(v + step (v // first) + leap (v // second)) % modulus``.
    """
    cdef Py_ssize_t m = back.shape[0] - 1
    cdef int64_t r, k, c
    cdef bint valid = True
    cdef int64_t[::1] seen = np.full(max(modulus, 1), -1, np.int64)
    if modulus < 1 or first < 1 or second < 1:
        raise ValueError("the periods of a lattice are positive")
    with nogil:
        for r in range(m):
            for k in range(back[r], back[r + 1]):
                c = (vertices[k] + step * (vertices[k] // first)
                     + leap * (vertices[k] // second)) % modulus
                if seen[c] == r:
                    valid = False
                    break
                seen[c] = r
            if not valid:
                break
    return valid
