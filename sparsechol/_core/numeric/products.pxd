from libc.stdint cimport int32_t, int64_t

from sparsechol._core.numeric.dense cimport scalar
from sparsechol._core.symbolic.structure cimport Pattern

cdef void multiply_hermitian(Py_ssize_t n, const int64_t *indptr, const int32_t *indices,
                             const scalar *values, const scalar *x, Py_ssize_t k,
                             scalar *out) noexcept nogil
cdef void sample_outer(Py_ssize_t n, const int64_t *indptr, const int32_t *indices,
                       const scalar *x, const scalar *y, Py_ssize_t k,
                       scalar *out) noexcept nogil
cdef void multiply_factor(const Pattern *p, const scalar *flat, const scalar *x, Py_ssize_t k,
                          bint adjoint, const int32_t *inward, const int32_t *outward,
                          scalar *out) noexcept nogil
cdef void sample_factor(const Pattern *p, const scalar *x, const scalar *y, Py_ssize_t k,
                        const int32_t *of_x, const int32_t *of_y, scalar *out) noexcept nogil
cdef void multiply_triangle(Py_ssize_t n, const int64_t *indptr, const int64_t *indices,
                            const scalar *values, bint adjoint, const scalar *x, Py_ssize_t k,
                            scalar *out) noexcept nogil
cdef void sample_triangle(Py_ssize_t n, const int64_t *indptr, const int64_t *indices,
                          const scalar *x, const scalar *y, Py_ssize_t k,
                          scalar *out) noexcept nogil
