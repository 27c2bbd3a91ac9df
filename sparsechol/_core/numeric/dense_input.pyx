"""The nonzeros of a dense array, line by line in one pass over its memory.

Most of a dense array that is given for a sparse one is zeros: they are looked at in blocks of
eight, all bits at once, but for the signs.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

import numpy as np

from sparsechol._core.numeric.dense cimport scalar

cdef enum:
    BLOCK = 8


cdef struct Found:
    int32_t *minors
    void *values
    int64_t count
    int64_t room


def nonzeros(const scalar[:, :] lines):
    """Nonzeros of each line, NaN among them.

    Parameters
    ----------
    lines : rows of a matrix, or columns, that lie one after another in memory; fewer than 2**31
        numbers each.

    Returns
    -------
    starts : (len(lines) + 1,) int64 ndarray, where the nonzeros of each line start.
    minors : int32 ndarray, their places in the line.
    values : ndarray
    """
    cdef Py_ssize_t i, count = lines.shape[0], length = lines.shape[1]
    cdef Py_ssize_t stride = lines.strides[1] // <Py_ssize_t>sizeof(scalar)
    cdef bint well = True
    cdef Found found = Found(minors=NULL, values=NULL, count=0, room=0)
    cdef int32_t[::1] minors
    cdef scalar[::1] values
    start_array = np.zeros(count + 1, dtype=np.int64)
    cdef int64_t[::1] starts = start_array
    if length >= 2**31 - 1:
        raise OverflowError(f"dense arrays with lines of {length} numbers are beyond 32 bits")
    try:
        if length:
            with nogil:
                for i in range(count):
                    well = make_room(&found, length, sizeof(scalar))
                    if not well:
                        break
                    if stride == 1:
                        find_in_line(&lines[i, 0], length, &found)
                    else:
                        find_in_strided(&lines[i, 0], stride, length, &found)
                    starts[i + 1] = found.count
        if not well:
            raise MemoryError("no memory for the nonzeros of a dense array")
        minor_array = np.empty(found.count, dtype=np.int32)
        value_array = np.empty(found.count, dtype=np.asarray(lines).dtype)
        if found.count:
            minors = minor_array
            values = value_array
            memcpy(&minors[0], found.minors, sizeof(int32_t) * found.count)
            memcpy(&values[0], found.values, sizeof(scalar) * found.count)
    finally:
        free(found.minors)
        free(found.values)
    return start_array, minor_array, value_array


cdef bint make_room(Found *found, int64_t more, size_t size) noexcept nogil:
    """Have room for a line, and one number that is written in vain; False without memory."""
    cdef int64_t room = found.count + more + 1
    cdef void *memory
    if room <= found.room:
        return True
    room += found.room
    memory = realloc(found.minors, sizeof(int32_t) * room)
    if memory == NULL:
        return False
    found.minors = <int32_t *>memory
    memory = realloc(found.values, size * room)
    if memory == NULL:
        return False
    found.values = memory
    found.room = room
    return True


cdef inline void keep(scalar x, Py_ssize_t j, Found *found) noexcept nogil:
    """Write a number; the next one takes its place if it is zero."""
    found.minors[found.count] = <int32_t>j
    (<scalar *>found.values)[found.count] = x
    found.count += x != 0


cdef void find_in_line(const scalar *x, Py_ssize_t length, Found *found) noexcept nogil:
    """Find the nonzeros of numbers that lie side by side."""
    cdef Py_ssize_t i, j = 0
    while j + BLOCK <= length:
        if has_nonzero(x + j):
            for i in range(j, j + BLOCK):
                keep(x[i], i, found)
        j += BLOCK
    for i in range(j, length):
        keep(x[i], i, found)


cdef void find_in_strided(const scalar *x, Py_ssize_t stride, Py_ssize_t length,
                          Found *found) noexcept nogil:
    """The same of numbers that do not."""
    cdef Py_ssize_t j
    for j in range(length):
        keep(x[j * stride], j, found)


cdef inline bint has_nonzero(const scalar *x) noexcept nogil:
    """Whether one of a block is not zero, of either sign."""
    cdef const uint32_t *short_words = <const uint32_t *>x
    cdef const uint64_t *long_words = <const uint64_t *>x
    cdef uint32_t short_bits = 0
    cdef uint64_t long_bits = 0
    cdef int i
    if scalar is float:
        for i in range(BLOCK):
            short_bits |= short_words[i] << 1
    elif scalar is floatcomplex:
        for i in range(2 * BLOCK):
            short_bits |= short_words[i] << 1
    elif scalar is double:
        for i in range(BLOCK):
            long_bits |= long_words[i] << 1
    else:
        for i in range(2 * BLOCK):
            long_bits |= long_words[i] << 1
    return short_bits != 0 or long_bits != 0
