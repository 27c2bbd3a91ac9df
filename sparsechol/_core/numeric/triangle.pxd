from libc.stdint cimport int32_t, int64_t

from sparsechol._core.numeric.dense cimport scalar

ctypedef fused index_t:
    int32_t
    int64_t

cdef void substitute(
    Py_ssize_t n,
    const index_t *indptr,
    const index_t *indices,
    const scalar *data,
    const scalar *diagonal,
    scalar *x,
    Py_ssize_t k,
    bint by_columns,
    bint forward,
    bint conjugate,
) noexcept nogil
