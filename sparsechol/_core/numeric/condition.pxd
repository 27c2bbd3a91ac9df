from libc.float cimport DBL_MIN, FLT_MIN
from libc.stdint cimport int32_t, int64_t

from sparsechol._core.numeric.dense cimport element, scalar
from sparsechol._core.symbolic.pattern cimport Pattern


cdef inline double least_normal(const element *tag) noexcept nogil:
    """The smallest normal number: roundings of smaller ones are as large as its own."""
    return FLT_MIN if element is float or element is floatcomplex else DBL_MIN


cdef bint reciprocal_condition(const Pattern *p, const int64_t *indptr, const int32_t *indices,
                               const scalar *a, const scalar *l, bint scaled, bint quick,
                               int threads, double *result) noexcept nogil
cdef bint surely_regular(const Pattern *p, const scalar *a, const scalar *l, double ratio,
                         bint signed, int threads) noexcept nogil
