"""Solves with matrices of a batch side by side, see `sweep_driver`.

They pay where every supernode is one column: a solve of one matrix is then a chain of steps, each
of which waits for the one before, and several chains take the time of one. Entries of wider fronts
fill vectors by themselves, and are read once: copies of them would cost as much as the solve.
"""

from libc.stdint cimport int32_t, uintptr_t
from libc.stdlib cimport malloc

from sparsechol._core.numeric.dense cimport (
    LANES_OF_8, backward_columns, forward_columns, interleave, kind_of, kind_side_by_side, lanes,
    lanes4, lanes8, separate, size_of,
)
from sparsechol._core.numeric.sweep_driver cimport allowed_side_by_side
from sparsechol._core.symbolic.structure cimport Pattern


cdef bint goes_side_by_side(const Pattern *p) noexcept nogil:
    """Whether a batch of solves with one right-hand side each is faster side by side."""
    return p.widest <= 1 and p.parallel_plan.tasks == 1 and allowed_side_by_side(True)


cdef inline Py_ssize_t vectors_of(const Pattern *p) noexcept nogil:
    """Vectors of a thread's workspace: L, b, and x in the order of L."""
    return p.size + 2 * <Py_ssize_t>p.n


cdef int most_together() noexcept nogil:
    """How many matrices go side by side."""
    return <int>(size_of(kind_side_by_side()) // <Py_ssize_t>sizeof(double))


cdef Py_ssize_t begin_groups(const Pattern *p, Py_ssize_t batch, int threads,
                             void **work) noexcept nogil:
    """How many groups of a batch go side by side; their workspace is for the caller to free.

    Each thread gets as many groups; the matrices that are left go one by one.
    """
    cdef Py_ssize_t groups = batch // most_together() // threads * threads
    if kind_side_by_side() == -1 or groups == 0:
        return 0
    work[0] = malloc(size_of(kind_side_by_side()) * (vectors_of(p) * threads + 1))
    return 0 if work[0] == NULL else groups


cdef void solve_group(const Pattern *p, const Group *group, void *work, int thread) noexcept nogil:
    """Solve for the matrices of one group, in the workspace of a thread."""
    if kind_side_by_side() == LANES_OF_8:
        solve_lanes(p, group, <lanes8 *>work, thread)
    else:
        solve_lanes(p, group, <lanes4 *>work, thread)


cdef void solve_lanes(const Pattern *p, const Group *group, lanes *work,
                      int thread) noexcept nogil:
    cdef uintptr_t aligned = (<uintptr_t>work + sizeof(lanes) - 1) // sizeof(lanes) * sizeof(lanes)
    cdef lanes *panels = <lanes *>aligned + vectors_of(p) * thread
    cdef lanes *b = panels + p.size
    cdef lanes *x = b + p.n
    cdef int32_t last = p.nsuper - 1, i
    cdef int kind = kind_of(<const lanes *>work)
    interleave(kind, p.size, <const double *const *>group.factor, panels)
    interleave(kind, p.n, <const double *const *>group.b, b)
    for i in range(p.n):
        x[i] = b[group.inward[i]]
    if group.lower:
        forward_columns(p, 0, last, <const lanes *>panels, x, NULL, group.signs)
    if group.upper:
        backward_columns(p, 0, last, <const lanes *>panels, x)
    for i in range(p.n):
        b[group.outward[i]] = x[i]
    separate(kind, p.n, b, <double *const *>group.b)
