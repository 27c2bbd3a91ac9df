"""What a structure needs of supernodes.pyx."""

from sparsechol._core.symbolic.pattern cimport Pattern


cdef void predict_times(const Pattern *p, double *time) noexcept nogil
