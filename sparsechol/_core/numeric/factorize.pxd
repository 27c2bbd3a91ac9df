from libc.stdint cimport int32_t

from sparsechol._core.numeric.sweep_driver cimport Many
from sparsechol._core.symbolic.structure cimport Pattern


cpdef enum:
    REFUSED_ROUNDINGS = 16      # a pivot is refused below so many roundings of its diagonal entry


cdef struct Outcome:
    int32_t failed          # permuted column whose pivot is not positive and finite, or INT32_MAX
    int32_t weakest         # permuted column that kept the least of its diagonal entry, or same
    double pivot            # the failed pivot
    double ratio            # pivot / diagonal entry of A in the weakest column


cdef Py_ssize_t factor_space(const Pattern *p, Py_ssize_t batch, int threads) noexcept nogil
cdef Outcome *factor_all(const Pattern *p, int kind, Py_ssize_t batch, Many a, void *l,
                         void *work, int threads) noexcept nogil
