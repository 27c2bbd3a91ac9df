"""Patterns as operations know them: by a handle in Python, by a name in compiled programs."""

from libc.stdint cimport int64_t

from sparsechol._core.numeric.gram cimport Congruence
from sparsechol._core.numeric.operations cimport View
from sparsechol._core.symbolic.structure cimport Pattern


cdef class PatternHandle:
    cdef View view
    cdef Pattern own            # of a triangle: its order and its entries
    cdef Congruence gram        # of a rectangular matrix: its analysis
    cdef list kept
    cdef object __weakref__

cdef const View *find(int64_t high, int64_t low) noexcept nogil
