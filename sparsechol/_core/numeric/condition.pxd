from libc.stdint cimport int32_t, int64_t

from sparsechol._core.numeric.dense cimport scalar
from sparsechol._core.symbolic.structure cimport Pattern


cdef bint reciprocal_condition(const Pattern *p, const int64_t *indptr, const int32_t *indices,
                               const scalar *a, const scalar *l, bint scaled, bint quick,
                               int threads, double *result) noexcept nogil
