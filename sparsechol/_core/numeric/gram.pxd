"""A^H W A on a fixed pattern, and its adjoints."""

from libc.stdint cimport int32_t, int64_t

from sparsechol._core.symbolic.structure cimport Pattern

cdef struct Congruence:
    # What `symbolic.congruence` has found out, and both triangles of the product by column.
    Py_ssize_t rows             # of A
    Py_ssize_t block            # rows of a block of weights
    Py_ssize_t entries          # of A
    Py_ssize_t squares          # scalars in the squares of all units
    Py_ssize_t widest           # columns of a unit with a square
    Py_ssize_t unit_tasks
    Py_ssize_t column_tasks
    const int64_t *row_start
    const int32_t *row_order
    const int32_t *row_at
    const int64_t *unit_start
    const int64_t *column_start
    const int64_t *square_start
    const int32_t *unit_columns
    const int32_t *local        # NULL: every row has all columns of its unit
    const int64_t *incidence_start
    const int32_t *incidence_at
    const int32_t *incidence_row
    const int32_t *incidence_column
    const int32_t *incidence_local
    const int32_t *incidence_tail
    const int32_t *unit_task
    const int32_t *column_task
    const int64_t *full_start
    const int32_t *full_rows
    const int64_t *full_sources     # packed value of an entry, complemented where conjugated

cpdef enum Role:
    FORM                        # of a, w, a: packed values
    ROWS                        # of w, a and packed values: the adjoint in the other a
    WEIGHTS                     # of a, a and packed values: the adjoint in w

cdef bint congruence(const Congruence *g, const Pattern *p, const int64_t *indptr,
                     const int32_t *indices, Role role, int kind, const void *x, const void *y,
                     const void *z, void *out, int threads) noexcept nogil
