"""Arrays side by side in one block of memory.

They are laid out twice by the same function: without a start, to learn how many bytes it takes, and
then in the block.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport malloc


cdef extern from "memory.h" nogil:
    void prefer_large_pages(void *start, size_t bytes)


cdef struct Block:
    uint8_t *start          # NULL while lengths are added up
    int64_t used            # bytes so far


cdef inline void *take(Block *block, int64_t bytes) noexcept nogil:
    """The place of the next array."""
    cdef void *place = block.start + block.used if block.start != NULL else NULL
    block.used += (bytes + 7) // 8 * 8
    return place


cdef inline int64_t *longs(Block *block, int64_t count) noexcept nogil:
    return <int64_t *>take(block, count * <int64_t>sizeof(int64_t))


cdef inline double *doubles(Block *block, int64_t count) noexcept nogil:
    return <double *>take(block, count * <int64_t>sizeof(double))


cdef inline int32_t *ints(Block *block, int64_t count) noexcept nogil:
    return <int32_t *>take(block, count * <int64_t>sizeof(int32_t))


cdef inline uint8_t *bytes_of(Block *block, int64_t count) noexcept nogil:
    return <uint8_t *>take(block, count)


cdef inline const int32_t *ints_in(const int32_t[::1] array) noexcept:
    """Where the numbers of an array lie, NULL if there are none; it must stay alive."""
    return &array[0] if array.shape[0] else NULL


cdef inline const int64_t *longs_in(const int64_t[::1] array) noexcept:
    """The same."""
    return &array[0] if array.shape[0] else NULL


cdef inline uint8_t *workspace(int64_t bytes) except NULL:
    """Memory for a block, to be freed by the caller."""
    cdef uint8_t *start = <uint8_t *>malloc(max(1, <size_t>bytes))
    if start == NULL:
        raise MemoryError("no memory for the analysis")
    prefer_large_pages(start, bytes)
    return start
