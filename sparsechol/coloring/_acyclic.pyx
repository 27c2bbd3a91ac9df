"""Acyclic coloring: no cycle has only two colors; and what substitution makes of one.

References
----------
Gebremedhin, A. H., Tarafdar, A., Manne, F., Pothen, A. (2007). New acyclic and star coloring
    algorithms with application to computing Hessians. SIAM J. Sci. Comput. 29(3), 1042-1072.
    Algorithm 3.1.
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
    forbid_near,
    slots_in,
    slots_size,
)


cdef inline int64_t root(int64_t *parent, int64_t p) noexcept nogil:
    """Return the root of a tree of slots, and halve the path to it."""
    while parent[p] != p:
        parent[p] = parent[parent[p]]
        p = parent[p]
    return p


def acyclic_coloring(const int64_t[::1] starts, const int32_t[::1] members,
                     const int32_t[::1] order, const int8_t[::1] side, int sides,
                     int32_t max_colors, bint distance2):
    """Color vertex by vertex with the smallest color that keeps an acyclic coloring.

    A slot is a star of two colors, and an edge joins the two slots that it is in to one tree. If
    two neighbors of `v` have one color and lie in one tree, `v` must not take the color of the
    other vertices of that tree: it would close a cycle.

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
    cdef int64_t k, p, q, t, size = max(1, starts[n])
    check_sizes(starts, order, side)
    cdef int32_t[::1] space = np.zeros(slots_size(starts), np.int32)
    cdef Slots slots = slots_in(starts, space)
    cdef Slots *s = &slots
    out = np.full(n, -1, np.int32)
    cdef int32_t[::1] color = out
    cdef int64_t[::1] parent_array = np.arange(size)
    cdef int64_t *parent = &parent_array[0]
    cdef int32_t[::1] visited = np.full(size, -1, np.int32)
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
                if s.count[find(s, v, color[w])] == 1:
                    continue
                for p in range(starts[w], starts[w] + s.filled[w]):
                    q = root(parent, p)
                    if visited[q] == v:
                        forbidden[s.color[p]] = v
                    visited[q] = v
            c = first_allowed(forbidden, v, side[v], sides)
            if c // sides >= max_colors:
                break
            color[v] = c
            for k in range(starts[v], starts[v + 1]):
                w = members[k]
                p = add(s, w, c, v)
                if color[w] >= 0:
                    parent[root(parent, p)] = root(parent, find(s, v, color[w]))
        else:
            t = n
    pool_end(&call)
    return out if t == n else None


def elimination(const int64_t[::1] starts, const int32_t[::1] members, const int64_t[::1] twin,
                const int32_t[::1] color):
    """Return the order in which substitution finds the entries of an acyclically colored matrix.

    Parameters
    ----------
    starts, members : lists of the neighbors of each vertex, sorted.
    twin : (entries,) position of the mirror image of each entry.
    color : (n,) color of each vertex; a vertex of negative color is in no product.

    Returns
    -------
    entry : (edges,) ndarray of int64
        Position of each edge at the end that is a leaf when its turn comes.
    source, target : (edges,) ndarray of int64
        Two sums of the edges found so far: the one of the leaf, to subtract, and the one of the
        other end, to add to. A sum that no edge subtracts is the last of all, ``len(members)``.

    Notes
    -----
    There are fewer than all edges if the others cannot be found.
    """
    cdef Py_ssize_t n = starts.shape[0] - 1
    cdef int64_t edges = starts[n] // 2, size = max(1, starts[n]), k, p, q, e
    cdef int64_t first = 0, last = 0
    cdef int32_t v
    cdef int32_t[::1] space = np.zeros(slots_size(starts), np.int32)
    cdef Slots slots = slots_in(starts, space)
    cdef Slots *s = &slots
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
            if q < 0:  # the vertex at the other end has no color, and no product
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
    """Find the entries in the order of `elimination`.

    Parameters
    ----------
    compressed : all products.
    place : (edges,) position of the product of each edge.
    source, target : (edges,) see `elimination`.
    found : (edges,) the entries, written here.
    sums : workspace, zero at first.
    """
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
