"""Products of vectors with a sparse matrix, and of vectors where a matrix has entries.

Vectors are (batch, n, k) arrays, k of them for each matrix. Stored values are the lower triangle of
a Hermitian matrix by column; flat panels are those of a factor, in the order of the structure.
"""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from sparsechol._core.numeric.dense cimport conjugate, real, scalar
from sparsechol._core.symbolic.structure cimport Pattern, Structure


cdef int check(Py_ssize_t n, const int64_t[::1] indptr, const int32_t[::1] indices) except -1:
    if indptr.shape[0] != n + 1 or indptr[0] != 0 or indptr[n] != indices.shape[0]:
        raise ValueError("sampled: the pattern does not fit the vectors")
    return 0


cdef void multiply_hermitian(Py_ssize_t n, const int64_t *indptr, const int32_t *indices,
                             const scalar *values, const scalar *x, Py_ssize_t k,
                             scalar *out) noexcept nogil:
    """out <- A x from the stored values of A."""
    cdef Py_ssize_t i, j, c
    cdef int64_t q
    cdef scalar a, sum
    memset(out, 0, sizeof(scalar) * n * k)
    for j in range(n):
        if k == 1:
            sum = 0
            for q in range(indptr[j], indptr[j + 1]):
                i = indices[q]
                if i == j:
                    sum = sum + <scalar>(real(values[q]) * x[j])
                else:
                    out[i] = out[i] + values[q] * x[j]
                    sum = sum + conjugate(values[q]) * x[i]
            out[j] = out[j] + sum
            continue
        for q in range(indptr[j], indptr[j + 1]):
            i = indices[q]
            a = values[q]
            if i == j:
                for c in range(k):
                    out[j * k + c] += real(a) * x[j * k + c]
            else:
                for c in range(k):
                    out[i * k + c] += a * x[j * k + c]
                    out[j * k + c] += conjugate(a) * x[i * k + c]


cdef void sample_outer(Py_ssize_t n, const int64_t *indptr, const int32_t *indices,
                       const scalar *x, const scalar *y, Py_ssize_t k,
                       scalar *out) noexcept nogil:
    """out <- the stored entries of X Y^H + Y X^H, half of them on the diagonal."""
    cdef Py_ssize_t i, j, c
    cdef int64_t q
    cdef scalar sum, left, right
    for j in range(n):
        if k == 1:
            left = conjugate(x[j])
            right = conjugate(y[j])
            for q in range(indptr[j], indptr[j + 1]):
                i = indices[q]
                out[q] = x[i] * right + y[i] * left
            q = indptr[j]               # its diagonal entry, if it has one, is the first
            if q < indptr[j + 1] and indices[q] == j:
                out[q] = <scalar>(real(out[q]) / 2)
            continue
        for q in range(indptr[j], indptr[j + 1]):
            i = indices[q]
            sum = 0
            for c in range(k):
                sum = sum + (x[i * k + c] * conjugate(y[j * k + c])
                             + y[i * k + c] * conjugate(x[j * k + c]))
            out[q] = sum if i != j else <scalar>(real(sum) / 2)


cdef void multiply_factor(const Pattern *p, const scalar *flat, const scalar *x, Py_ssize_t k,
                          bint adjoint, const int32_t *inward, const int32_t *outward,
                          scalar *out) noexcept nogil:
    """out <- L x, or L^H x; inward, outward: row of x and of out at each place of L."""
    cdef Py_ssize_t c, nc, rows, i, j
    cdef int32_t s, r
    cdef const scalar *column = flat
    cdef const scalar *source
    cdef scalar *target
    cdef scalar a
    memset(out, 0, sizeof(scalar) * p.n * k)
    for s in range(p.nsuper):
        nc = p.first[s + 1] - p.first[s]
        rows = nc + p.row_start[s + 1] - p.row_start[s]
        for j in range(nc):
            for i in range(j, rows):
                r = p.first[s] + <int32_t>i if i < nc else p.rows[p.row_start[s] + i - nc]
                a = column[i] if i > j else <scalar>real(column[i])
                if adjoint:
                    source = x + inward[r] * k
                    target = out + outward[p.first[s] + j] * k
                    a = conjugate(a)
                else:
                    source = x + inward[p.first[s] + j] * k
                    target = out + outward[r] * k
                for c in range(k):
                    target[c] += a * source[c]
            column += rows


cdef void sample_factor(const Pattern *p, const scalar *x, const scalar *y, Py_ssize_t k,
                        const int32_t *of_x, const int32_t *of_y, scalar *out) noexcept nogil:
    """out <- the lower triangle of X Y^H on the panels, with zeros above it.

    of_x, of_y : row of x and of y at each place of L.
    """
    cdef Py_ssize_t c, nc, rows, i, j
    cdef int32_t s, r
    cdef const scalar *left
    cdef const scalar *right
    cdef scalar sum
    for s in range(p.nsuper):
        nc = p.first[s + 1] - p.first[s]
        rows = nc + p.row_start[s + 1] - p.row_start[s]
        for j in range(nc):
            right = y + of_y[p.first[s] + j] * k
            for i in range(rows):
                sum = 0
                if i >= j:
                    r = p.first[s] + <int32_t>i if i < nc else p.rows[p.row_start[s] + i - nc]
                    left = x + of_x[r] * k
                    for c in range(k):
                        sum = sum + left[c] * conjugate(right[c])
                out[i] = sum if i != j else <scalar>real(sum)
            out += rows


cdef void multiply_triangle(Py_ssize_t n, const int64_t *indptr, const int64_t *indices,
                            const scalar *values, bint adjoint, const scalar *x, Py_ssize_t k,
                            scalar *out) noexcept nogil:
    """out <- T x, or T^H x, of a matrix by column that is not symmetric."""
    cdef Py_ssize_t i, j, c
    cdef int64_t q
    memset(out, 0, sizeof(scalar) * n * k)
    for j in range(n):
        for q in range(indptr[j], indptr[j + 1]):
            i = indices[q]
            for c in range(k):
                if adjoint:
                    out[j * k + c] += conjugate(values[q]) * x[i * k + c]
                else:
                    out[i * k + c] += values[q] * x[j * k + c]


cdef void sample_triangle(Py_ssize_t n, const int64_t *indptr, const int64_t *indices,
                          const scalar *x, const scalar *y, Py_ssize_t k,
                          scalar *out) noexcept nogil:
    """out <- the entries of X Y^H where such a matrix has some."""
    cdef Py_ssize_t i, j, c
    cdef int64_t q
    cdef scalar sum
    for j in range(n):
        for q in range(indptr[j], indptr[j + 1]):
            i = indices[q]
            sum = 0
            for c in range(k):
                sum = sum + x[i * k + c] * conjugate(y[j * k + c])
            out[q] = sum


def hermitian_product(const int64_t[::1] indptr, const int32_t[::1] indices,
                      const scalar[:, ::1] values, const scalar[:, :, ::1] x,
                      scalar[:, :, ::1] out):
    """out <- A x from the stored values of A."""
    cdef Py_ssize_t n = x.shape[1], k = x.shape[2]
    cdef Py_ssize_t item
    check(n, indptr, indices)
    if (values.shape[1] != indices.shape[0] or x.shape[0] != values.shape[0]
            or out.shape[0] != x.shape[0] or out.shape[1] != n or out.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    if n == 0 or k == 0:
        return
    with nogil:
        for item in range(x.shape[0]):
            multiply_hermitian(n, &indptr[0], &indices[0], &values[item, 0], &x[item, 0, 0], k,
                               &out[item, 0, 0])


def hermitian_outer(const int64_t[::1] indptr, const int32_t[::1] indices,
                    const scalar[:, :, ::1] x, const scalar[:, :, ::1] y, scalar[:, ::1] out):
    """out <- the stored entries of X Y^H + Y X^H, half of them on the diagonal."""
    cdef Py_ssize_t n = x.shape[1], k = x.shape[2]
    cdef Py_ssize_t item
    check(n, indptr, indices)
    if (out.shape[1] != indices.shape[0] or x.shape[0] != out.shape[0]
            or y.shape[0] != x.shape[0] or y.shape[1] != n or y.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    if k == 0:
        out[:] = 0
    if n == 0 or k == 0:
        return
    with nogil:
        for item in range(x.shape[0]):
            sample_outer(n, &indptr[0], &indices[0], &x[item, 0, 0], &y[item, 0, 0], k,
                         &out[item, 0])


cdef int check_panels(Structure structure, Py_ssize_t size, Py_ssize_t n) except -1:
    if size != structure.pattern.size or n != structure.pattern.n:
        raise ValueError("sampled: arrays do not belong to this structure")
    return 0


cdef int check_rows(Structure structure, const int32_t[::1] a, const int32_t[::1] b) except -1:
    if a.shape[0] != structure.pattern.n or b.shape[0] != structure.pattern.n:
        raise ValueError("sampled: row numbers do not belong to this structure")
    return 0


def factor_product(Structure structure, const scalar[:, ::1] flat, const scalar[:, :, ::1] x,
                   bint adjoint, const int32_t[::1] inward, const int32_t[::1] outward,
                   scalar[:, :, ::1] out):
    """out <- L x, or L^H x; inward, outward: row of x and of out at each place of L."""
    cdef Py_ssize_t item, k = x.shape[2]
    check_panels(structure, flat.shape[1], x.shape[1])
    check_rows(structure, inward, outward)
    if (x.shape[0] != flat.shape[0] or out.shape[0] != x.shape[0] or out.shape[1] != x.shape[1]
            or out.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    if structure.pattern.n == 0 or k == 0:
        return
    with nogil:
        for item in range(flat.shape[0]):
            multiply_factor(&structure.pattern, &flat[item, 0], &x[item, 0, 0], k, adjoint,
                            &inward[0], &outward[0], &out[item, 0, 0])


def factor_outer(Structure structure, const scalar[:, :, ::1] x, const scalar[:, :, ::1] y,
                 const int32_t[::1] of_x, const int32_t[::1] of_y, scalar[:, ::1] out):
    """out <- the lower triangle of X Y^H on the panels, with zeros above it.

    of_x, of_y : row of x and of y at each place of L.
    """
    cdef Py_ssize_t item, k = x.shape[2]
    check_panels(structure, out.shape[1], x.shape[1])
    check_rows(structure, of_x, of_y)
    if (x.shape[0] != out.shape[0] or y.shape[0] != x.shape[0] or y.shape[1] != x.shape[1]
            or y.shape[2] != k):
        raise ValueError("sampled: shapes do not fit")
    if k == 0:
        out[:] = 0
    if structure.pattern.n == 0 or k == 0:
        return
    with nogil:
        for item in range(out.shape[0]):
            sample_factor(&structure.pattern, &x[item, 0, 0], &y[item, 0, 0], k, &of_x[0],
                          &of_y[0], &out[item, 0])
