from libc.stdint cimport int32_t

from sparsechol._core.numeric.dense cimport MOST_SIDE_BY_SIDE
from sparsechol._core.symbolic.structure cimport Pattern


cdef struct Group:
    # Systems that are solved side by side, with one right-hand side each.
    const double *factor[MOST_SIDE_BY_SIDE]
    double *b[MOST_SIDE_BY_SIDE]     # overwritten with the solutions
    const int32_t *inward       # row of b that each row of the system is read from
    const int32_t *outward      # and written to
    bint lower                  # solve with L,
    bint upper                  # and then with L^T
    bint signs                  # and in between with S = sign(diag L)


cdef int most_together() noexcept nogil
cdef bint goes_side_by_side(const Pattern *p) noexcept nogil
cdef Py_ssize_t begin_groups(const Pattern *p, Py_ssize_t batch, int threads,
                             void **work) noexcept nogil
cdef void solve_group(const Pattern *p, const Group *group, void *work, int thread) noexcept nogil
