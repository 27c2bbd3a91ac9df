"""What the analysis needs of etree.pyx."""

from libc.stdint cimport int32_t, int64_t


cdef void invert(int32_t n, const int32_t *perm, int32_t *inverse) noexcept nogil
cdef tuple tree_of_graph(Py_ssize_t n, const int64_t *starts, const int32_t *members,
                         Py_ssize_t entries, const int32_t *weight, const int32_t *order)
cdef void list_upper_triangle(int32_t n, const int64_t *indptr, const int32_t *indices,
                              const int32_t *inverse, int64_t *starts, int32_t *members,
                              int64_t *sources) noexcept nogil
