"""Fronts put together on the way up the tree and taken apart on the way down.

Every step of a sweep (a front, or a simplicial subtree under its root) has a square matrix on the
rows below it: on the way up the update matrix, which its parent adds to its own front; on the way
down the entries of the result there (M in the pictures), taken out of the panel and the square of
the parent. All is Hermitian, of which the lower triangle is kept; on the way down it is mirrored.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from sparsechol._core.numeric.dense cimport conjugate, element
from sparsechol._core.numeric.sweep_driver cimport FrontContext
from sparsechol._core.symbolic.structure cimport Pattern


cdef inline element *update_matrix(int32_t s, const FrontContext *ctx,
                                   const element *tag) noexcept nogil:
    """The square matrix of a step."""
    cdef const void *place = ctx.shared if ctx.plan.shared[s] else ctx.own
    return <element *>place + ctx.plan.update[s]


cdef inline void put_entries(const Pattern *p, int32_t s, int32_t begin, int32_t end,
                             const element *a, element *panel) noexcept nogil:
    """Entries of A into columns `begin` to `end` of the panel of s."""
    cdef Py_ssize_t rows = p.first[s + 1] - p.first[s] + p.row_start[s + 1] - p.row_start[s]
    cdef int64_t q
    cdef int32_t j
    panel += begin * rows
    for j in range(p.first[s] + begin, p.first[s] + end):
        for q in range(p.entry_start[j], p.entry_start[j + 1]):
            panel[p.entry_row[q]] = stored(a, p.entry_source[q])
        panel += rows


cdef inline element stored(const element *a, int64_t source) noexcept nogil:
    """An entry of A from its source. Which of them are complemented cannot be predicted."""
    if element is floatcomplex or element is doublecomplex:
        return a[source] if source >= 0 else conjugate(a[~source])
    else:
        return a[source ^ (source >> 63)]


cdef inline bint has_children(const FrontContext *ctx, int32_t s) noexcept nogil:
    """Whether something is added to the front of s."""
    return not ctx.plan.leaf[s] or ctx.plan.foreign_child[s] != -1


cdef inline void put_panel(Py_ssize_t rows, int begin, int end, const element *source,
                           element *panel) noexcept nogil:
    """Columns `begin` to `end` of a panel, from the diagonal down."""
    cdef Py_ssize_t j
    for j in range(begin, end):
        memcpy(panel + j * (rows + 1), source + j * (rows + 1), sizeof(element) * (rows - j))


cdef void assemble_rest(int32_t s, const FrontContext *ctx, const element *tag) noexcept nogil
cdef void extend_add_to_parent(int32_t s, const FrontContext *ctx,
                               const element *tag) noexcept nogil
cdef void open_subtree(int32_t root, const FrontContext *ctx, const element *tag) noexcept nogil
cdef void gather(int32_t s, const FrontContext *ctx, const element *tag) noexcept nogil
cdef void gather_foreign(int32_t s, const FrontContext *ctx, const element *tag) noexcept nogil
