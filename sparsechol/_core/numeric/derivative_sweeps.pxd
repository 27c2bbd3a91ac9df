from sparsechol._core.numeric.sweep_driver cimport Arrays
from sparsechol._core.symbolic.structure cimport Pattern


cdef enum Kind:
    TANGENT
    OUTER
    ADJOINT                 # of the tangent
    INNER
    SANDWICH


cdef Py_ssize_t derivative_space(const Pattern *p, Kind what, Py_ssize_t batch,
                                 int threads) noexcept nogil
cdef bint derivative_all(const Pattern *p, Kind what, int kind, Py_ssize_t batch,
                         const Arrays *arrays, void *out, void *work, int threads) noexcept nogil
