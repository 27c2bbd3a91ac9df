"""Rows and columns that leave a factored matrix or come back to it.

If row and column i are deleted, those of the identity take their place (Davis and Hager 2005):

        [ L11           ]        [ L11           ]
        [ l12^H d       ]   ->   [ 0    1        ]      L33' L33'^H = L33 L33^H + l32 l32^H
        [ L31   l32 L33 ]        [ L31  0   L33' ]

and the reverse where they are added: l12 = L11^-1 a12, l32 = (a32 - L31 l12) / d.

The update or downdate of L33 is that of update.pyx.

References
----------
Davis, T. A., Hager, W. W. (2005). Row modifications of a sparse Cholesky factorization. SIAM J.
    Matrix Anal. Appl. 26(3).
"""

from libc.stdint cimport int8_t, int32_t, int64_t
from libc.stdlib cimport calloc, free

import numpy as np

from sparsechol._core.numeric.dense cimport conjugate, real, scalar
from sparsechol._core.symbolic.structure cimport (
    Pattern, Structure, front_rows, place_in_front, supernode_of,
)


cdef int32_t subtree_of_row(const Pattern *p, int32_t row, const int32_t[::1] before,
                            int32_t *found) noexcept nogil:
    """The supernodes, in ascending order, whose fronts have a row below their columns.

    before : columns of A with an entry in this row, all before it.
    found : (nsuper).

    Returns their number, -1 without memory.
    """
    cdef int32_t last = supernode_of(p, row), count = 0, s
    cdef Py_ssize_t k
    cdef int8_t *seen = <int8_t *>calloc(p.nsuper, 1)
    if seen == NULL:
        return -1
    for k in range(before.shape[0]):
        s = supernode_of(p, before[k])
        while s != last and not seen[s]:
            seen[s] = True
            s = p.parent[s]
    for s in range(last):
        if seen[s]:
            found[count] = s
            count += 1
    free(seen)
    return count


cdef void solve_row(const Pattern *p, int32_t row, const int32_t *path, int32_t count,
                    const scalar *l, scalar *x) noexcept nogil:
    """x <- L^-1 x on the columns before a row, x - L L^-1 x on the rows from it on."""
    cdef int32_t k, j, s = supernode_of(p, row)
    for k in range(count):
        for j in range(p.first[path[k]], p.first[path[k] + 1]):
            eliminate_below(p, path[k], j, l, x)
    for j in range(p.first[s], row):
        eliminate_below(p, s, j, l, x)


cdef inline void eliminate_below(const Pattern *p, int32_t s, int32_t column, const scalar *l,
                                 scalar *x) noexcept nogil:
    cdef int32_t nc = p.first[s + 1] - p.first[s], j = column - p.first[s], i
    cdef int64_t q, m = p.row_start[s + 1] - p.row_start[s]
    cdef const scalar *panel = l + p.panel[s] + j * (nc + m)
    cdef const int32_t *rows = p.rows + p.row_start[s]
    cdef scalar y = x[column]
    if y == 0:
        return
    y = y / <scalar>real(panel[j])
    x[column] = y
    for i in range(j + 1, nc):
        x[p.first[s] + i] -= panel[i] * y
    for q in range(m):
        x[rows[q]] -= panel[nc + q] * y


cdef struct Squares:
    double signed       # sum of s |x|^2, s the sign of the pivot
    double all          # sum of |x|^2


cdef Squares turn_row(const Pattern *p, int32_t row, const int32_t *path, int32_t count,
                      const scalar *l, scalar *x) noexcept nogil:
    """x <- S x on the columns before a row; the squares of x."""
    cdef Squares sums = Squares(signed=0, all=0)
    cdef int32_t k, s = supernode_of(p, row)
    for k in range(count):
        turn_in_front(p, path[k], p.first[path[k] + 1], l, x, &sums)
    turn_in_front(p, s, row, l, x, &sums)
    return sums


cdef inline void turn_in_front(const Pattern *p, int32_t s, int32_t end, const scalar *l,
                               scalar *x, Squares *sums) noexcept nogil:
    cdef int64_t rows = front_rows(p, s)
    cdef int32_t j
    cdef double square
    for j in range(p.first[s], end):
        square = real(x[j] * conjugate(x[j]))
        sums.all += square
        if real(l[p.panel[s] + (j - p.first[s]) * (rows + 1)]) < 0:
            x[j] = -x[j]
            square = -square
        sums.signed += square


cdef void write_row(const Pattern *p, int32_t row, const int32_t *path, int32_t count,
                    const scalar *x, scalar *l) noexcept nogil:
    """Row of L <- x^H on the columns before it."""
    cdef int32_t k, s = supernode_of(p, row)
    for k in range(count):
        write_in_front(p, path[k], row, p.first[path[k] + 1], x, l)
    write_in_front(p, s, row, row, x, l)


cdef inline void write_in_front(const Pattern *p, int32_t s, int32_t row, int32_t end,
                                const scalar *x, scalar *l) noexcept nogil:
    """Row of the panel of s <- x^H on its columns before `end`, where the panel has the row."""
    cdef int64_t rows = front_rows(p, s)
    cdef int64_t at = place_in_front(p, s, row)
    cdef int32_t j
    if at == -1:
        return
    for j in range(p.first[s], end):
        l[p.panel[s] + (j - p.first[s]) * rows + at] = conjugate(x[j])


cdef inline bint is_zero_in_front(const Pattern *p, int32_t s, int32_t row, int32_t end,
                                  const scalar *l) noexcept nogil:
    cdef int64_t rows = front_rows(p, s)
    cdef int64_t at = place_in_front(p, s, row)
    cdef int32_t j
    if at != -1:
        for j in range(p.first[s], end):
            if l[p.panel[s] + (j - p.first[s]) * rows + at] != 0:
                return False
    return True


cdef int check_row(const Pattern *p, Py_ssize_t size, int32_t row,
                   const int32_t[::1] before) except -1:
    cdef Py_ssize_t k
    if size != p.size or not 0 <= row < p.n:
        raise ValueError("row_changes: the row does not belong to this structure")
    for k in range(before.shape[0]):
        if not 0 <= before[k] < row:
            raise ValueError("row_changes: entries of the row are not before it")
    return 0


def column_of(Structure structure, const scalar[::1] l, int32_t column):
    """Column of L below the diagonal, rows in the order of the kernels and values; its diagonal."""
    cdef const Pattern *p = &structure.pattern
    cdef int32_t[::1] below
    cdef int32_t s, first
    cdef int64_t at, rows
    cdef Py_ssize_t k
    check_row(p, l.shape[0], column, np.empty(0, np.int32))
    s = supernode_of(p, column)
    rows = front_rows(p, s)
    at = p.panel[s] + (column - p.first[s]) * rows + column - p.first[s]
    values = np.asarray(l)[at:p.panel[s] + (column - p.first[s] + 1) * rows]
    first = p.first[s + 1] - column - 1
    below_array = np.empty(first + p.row_start[s + 1] - p.row_start[s], dtype=np.int32)
    below = below_array
    for k in range(below.shape[0]):
        below[k] = column + 1 + <int32_t>k if k < first else p.rows[p.row_start[s] + k - first]
    return below_array, values[1:].copy(), float(values[0].real)


def solve_before(Structure structure, const scalar[::1] l, int32_t row, const int32_t[::1] before,
                 scalar[::1] x):
    """x <- S L11^-1 x on the columns before a row, and x2 - L21 L11^-1 x1 on the row and after it.

    Parameters
    ----------
    before : columns before the row where A has an entry in it; x is zero on all other columns

    Returns
    -------
    tuple of float
        Of x on the columns before the row, x^H S x and x^H x.
    """
    cdef const Pattern *p = &structure.pattern
    cdef int32_t count
    cdef Squares sums = Squares(signed=0, all=0)
    check_row(p, l.shape[0], row, before)
    if x.shape[0] != p.n:
        raise ValueError("row_changes: the row does not belong to this structure")
    path_array = np.empty(p.nsuper, np.int32)
    cdef int32_t[::1] path = path_array
    with nogil:
        count = subtree_of_row(p, row, before, &path[0])
        if count >= 0:
            solve_row(p, row, &path[0], count, &l[0], &x[0])
            sums = turn_row(p, row, &path[0], count, &l[0], &x[0])
    if count < 0:
        raise MemoryError("no memory for the workspace of a change")
    return sums.signed, sums.all


def is_zero_row(Structure structure, const scalar[::1] l, int32_t row, const int32_t[::1] before):
    """Whether a row of L is zero before its diagonal."""
    cdef const Pattern *p = &structure.pattern
    cdef int32_t count, k, s
    cdef bint zero = True
    check_row(p, l.shape[0], row, before)
    path_array = np.empty(p.nsuper, np.int32)
    cdef int32_t[::1] path = path_array
    with nogil:
        count = subtree_of_row(p, row, before, &path[0])
        for k in range(count):
            zero = zero and is_zero_in_front(p, path[k], row, p.first[path[k] + 1], &l[0])
        s = supernode_of(p, row)
        zero = zero and is_zero_in_front(p, s, row, row, &l[0])
    if count < 0:
        raise MemoryError("no memory for the workspace of a change")
    return zero


def write_row_and_column(Structure structure, scalar[::1] l, int32_t row,
                         const int32_t[::1] before, const scalar[::1] x, double diagonal):
    """Row of L <- x^H before the diagonal, its column <- x below; then the diagonal."""
    cdef const Pattern *p = &structure.pattern
    cdef int32_t count, s, i, nc
    cdef int64_t q, m
    cdef scalar *column
    check_row(p, l.shape[0], row, before)
    if x.shape[0] != p.n:
        raise ValueError("row_changes: the row does not belong to this structure")
    path_array = np.empty(p.nsuper, np.int32)
    cdef int32_t[::1] path = path_array
    with nogil:
        count = subtree_of_row(p, row, before, &path[0])
        if count >= 0:
            write_row(p, row, &path[0], count, &x[0], &l[0])
            s = supernode_of(p, row)
            nc = p.first[s + 1] - p.first[s]
            m = p.row_start[s + 1] - p.row_start[s]
            column = &l[0] + p.panel[s] + (row - p.first[s]) * (nc + m)
            column[row - p.first[s]] = <scalar>diagonal
            for i in range(row - p.first[s] + 1, nc):
                column[i] = x[p.first[s] + i]
            for q in range(m):
                column[nc + q] = x[p.rows[p.row_start[s] + q]]
    if count < 0:
        raise MemoryError("no memory for the workspace of a change")
