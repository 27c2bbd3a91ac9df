"""The colors around each vertex, and the steps that star and acyclic coloring share.

Both colorings look around the neighbors of a vertex, and both need of a neighbor `w` only the list
of the colors around it. That list is kept in slots: slot `p` in
``starts[w] <= p < starts[w] + filled[w]`` holds a color, the first neighbor of `w` that has it, and
the number of neighbors that have it. So a neighbor that looks at a dense vertex pays for its number
of colors, and not for its degree.

The vertices may be of two sides, rows and columns of a matrix, each with colors of its own: the
colors of the first side are the even numbers, those of the second side the odd numbers.
"""

from libc.stdint cimport int8_t, int32_t, int64_t


cdef struct Slots:
    const int64_t *starts
    int32_t *filled     # (vertices) number of slots in use
    int32_t *color      # (entries)
    int32_t *vertex     # (entries) the first neighbor of this color
    int32_t *count      # (entries) number of neighbors of this color


cdef inline Slots slots_in(const int64_t[::1] starts, int32_t[::1] space) noexcept:
    """Return empty slots for a graph, in a space of `slots_size` zeros."""
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int64_t size = starts[n]
    cdef Slots s
    s.starts = &starts[0]
    s.filled = &space[0]
    s.color = s.filled + n
    s.vertex = s.color + size
    s.count = s.vertex + size
    return s


cdef inline int64_t slots_size(const int64_t[::1] starts) noexcept:
    """Return the length of the space of `slots_in`: one a vertex and three an entry."""
    cdef Py_ssize_t n = starts.shape[0] - 1
    return max(1, n + 3 * starts[n])


cdef inline int64_t find(const Slots *s, int32_t w, int32_t color) noexcept nogil:
    """Return the slot of a color around `w`, or -1 if no neighbor has it."""
    cdef int64_t p
    for p in range(s.starts[w], s.starts[w] + s.filled[w]):
        if s.color[p] == color:
            return p
    return -1


cdef inline int64_t add(Slots *s, int32_t w, int32_t color, int32_t v) noexcept nogil:
    """Count neighbor `v` of `w` to its color; return the slot of the color around `w`."""
    cdef int64_t p = find(s, w, color)
    if p < 0:
        p = s.starts[w] + s.filled[w]
        s.filled[w] += 1
        s.color[p], s.vertex[p], s.count[p] = color, v, 0
    s.count[p] += 1
    return p


cdef inline void forbid_around(const Slots *s, int32_t w, int32_t *forbidden,
                               int32_t v) noexcept nogil:
    """Forbid the colors around `w` to vertex `v`."""
    cdef int64_t p
    for p in range(s.starts[w], s.starts[w] + s.filled[w]):
        forbidden[s.color[p]] = v


cdef inline void forbid_near(const Slots *s, const int32_t[::1] members,
                             const int32_t[::1] color, bint distance2, int32_t *forbidden,
                             int32_t v) noexcept nogil:
    """Forbid the colors of the neighbors of `v`.

    With `distance2` also the colors around its neighbors without a color, as in Algorithm 4.1 of
    Gebremedhin, Manne, Pothen (2005): no condition asks for it, but dense vertices then have less
    trouble later.
    """
    cdef int64_t k
    forbid_around(s, v, forbidden, v)
    if not distance2:
        return
    for k in range(s.starts[v], s.starts[v + 1]):
        if color[members[k]] < 0:
            forbid_around(s, members[k], forbidden, v)


cdef inline int32_t first_allowed(const int32_t *forbidden, int32_t v, int32_t side,
                                  int32_t sides) noexcept nogil:
    """Return the first color of a side that is not forbidden to `v`."""
    cdef int32_t c = side
    while forbidden[c] == v:
        c += sides
    return c


cdef inline int check_sizes(const int64_t[::1] starts, const int32_t[::1] order,
                            const int8_t[::1] side) except -1:
    """Raise ValueError unless there are an order and sides for all vertices."""
    cdef Py_ssize_t n = starts.shape[0] - 1
    if order.shape[0] != n or side.shape[0] != n:
        raise ValueError("order and sides must have one element for each vertex")
    return 0
