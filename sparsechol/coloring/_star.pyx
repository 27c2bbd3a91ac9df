"""Star and acyclic coloring of a graph: no path on four vertices, no cycle, with two colors.

Both look around the neighbors of a vertex, and both need of a neighbor `w` no more than the list
of the colors around it. That list is kept: slot `p` in ``starts[w] <= p < starts[w] + filled[w]``
holds a color, the first neighbor that has it, and how many have. So a dense vertex costs its
number of colors, and not its degree, whenever a neighbor looks at it.

Where it is `wide`, a vertex keeps away from the colors around neighbors that have none yet too,
as in Algorithm 4.1 of the article of 2005 (SIAM Review 47(4), 629-705): no condition asks for it,
but what is dense has less trouble later.

The vertices may be of two sides, rows and columns of a matrix, each with colors of its own: those
of the first are the even numbers, those of the second the odd ones.

References
----------
Gebremedhin, A. H., Tarafdar, A., Manne, F., Pothen, A. (2007). New acyclic and star coloring
    algorithms with application to computing Hessians. SIAM J. Sci. Comput. 29(3), 1042-1072.
    Algorithms 3.1 and 4.1.
"""

from libc.stdint cimport int8_t, int32_t, int64_t

import numpy as np


cdef struct Slots:
    const int64_t *starts
    int32_t *filled
    int32_t *color
    int32_t *vertex
    int32_t *count


cdef inline int64_t find(const Slots *s, int32_t w, int32_t color) noexcept nogil:
    """Slot of a color around `w`; -1 if no neighbor has it."""
    cdef int64_t p
    for p in range(s.starts[w], s.starts[w] + s.filled[w]):
        if s.color[p] == color:
            return p
    return -1


cdef inline int64_t add(Slots *s, int32_t w, int32_t color, int32_t v) noexcept nogil:
    """Slot of a color around `w`, now that neighbor `v` has it too."""
    cdef int64_t p = find(s, w, color)
    if p < 0:
        p = s.starts[w] + s.filled[w]
        s.filled[w] += 1
        s.color[p], s.vertex[p], s.count[p] = color, v, 0
    s.count[p] += 1
    return p


cdef void forbid_around(const Slots *s, int32_t w, int32_t *forbidden, int32_t v) noexcept nogil:
    cdef int64_t p
    for p in range(s.starts[w], s.starts[w] + s.filled[w]):
        forbidden[s.color[p]] = v


cdef class Workspace:
    """Arrays of the slots."""

    cdef Slots slots
    cdef object keep

    def __init__(self, const int64_t[::1] starts):
        cdef Py_ssize_t n = starts.shape[0] - 1
        cdef int64_t size = max(1, starts[n])
        cdef int32_t[::1] filled = np.zeros(max(n, 1), np.int32)
        cdef int32_t[::1] color = np.empty(size, np.int32)
        cdef int32_t[::1] vertex = np.empty(size, np.int32)
        cdef int32_t[::1] count = np.empty(size, np.int32)
        self.keep = starts, filled, color, vertex, count
        self.slots.starts, self.slots.filled = &starts[0], &filled[0]
        self.slots.color, self.slots.vertex = &color[0], &vertex[0]
        self.slots.count = &count[0]


cdef inline int32_t smallest(const int32_t *forbidden, int32_t v, int32_t side,
                             int32_t sides) noexcept nogil:
    """The first color of a side that is not forbidden for `v`."""
    cdef int32_t c = side
    while forbidden[c] == v:
        c += sides
    return c


cdef void check(const int64_t[::1] starts, const int32_t[::1] order, const int8_t[::1] side):
    cdef Py_ssize_t n = starts.shape[0] - 1
    if order.shape[0] != n or side.shape[0] != n:
        raise ValueError("order and sides must have one element for each vertex")


def star(const int64_t[::1] starts, const int32_t[::1] members, const int32_t[::1] order,
         const int8_t[::1] side, int sides, int32_t most, bint wide):
    """Colors of a star coloring, vertex by vertex in this order; None if a side needs more than
    `most`.

    Where `v` has several neighbors of one color, it must not take a color that is around them,
    nor where a neighbor `w` is a leaf of a star, the color of its center (`leaf` of the slot at
    `w` that has that color).
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int32_t v, w, c
    cdef int64_t k, p, q, t
    cdef Workspace work = Workspace(starts)
    cdef Slots *s = &work.slots
    out = np.full(n, -1, np.int32)
    cdef int32_t[::1] color = out
    cdef int8_t[::1] leaf = np.zeros(max(1, starts[n]), np.int8)
    cdef int32_t[::1] forbidden_array = np.full(sides * (n + 1), -1, np.int32)
    cdef int32_t *forbidden = &forbidden_array[0]
    check(starts, order, side)
    with nogil:
        for t in range(n):
            v = order[t]
            forbid_around(s, v, forbidden, v)
            for k in range(starts[v], starts[v + 1]):
                w = members[k]
                if color[w] < 0:
                    if wide:
                        forbid_around(s, w, forbidden, v)
                    continue
                if s.count[find(s, v, color[w])] > 1:
                    forbid_around(s, w, forbidden, v)
                    continue
                for p in range(starts[w], starts[w] + s.filled[w]):
                    if leaf[p]:
                        forbidden[s.color[p]] = v
            c = smallest(forbidden, v, side[v], sides)
            if c // sides >= most:
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
    return out if t == n else None


cdef inline int64_t root(int64_t *parent, int64_t p) noexcept nogil:
    while parent[p] != p:
        parent[p] = parent[parent[p]]
        p = parent[p]
    return p


def acyclic(const int64_t[::1] starts, const int32_t[::1] members, const int32_t[::1] order,
            const int8_t[::1] side, int sides, int32_t most, bint wide):
    """Colors of an acyclic coloring, vertex by vertex in this order; None if a side needs more
    than `most`.

    A slot is a star of two colors, and an edge joins the two slots that it is in to one tree. Two
    neighbors of one color in one tree would be joined by `v` to a cycle if it took the color of
    the other vertices of that tree.
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int32_t v, w, c
    cdef int64_t k, p, q, t, size = max(1, starts[n])
    cdef Workspace work = Workspace(starts)
    cdef Slots *s = &work.slots
    out = np.full(n, -1, np.int32)
    cdef int32_t[::1] color = out
    cdef int64_t[::1] parent_array = np.arange(size)
    cdef int64_t *parent = &parent_array[0]
    cdef int32_t[::1] visited = np.full(size, -1, np.int32)
    cdef int32_t[::1] forbidden_array = np.full(sides * (n + 1), -1, np.int32)
    cdef int32_t *forbidden = &forbidden_array[0]
    check(starts, order, side)
    with nogil:
        for t in range(n):
            v = order[t]
            forbid_around(s, v, forbidden, v)
            for k in range(starts[v], starts[v + 1]):
                w = members[k]
                if color[w] < 0:
                    if wide:
                        forbid_around(s, w, forbidden, v)
                    continue
                if s.count[find(s, v, color[w])] == 1:
                    continue
                for p in range(starts[w], starts[w] + s.filled[w]):
                    q = root(parent, p)
                    if visited[q] == v:
                        forbidden[s.color[p]] = v
                    visited[q] = v
            c = smallest(forbidden, v, side[v], sides)
            if c // sides >= most:
                break
            color[v] = c
            for k in range(starts[v], starts[v + 1]):
                w = members[k]
                p = add(s, w, c, v)
                if color[w] >= 0:
                    parent[root(parent, p)] = root(parent, find(s, v, color[w]))
        else:
            t = n
    return out if t == n else None


def elimination(const int64_t[::1] starts, const int32_t[::1] members, const int64_t[::1] twin,
                const int32_t[::1] color):
    """The order in which substitution finds the entries of a matrix with an acyclic coloring.

    Parameters
    ----------
    color : of each vertex; with a negative one it is in no product.
    twin : position of the mirror image of each entry.

    Returns
    -------
    entry : (edges,) ndarray of int64
        Position of each edge at the end that is a leaf when its turn comes.
    source, target : (edges,) ndarray of int64
        Sums of the edges found so far: of the leaf, to subtract, and of the other end. One that
        nobody subtracts is the last of all, ``len(members)``.

    Fewer than all edges where the others cannot be found.
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int64_t edges = starts[n] // 2, size = max(1, starts[n]), k, p, q, e
    cdef int64_t first = 0, last = 0
    cdef int32_t v
    cdef Workspace work = Workspace(starts)
    cdef Slots *s = &work.slots
    entry_array, source_array = np.empty(edges, np.int64), np.empty(edges, np.int64)
    target_array = np.empty(edges, np.int64)
    cdef int64_t[::1] entry = entry_array, source = source_array, target = target_array
    cdef int64_t[::1] slot = np.empty(size, np.int64)  # of each entry
    cdef int64_t[::1] left = np.zeros(size, np.int64)  # exclusive or of the entries of a slot
    cdef int64_t[::1] queue = np.empty(size, np.int64)
    if color.shape[0] != n or twin.shape[0] != starts[n]:
        raise ValueError("colors and twins must have one element for each vertex and entry")
    with nogil:
        for v in range(n):
            for k in range(starts[v], starts[v + 1]):
                slot[k] = -1
                if color[members[k]] >= 0:
                    p = add(s, v, color[members[k]], members[k])
                    slot[k] = p
                    left[p] ^= k
        for v in range(n):
            for p in range(starts[v], starts[v] + s.filled[v]):
                if s.count[p] == 1:
                    queue[last] = p
                    last += 1
        e = 0
        while first < last:
            p = queue[first]
            first += 1
            if s.count[p] != 1:  # its last edge was found from the other end
                continue
            k = left[p]
            q = slot[twin[k]]
            entry[e], source[e], target[e] = k, p, size if q < 0 else q
            e += 1
            s.count[p] -= 1
            if q < 0:  # the vertex that the product at the other end is for has no color
                continue
            s.count[q] -= 1
            left[q] ^= twin[k]
            if s.count[q] == 1:
                queue[last] = q
                last += 1
    return entry_array[:e], source_array[:e], target_array[:e]


ctypedef fused number:
    float
    double
    float complex
    double complex


def substitute(const number[::1] compressed, const int64_t[::1] place, const int64_t[::1] source,
               const int64_t[::1] target, number[::1] found, number[::1] sums):
    """The entries, in the order of `elimination`; `sums` are zero at first."""
    cdef int64_t e, size = compressed.shape[0], slots = sums.shape[0], edges = found.shape[0]
    cdef number x
    if place.shape[0] != edges or source.shape[0] != edges or target.shape[0] != edges:
        raise ValueError("one place, source and target for each edge are needed")
    with nogil:
        for e in range(edges):
            if not (0 <= place[e] < size and 0 <= source[e] < slots and 0 <= target[e] < slots):
                with gil:
                    raise IndexError("a place beyond the compressed products")
            x = compressed[place[e]] - sums[source[e]]
            found[e] = x
            sums[target[e]] += x
