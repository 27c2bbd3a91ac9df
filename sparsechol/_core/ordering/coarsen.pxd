"""Smaller graphs with the shape of a large one."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from sparsechol._core.ordering.graph cimport Graph

cdef int32_t match(const Graph *g, int64_t heaviest, uint64_t *state, int32_t *mate,
                   int32_t *wait) noexcept nogil
cdef bint contract(const Graph *g, const int32_t *mate, int32_t count, int32_t *coarse,
                   Graph *into) noexcept nogil
