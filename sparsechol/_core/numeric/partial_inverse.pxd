from sparsechol._core.numeric.sweep_driver cimport Many, Packed
from sparsechol._core.symbolic.structure cimport Pattern

cdef Py_ssize_t inverse_space(const Pattern *p, Packed packed, Py_ssize_t batch,
                              int threads) noexcept nogil
cdef bint invert_all(const Pattern *p, int kind, Py_ssize_t batch, Many l, void *z, Packed packed,
                     void *work, int threads) noexcept nogil
