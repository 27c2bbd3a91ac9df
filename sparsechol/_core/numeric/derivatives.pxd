from sparsechol._core.numeric.batch cimport Many
from sparsechol._core.symbolic.structure cimport Pattern


cdef enum Kind:
    TANGENT
    OUTER
    GRADIENT                # the adjoint of the tangent
    INNER
    SANDWICH


cdef struct Arrays:
    # What a sweep reads, those that it has no use for NULL: see derivatives.pyx.
    Many values             # on the pattern of A
    Many flat               # and on the panels
    Many factor
    Many s
    Many x
    Many y


cdef Py_ssize_t sweep_space(const Pattern *p, Kind what, Py_ssize_t batch,
                            int threads) noexcept nogil
cdef bint sweep_all(const Pattern *p, Kind what, int kind, Py_ssize_t batch, const Arrays *arrays,
                    void *out, void *work, int threads) noexcept nogil
cdef void weigh_panels(const Pattern *p, int kind, double diagonal, void *panels) noexcept nogil
