from sparsechol._core.numeric.dense cimport scalar
from sparsechol._core.symbolic.structure cimport Pattern


cdef enum:
    AT_ONCE = 8     # factors that are gone through together


cdef void log_determinants(const Pattern *p, int count, const scalar **l,
                           double *out) noexcept nogil
