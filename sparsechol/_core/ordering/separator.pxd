"""Vertex separators of a graph."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t

from sparsechol._core.ordering.graph cimport Graph

cdef enum:
    SEPARATOR = 2           # in place of the side, 0 or 1


cdef struct Split:
    # A separator and its workspace. In `place` and `listed` all that is not in use is zero.
    const Graph *graph
    int8_t *side
    int64_t weight[3]           # of each side and of the separator
    int64_t most                # most that a side may weigh
    int to                      # the side to which vertices move
    int64_t *gain               # (n) what the separator gains by a move
    int32_t *heap               # (n) the separator, greatest gain first
    int32_t size
    int32_t *place              # (n) position in the heap, from 1 on
    int32_t *members            # (n) the separator, and vertices that have left it
    int32_t count
    uint8_t *listed             # (n) whether in `members`
    int32_t *moved              # (2 n + 2) changes of side, for undoing them
    int8_t *came_from
    int64_t changes
    int32_t *mate               # (n)
    int32_t *wait               # (n)
    int8_t *trial               # (n)


cdef bint open_split(Split *s, int32_t n) noexcept nogil
cdef void close_split(Split *s) noexcept nogil
cdef bint separate(Split *s, const Graph *g, uint64_t *state, int8_t *side) noexcept nogil
