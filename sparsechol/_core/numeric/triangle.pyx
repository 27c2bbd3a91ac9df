"""
Substitution with a sparse triangle.

Every case of ``op(A) x = b`` is one of two accesses in one of two directions:

* by columns: a compressed slice of A is a column of op(A) (CSC, or CSR transposed).
  x_j = b_j / a_jj, then column j times x_j leaves b.
* by rows: a compressed slice of A is a row of op(A) (CSR, or CSC transposed).
  x_i = (b_i - row i times x) / a_ii.

Forward when op(A) is lower triangular, backward when it is upper. The slices may hold entries of
the other triangle, in any order and repeated: they are passed over. The structure must have been
checked (`checks.check_compressed`).
"""

from libc.math cimport fabs
from libc.stdint cimport int8_t, int64_t
from libc.stdlib cimport qsort

from sparsechol._core.numeric.dense cimport scalar


cdef inline scalar entry(scalar value, bint conjugate) noexcept nogil:
    if scalar is floatcomplex or scalar is doublecomplex:
        if conjugate:
            return value.conjugate()
    return value


cdef inline scalar quotient(scalar x, scalar y) noexcept nogil:
    """x / y; the complex one after Smith (1962), for the textbook's |y|^2 overflows."""
    cdef scalar q
    cdef double ratio, scale
    if scalar is floatcomplex or scalar is doublecomplex:
        if fabs(y.real) >= fabs(y.imag):
            ratio = y.imag / y.real
            scale = y.real + y.imag * ratio
            q.real = (x.real + x.imag * ratio) / scale
            q.imag = (x.imag - x.real * ratio) / scale
        else:
            ratio = y.real / y.imag
            scale = y.real * ratio + y.imag
            q.real = (x.real * ratio + x.imag) / scale
            q.imag = (x.imag * ratio - x.real) / scale
        return q
    else:
        return x / y


cdef inline Py_ssize_t ordinal(Py_ssize_t step, Py_ssize_t n, bint forward) noexcept nogil:
    return step if forward else n - 1 - step


cdef inline bint solved_first(index_t i, index_t j, bint forward) noexcept nogil:
    """Does the sweep meet i strictly before j?"""
    return i < j if forward else i > j


def sum_diagonal(
    const index_t[::1] indptr,
    const index_t[::1] indices,
    const scalar[::1] data,
    scalar[::1] diagonal,
):
    """Write the diagonal of a compressed array to `diagonal`: repeated entries summed, else 0."""
    cdef Py_ssize_t j, p
    with nogil:
        for j in range(diagonal.shape[0]):
            diagonal[j] = 0
            for p in range(indptr[j], indptr[j + 1]):
                if indices[p] == j:
                    diagonal[j] += data[p]


# ---------------------------------------------------------------------------------------------
# Dense right-hand sides


cdef void columns_single(
    Py_ssize_t n,
    const index_t *indptr,
    const index_t *indices,
    const scalar *data,
    const scalar *diagonal,
    scalar *x,
    bint forward,
    bint conjugate,
) noexcept nogil:
    cdef Py_ssize_t step, p
    cdef index_t i, j
    cdef scalar x_j
    for step in range(n):
        j = <index_t> ordinal(step, n, forward)
        x_j = x[j] = quotient(x[j], diagonal[j])
        if x_j == 0:
            continue
        for p in range(indptr[j], indptr[j + 1]):
            i = indices[p]
            if solved_first(j, i, forward):
                x[i] -= entry(data[p], conjugate) * x_j


cdef void rows_single(
    Py_ssize_t n,
    const index_t *indptr,
    const index_t *indices,
    const scalar *data,
    const scalar *diagonal,
    scalar *x,
    bint forward,
    bint conjugate,
) noexcept nogil:
    cdef Py_ssize_t step, p
    cdef index_t i, j
    cdef scalar x_i
    for step in range(n):
        i = <index_t> ordinal(step, n, forward)
        x_i = x[i]
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            if solved_first(j, i, forward):
                x_i -= entry(data[p], conjugate) * x[j]
        x[i] = quotient(x_i, diagonal[i])


cdef inline void divide(scalar* x_j, scalar divisor, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t c
    for c in range(k):
        x_j[c] = quotient(x_j[c], divisor)


cdef inline void subtract(
    scalar* x_i, scalar a, const scalar* x_j, Py_ssize_t k
) noexcept nogil:
    """x_i -= a x_j, all right-hand sides of a row."""
    cdef Py_ssize_t c
    for c in range(k):
        x_i[c] -= a * x_j[c]


cdef void columns_many(
    Py_ssize_t n,
    const index_t *indptr,
    const index_t *indices,
    const scalar *data,
    const scalar *diagonal,
    scalar *x,
    Py_ssize_t k,
    bint forward,
    bint conjugate,
) noexcept nogil:
    cdef Py_ssize_t step, p
    cdef index_t i, j
    for step in range(n):
        j = <index_t> ordinal(step, n, forward)
        divide(x + j * k, diagonal[j], k)
        for p in range(indptr[j], indptr[j + 1]):
            i = indices[p]
            if solved_first(j, i, forward):
                subtract(x + i * k, entry(data[p], conjugate), x + j * k, k)


cdef void rows_many(
    Py_ssize_t n,
    const index_t *indptr,
    const index_t *indices,
    const scalar *data,
    const scalar *diagonal,
    scalar *x,
    Py_ssize_t k,
    bint forward,
    bint conjugate,
) noexcept nogil:
    cdef Py_ssize_t step, p
    cdef index_t i, j
    for step in range(n):
        i = <index_t> ordinal(step, n, forward)
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            if solved_first(j, i, forward):
                subtract(x + i * k, entry(data[p], conjugate), x + j * k, k)
        divide(x + i * k, diagonal[i], k)


cdef void substitute(
    Py_ssize_t n,
    const index_t *indptr,
    const index_t *indices,
    const scalar *data,
    const scalar *diagonal,
    scalar *x,
    Py_ssize_t k,
    bint by_columns,
    bint forward,
    bint conjugate,
) noexcept nogil:
    """Overwrite x, (n, k), the right-hand sides of a row side by side, with the solutions."""
    if k == 1:
        if by_columns:
            columns_single(n, indptr, indices, data, diagonal, x, forward, conjugate)
        else:
            rows_single(n, indptr, indices, data, diagonal, x, forward, conjugate)
    elif by_columns:
        columns_many(n, indptr, indices, data, diagonal, x, k, forward, conjugate)
    else:
        rows_many(n, indptr, indices, data, diagonal, x, k, forward, conjugate)


def solve_dense(
    const index_t[::1] indptr,
    const index_t[::1] indices,
    const scalar[::1] data,
    const scalar[::1] diagonal,
    scalar[:, ::1] x,
    bint by_columns,
    bint forward,
    bint conjugate,
):
    """Overwrite x, (n, k), the right-hand sides of a row side by side, with the solutions."""
    cdef const index_t *members = &indices[0] if indices.shape[0] else NULL
    cdef const scalar *values = &data[0] if data.shape[0] else NULL
    if x.shape[0] == 0 or x.shape[1] == 0:
        return
    with nogil:
        substitute(x.shape[0], &indptr[0], members, values, &diagonal[0], &x[0, 0], x.shape[1],
                   by_columns, forward, conjugate)


# ---------------------------------------------------------------------------------------------
# Sparse right-hand sides (Gilbert and Peierls, 1988)


cdef Py_ssize_t reach(
    const index_t[::1] indptr,
    const index_t[::1] indices,
    const int64_t[::1] roots,
    Py_ssize_t start,
    Py_ssize_t stop,
    int64_t[::1] found,
    int8_t[::1] mark,
    bint forward,
) noexcept nogil:
    """
    Vertices that the graph of op(A) reaches from roots[start:stop], marked and listed in `found`.

    A search in order of discovery: `found` is its own queue. Vertices sorted along the sweep are
    a topological order of a triangle's graph, so no depth-first search is needed.
    """
    cdef Py_ssize_t count = 0, head = 0, p
    cdef int64_t i, j
    for p in range(start, stop):
        i = roots[p]
        if not mark[i]:
            mark[i] = 1
            found[count] = i
            count += 1
    while head < count:
        j = found[head]
        head += 1
        for p in range(indptr[j], indptr[j + 1]):
            i = indices[p]
            if solved_first(j, i, forward) and not mark[i]:
                mark[i] = 1
                found[count] = i
                count += 1
    return count


cdef int compare(const void* a, const void* b) noexcept nogil:
    cdef int64_t i = (<const int64_t*> a)[0], j = (<const int64_t*> b)[0]
    return (i > j) - (i < j)


cdef void ascending(int64_t[::1] found, Py_ssize_t count, const int8_t[::1] mark) noexcept nogil:
    """Sort the marked vertices: read off the marks where they are close together."""
    cdef Py_ssize_t p
    cdef int64_t low, high, i
    if count < 2:
        return
    low = high = found[0]
    for p in range(1, count):
        low = min(low, found[p])
        high = max(high, found[p])
    if high - low > 16 * count:
        qsort(&found[0], count, sizeof(int64_t), compare)
        return
    p = 0
    for i in range(low, high + 1):
        if mark[i]:
            found[p] = i
            p += 1


cdef void columns_reached(
    const index_t[::1] indptr,
    const index_t[::1] indices,
    const scalar[::1] data,
    const scalar[::1] diagonal,
    const int64_t[::1] found,
    Py_ssize_t count,
    scalar[::1] x,
    bint forward,
    bint conjugate,
) noexcept nogil:
    cdef Py_ssize_t step, p
    cdef index_t i, j
    for step in range(count):
        j = <index_t> found[ordinal(step, count, forward)]
        x[j] = quotient(x[j], diagonal[j])
        for p in range(indptr[j], indptr[j + 1]):
            i = indices[p]
            if solved_first(j, i, forward):
                x[i] -= entry(data[p], conjugate) * x[j]


def solve_sparse(
    const index_t[::1] indptr,
    const index_t[::1] indices,
    const scalar[::1] data,
    const scalar[::1] diagonal,
    const int64_t[::1] b_indptr,
    const int64_t[::1] b_indices,
    const scalar[::1] b_data,
    int64_t[::1] x_indptr,
    int64_t[::1] x_indices,
    scalar[::1] x_data,
    int64_t[::1] found,
    int8_t[::1] mark,
    scalar[::1] x,
    Py_ssize_t first,
    bint forward,
    bint conjugate,
):
    """
    Solve by columns for the columns first, first + 1, ... of a CSC right-hand side.

    Column c of the solution goes to x_indices, x_data at x_indptr[c] : x_indptr[c + 1], sorted.
    The workspaces found, mark and x have length n; mark and x come and leave as zeros.

    Returns
    -------
    int
        Columns solved so far: less than all of them when the next does not fit `x_indices`.
    """
    cdef Py_ssize_t c = first, k = b_indptr.shape[0] - 1, count, p
    cdef int64_t start, j
    with nogil:
        while c < k:
            count = reach(
                indptr, indices, b_indices, b_indptr[c], b_indptr[c + 1], found, mark, forward
            )
            start = x_indptr[c]
            if start + count <= x_indices.shape[0]:
                ascending(found, count, mark)
            for p in range(count):
                mark[found[p]] = 0
            if start + count > x_indices.shape[0]:
                break

            for p in range(b_indptr[c], b_indptr[c + 1]):
                x[b_indices[p]] += b_data[p]
            columns_reached(
                indptr, indices, data, diagonal, found, count, x, forward, conjugate
            )
            for p in range(count):
                j = found[p]
                x_indices[start + p] = j
                x_data[start + p] = x[j]
                x[j] = 0
            c += 1
            x_indptr[c] = start + count
    return c
