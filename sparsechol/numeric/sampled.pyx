"""Products of vectors with a sparse matrix, and of vectors where a matrix has entries.

Vectors are (batch, n, k) arrays, k of them for each matrix. Stored values are the lower triangle of
a Hermitian matrix by column; flat panels are those of a factor, in the order of the structure.
"""

from libc.stdint cimport int32_t, int64_t

from sparsechol.numeric.dense cimport conjugate, real, scalar
from sparsechol.symbolic.structure cimport Pattern, Structure


cdef int check(Py_ssize_t n, const int64_t[::1] indptr, const int32_t[::1] indices) except -1:
    if indptr.shape[0] != n + 1 or indptr[0] != 0 or indptr[n] != indices.shape[0]:
        raise ValueError("sampled: the pattern does not fit the vectors")
    return 0


def hermitian_product(const int64_t[::1] indptr, const int32_t[::1] indices,
                      const scalar[:, ::1] values, const scalar[:, :, ::1] x,
                      scalar[:, :, ::1] out):
    """out <- A x from the stored values of A."""
    cdef Py_ssize_t n = x.shape[1], k = x.shape[2]
    cdef Py_ssize_t item, j, c
    cdef int64_t q
    cdef int32_t i
    cdef scalar a
    check(n, indptr, indices)
    if (values.shape[1] != indices.shape[0] or x.shape[0] != values.shape[0]
            or out.shape[0] != x.shape[0] or out.shape[1] != n or out.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    out[:] = 0
    with nogil:
        for item in range(x.shape[0]):
            for j in range(n):
                for q in range(indptr[j], indptr[j + 1]):
                    i = indices[q]
                    a = values[item, q]
                    if i == j:
                        for c in range(k):
                            out[item, j, c] += real(a) * x[item, j, c]
                    else:
                        for c in range(k):
                            out[item, i, c] += a * x[item, j, c]
                            out[item, j, c] += conjugate(a) * x[item, i, c]


def hermitian_outer(const int64_t[::1] indptr, const int32_t[::1] indices,
                    const scalar[:, :, ::1] x, const scalar[:, :, ::1] y, scalar[:, ::1] out):
    """out <- the stored entries of X Y^H + Y X^H, half of them on the diagonal."""
    cdef Py_ssize_t n = x.shape[1], k = x.shape[2]
    cdef Py_ssize_t item, j, c
    cdef int64_t q
    cdef int32_t i
    cdef scalar sum
    check(n, indptr, indices)
    if (out.shape[1] != indices.shape[0] or x.shape[0] != out.shape[0]
            or y.shape[0] != x.shape[0] or y.shape[1] != n or y.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    with nogil:
        for item in range(x.shape[0]):
            for j in range(n):
                for q in range(indptr[j], indptr[j + 1]):
                    i = indices[q]
                    sum = 0
                    for c in range(k):
                        sum = sum + (x[item, i, c] * conjugate(y[item, j, c])
                                     + y[item, i, c] * conjugate(x[item, j, c]))
                    out[item, q] = sum if i != j else <scalar>(real(sum) / 2)


cdef int check_panels(Structure structure, Py_ssize_t size, Py_ssize_t n) except -1:
    if size != structure.pattern.size or n != structure.pattern.n:
        raise ValueError("sampled: arrays do not belong to this structure")
    return 0


def factor_product(Structure structure, const scalar[:, ::1] flat, const scalar[:, :, ::1] x,
                   bint adjoint, scalar[:, :, ::1] out):
    """out <- L x, or L^H x, in the order of the structure."""
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t k = x.shape[2]
    cdef Py_ssize_t item, c, nc, rows, i, j, r
    cdef int32_t s
    cdef const scalar *column
    cdef scalar a
    check_panels(structure, flat.shape[1], x.shape[1])
    if (x.shape[0] != flat.shape[0] or out.shape[0] != x.shape[0] or out.shape[1] != x.shape[1]
            or out.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    out[:] = 0
    with nogil:
        for item in range(flat.shape[0]):
            for s in range(p.nsuper):
                nc = p.first[s + 1] - p.first[s]
                rows = nc + p.row_start[s + 1] - p.row_start[s]
                for j in range(nc):
                    column = &flat[item, 0] + p.panel[s] + j * rows
                    for i in range(j, rows):
                        r = p.first[s] + i if i < nc else p.rows[p.row_start[s] + i - nc]
                        a = column[i] if i > j else <scalar>real(column[i])
                        for c in range(k):
                            if adjoint:
                                out[item, p.first[s] + j, c] += conjugate(a) * x[item, r, c]
                            else:
                                out[item, r, c] += a * x[item, p.first[s] + j, c]


def factor_outer(Structure structure, const scalar[:, :, ::1] x, const scalar[:, :, ::1] y,
                 scalar[:, ::1] out):
    """out <- the lower triangle of X Y^H on the panels, with zeros above it."""
    cdef const Pattern *p = &structure.pattern
    cdef Py_ssize_t k = x.shape[2]
    cdef Py_ssize_t item, c, nc, rows, i, j, r
    cdef int32_t s
    cdef scalar *column
    cdef scalar sum
    check_panels(structure, out.shape[1], x.shape[1])
    if (x.shape[0] != out.shape[0] or y.shape[0] != x.shape[0] or y.shape[1] != x.shape[1]
            or y.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    with nogil:
        for item in range(out.shape[0]):
            for s in range(p.nsuper):
                nc = p.first[s + 1] - p.first[s]
                rows = nc + p.row_start[s + 1] - p.row_start[s]
                for j in range(nc):
                    column = &out[item, 0] + p.panel[s] + j * rows
                    for i in range(rows):
                        sum = 0
                        r = p.first[s] + i if i < nc else p.rows[p.row_start[s] + i - nc]
                        if i >= j:
                            for c in range(k):
                                sum = sum + x[item, r, c] * conjugate(y[item, p.first[s] + j, c])
                        column[i] = sum if i != j else <scalar>real(sum)
