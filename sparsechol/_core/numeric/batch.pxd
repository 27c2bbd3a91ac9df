"""Arrays of a batch as the sweeps see them."""

from libc.stdint cimport int64_t


cdef struct Many:
    # One array for each matrix of a batch; several matrices may have the same one.
    const char *data            # NULL: there is none
    const int64_t *which        # (batch) number of each matrix's array; NULL: each has its own


cdef inline Many each(const void *data) noexcept nogil:
    """An array of its own for each matrix."""
    return Many(data=<const char *>data, which=NULL)


cdef inline const char *array_of(const Many *many, Py_ssize_t step, Py_ssize_t k) noexcept nogil:
    """The array of matrix k, each of so many bytes."""
    if many.data == NULL:
        return NULL
    return many.data + step * (many.which[k] if many.which != NULL else k)
