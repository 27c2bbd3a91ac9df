"""Star coloring: no path on four vertices has only two colors.

References
----------
Gebremedhin, A. H., Tarafdar, A., Manne, F., Pothen, A. (2007). New acyclic and star coloring
    algorithms with application to computing Hessians. SIAM J. Sci. Comput. 29(3), 1042-1072.
    Algorithm 4.1.
"""

from libc.stdint cimport int8_t, int32_t, int64_t

import numpy as np

from sparsechol._core.parallel.pool cimport pool_begin, pool_call, pool_end, pool_stopped
from sparsechol.coloring._slots cimport (
    Slots,
    add,
    check_sizes,
    find,
    first_allowed,
    forbid_around,
    forbid_near,
    slots_in,
    slots_size,
)


def star_coloring(const int64_t[::1] starts, const int32_t[::1] members,
                  const int32_t[::1] order, const int8_t[::1] side, int sides, int32_t max_colors,
                  bint distance2):
    """Color vertex by vertex with the smallest color that keeps a star coloring.

    Where `v` has several neighbors of one color, `v` must not take a color that is around them.
    Where a neighbor `w` is a leaf of a star, `v` must not take the color of the center: `leaf` of
    the slot at `w` that has that color.

    Parameters
    ----------
    starts, members : lists of the neighbors of each vertex, sorted.
    order : (n,) the vertices.
    side, sides : (n,) side of each vertex, and the number of sides (see `_slots`).
    max_colors : most colors of a side.
    distance2 : whether a vertex also avoids the colors around its neighbors without a color.

    Returns
    -------
    (n,) ndarray of int32, or None if a side needs more colors
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int32_t v, w, c
    cdef int64_t k, p, q, t
    check_sizes(starts, order, side)
    cdef int32_t[::1] space = np.zeros(slots_size(starts), np.int32)
    cdef Slots slots = slots_in(starts, space)
    cdef Slots *s = &slots
    out = np.full(n, -1, np.int32)
    cdef int32_t[::1] color = out
    cdef int8_t[::1] leaf = np.zeros(max(1, starts[n]), np.int8)
    cdef int32_t[::1] forbidden_array = np.full(sides * (n + 1), -1, np.int32)
    cdef int32_t *forbidden = &forbidden_array[0]
    cdef pool_call call
    pool_begin(&call)
    with nogil:
        for t in range(n):
            v = order[t]
            if pool_stopped(64 * (1 + starts[v + 1] - starts[v])):
                break
            forbid_near(s, members, color, distance2, forbidden, v)
            for k in range(starts[v], starts[v + 1]):
                w = members[k]
                if color[w] < 0:
                    continue
                if s.count[find(s, v, color[w])] > 1:
                    forbid_around(s, w, forbidden, v)
                    continue
                for p in range(starts[w], starts[w] + s.filled[w]):
                    if leaf[p]:
                        forbidden[s.color[p]] = v
            c = first_allowed(forbidden, v, side[v], sides)
            if c // sides >= max_colors:
                break
            color[v] = c
            for k in range(starts[v], starts[v + 1]):
                w = members[k]
                p = add(s, w, c, v)
                if color[w] < 0:
                    continue
                q = find(s, v, color[w])
                if s.count[q] > 1:  # v is the center of a star, w a leaf
                    leaf[p] = True
                if s.count[p] > 1:  # w is the center, v and the first one are leaves
                    leaf[q] = True
                    if s.count[p] == 2:
                        leaf[find(s, s.vertex[p], color[w])] = True
        else:
            t = n
    pool_end(&call)
    return out if t == n else None
