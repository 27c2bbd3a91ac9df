"""The graph of a pattern, ready to be ordered."""

from libc.stdint cimport int32_t, int64_t

from sparsechol._core.ordering.graph cimport Graph


cdef class Compressed:
    cdef Graph graph
    cdef readonly int32_t[::1] group    # (rows) vertex that each row is part of; -1: dense
    cdef int64_t expand(self, const int32_t *order, int32_t *start, int32_t *perm) noexcept nogil
