"""The analyzed pattern: what owns the arrays of a `Pattern`."""

from libc.stdint cimport int32_t

from sparsechol._core.symbolic.pattern cimport (
    Pattern, Plan, front_rows, place_in, place_in_front, plan_for, supernode_of,
)


cdef class Structure:
    cdef Pattern pattern
    cdef const int32_t[::1] perm, first, simplicial_root
    cdef object blocks          # what owns the other arrays
