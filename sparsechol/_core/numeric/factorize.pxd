from sparsechol._core.numeric.dense cimport Outcome, pivot_rule
from sparsechol._core.numeric.sweep_driver cimport Many
from sparsechol._core.symbolic.structure cimport Pattern


cpdef enum:
    REFUSED_ROUNDINGS = 16      # a pivot is refused below so many roundings of its diagonal entry


cdef bint in_doubt(const Pattern *p, int kind, const Outcome *outcome) noexcept nogil
cdef Py_ssize_t factor_space(const Pattern *p, Py_ssize_t batch, int threads) noexcept nogil
cdef Outcome *factor_all(const Pattern *p, int kind, Py_ssize_t batch, Many a, void *l,
                         const pivot_rule *rule, void *work, int threads) noexcept nogil
