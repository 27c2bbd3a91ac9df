"""Cutting the tree into tasks; see plans.pyx."""

from libc.stdint cimport int32_t, int64_t

from sparsechol._core.symbolic.blocks cimport Block
from sparsechol._core.symbolic.pattern cimport Pattern, Plan


cdef struct Partition:
    int32_t tasks
    double *time            # (nsuper) predicted nanoseconds of each step
    int32_t *task           # (nsuper) of each step, -1 for other columns of a simplicial subtree
    int32_t *parent         # (nsuper + 1) task above each task, -1 for none
    double *length          # (nsuper + 1) of each task
    int32_t *head           # (nsuper + 1) workspace
    int32_t *link           # (nsuper) workspace


cdef void lay_out_partition(Partition *cut, Block *block, Py_ssize_t ns) noexcept nogil
cdef void partition(const Pattern *p, Partition *cut) noexcept nogil
cdef void join_tasks(const Pattern *p, Partition *cut) noexcept nogil
cdef tuple make_plan(const Pattern *p, Partition *cut, Plan *plan)
cdef dict arrays_of_plan(const Pattern *p, const Plan *plan)
cdef object copied(const void *numbers, int64_t count, dtype)
