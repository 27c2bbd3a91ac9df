"""Fronts put together on the way up the tree and taken apart on the way down.

Every step of a sweep (a front, or a region under its root) has a square matrix on the rows below
it: on the way up the update matrix, which its parent adds to its own front; on the way down M,
taken out of the panel and the M of the parent. All is Hermitian, of which the lower triangle is
kept; M is mirrored.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from sparsechol._core.numeric.dense cimport Crew, conjugate, scalar
from sparsechol._core.symbolic.structure cimport Pattern, Plan


cdef struct Place:
    # Where a thread works: everything but `own` is the same for all threads.
    const void *a               # what panels are opened with: values on the pattern of A,
    const void *flat            # or flat panels; NULL: nothing
    void *panels                # the flat result, panel after panel
    void *shared                # square matrices that are handed over
    void *own                   # square matrices of this thread
    int kind                    # scalar type
    const Plan *plan
    Crew crew                   # this thread and those that help it


cdef inline scalar *square_of(const Pattern *p, int32_t s, const Place *at,
                              const scalar *witness) noexcept nogil:
    """The square matrix of a step."""
    return <scalar *>(at.shared if at.plan.handed[s] != -1 else at.own) + at.plan.update[s]


cdef inline void put_entries(const Pattern *p, int32_t s, int32_t begin, int32_t end,
                             const scalar *a, scalar *panel) noexcept nogil:
    """Entries of A into columns `begin` to `end` of the panel of s."""
    cdef Py_ssize_t rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
    cdef int64_t q, source
    cdef int32_t j
    panel += begin * rows
    for j in range(p.first[s] + begin, p.first[s] + end):
        for q in range(p.entry_start[j], p.entry_start[j + 1]):
            source = p.entry_source[q]
            if source >= 0:
                panel[p.entry_row[q]] = a[source]
            else:
                panel[p.entry_row[q]] = conjugate(a[~source])
        panel += rows


cdef inline bint receives(const Place *at, int32_t s) noexcept nogil:
    """Whether children add to the front of s."""
    return not at.plan.leaf[s] or at.plan.guest[s] != -1


cdef inline void put_panel(Py_ssize_t rows, int begin, int end, const scalar *source,
                           scalar *panel) noexcept nogil:
    """Columns `begin` to `end` of a panel, from the diagonal down."""
    cdef Py_ssize_t j
    for j in range(begin, end):
        memcpy(panel + j * (rows + 1), source + j * (rows + 1), sizeof(scalar) * (rows - j))


cdef void complete(const Pattern *p, int32_t s, const Place *at,
                   const scalar *witness) noexcept nogil
cdef void pass_on(const Pattern *p, int32_t s, const Place *at,
                  const scalar *witness) noexcept nogil
cdef void open_region(const Pattern *p, int32_t root, const Place *at,
                      const scalar *witness) noexcept nogil
cdef void gather(const Pattern *p, int32_t s, const Place *at,
                 const scalar *witness) noexcept nogil
cdef void gather_guests(const Pattern *p, int32_t s, const Place *at,
                        const scalar *witness) noexcept nogil
