"""Sorting by counting: see `rows_of_columns` in patterns.pyx for the three steps."""

from libc.stdint cimport int32_t, int64_t

ctypedef fused offset:
    int32_t
    int64_t


cdef inline void accumulate(offset[::1] start, offset[::1] head) noexcept nogil:
    """Turn counts, that of list j in start[j + 1], into starts of lists; `head` is a copy."""
    cdef Py_ssize_t j
    for j in range(head.shape[0]):
        head[j] = start[j]
        start[j + 1] += start[j]
