"""Dense building blocks of a front (see dense.pxd).

OpenBLAS runs POTRF and TRSM far below the speed of GEMM, and costs more than the arithmetic on
blocks of a few columns. So panels are halved down to WIDTH columns, which own kernels factor in
registers; everything between the halves is a product.
"""

from libc.stdint cimport int32_t, int64_t
from scipy.linalg.cython_blas cimport cgemm, dgemm, sgemm, zgemm


cdef extern from "kernels.h" nogil:
    cdef enum:
        WIDTH
    ctypedef struct kernels:
        Py_ssize_t own_product
        int (*factor)(Py_ssize_t, int, void *, Py_ssize_t) noexcept nogil
        void (*solve)(int, Py_ssize_t, int, const void *, Py_ssize_t, void *,
                      Py_ssize_t) noexcept nogil
        void (*multiply)(int, int, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t,
                         const void *, Py_ssize_t, int, void *, Py_ssize_t) noexcept nogil
        void (*forward)(Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, void *,
                        void *) noexcept nogil
        void (*backward)(Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, void *,
                         const void *) noexcept nogil
        void (*scatter)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const int32_t *, int, const void *,
                        void *, Py_ssize_t) noexcept nogil
        Py_ssize_t (*columns)(Py_ssize_t, Py_ssize_t, const int32_t *, const int64_t *,
                              const int64_t *, const int32_t *, const int32_t *, void *,
                              void *) noexcept nogil
        void (*inverse_columns)(Py_ssize_t, Py_ssize_t, const int32_t *, const int64_t *,
                                const int64_t *, const int32_t *, const int32_t *, const void *,
                                void *, const void *, void *) noexcept nogil
    const char *kernels_best()
    int kernels_use(const char *name, const kernels **tables)


cdef const kernels *tables[SCALARS]
kernels_use(kernels_best(), tables)

cdef enum:
    BLOCK = 64              # columns of a block when only the lower part of a product is wanted


cdef inline const kernels *own(const scalar *witness) noexcept nogil:
    """The own kernels for the type of the pointer."""
    return tables[kind_of(witness)]


cdef int factor_panel(int rows, int nc, scalar *P, int ld) noexcept nogil:
    """Factor the first nc columns of a front; -1, or the column whose pivot is not positive.

        [ P11  .   ]  h            L11 <- chol(P11), L21 <- P21 L11^-H
        [ P21  P22 ]  rows - h     P22 <- P22 - L21 L21^H, then the same on P22
    """
    cdef int h, bad
    if nc <= WIDTH:
        return own(<const scalar *>P).factor(rows, nc, P, ld)
    if nc <= PANEL and rows > nc:
        # The triangle first, then the rows below it in blocks that stay in cache.
        bad = factor_panel(nc, nc, P, ld)
        if bad < 0:
            h = nc
            while h < rows:
                solve_right(ADJOINT, min(<int>PANEL, rows - h), nc, <const scalar *>P, ld, P + h,
                            ld)
                h += PANEL
        return bad
    h = half(nc)
    bad = factor_panel(rows, h, P, ld)
    if bad >= 0:
        return bad
    P += h
    multiply(ADJOINT, True, rows - h, nc - h, h, P, ld, P, ld, True, P + <Py_ssize_t>h * ld, ld)
    bad = factor_panel(rows - h, nc - h, P + <Py_ssize_t>h * ld, ld)
    return bad + h if bad >= 0 else -1


cdef inline int half(int nc) noexcept nogil:
    """About half of nc, a multiple of WIDTH."""
    return (nc // 2 + WIDTH - 1) // WIDTH * WIDTH


cdef void solve_right(int op, int rows, int nc, const scalar *L, int ldl, scalar *X,
                      int ldx) noexcept nogil:
    """X <- X op(L)^-1.

        [X1 X2]   with  L = [ L11      ]     transposed: X1, then X2 <- X2 - X1 L21^T, then X2
                            [ L21  L22 ]     as is:      X2, then X1 <- X1 - X2 L21, then X1
    """
    cdef int h
    cdef const scalar *L21
    cdef const scalar *L22
    cdef scalar *X2
    if nc <= WIDTH:
        own(<const scalar *>X).solve(op, rows, nc, L, ldl, X, ldx)
        return
    h = half(nc)
    L21 = L + h
    L22 = L21 + <Py_ssize_t>h * ldl
    X2 = X + <Py_ssize_t>h * ldx
    if op == AS_IS:
        solve_right(op, rows, nc - h, L22, ldl, X2, ldx)
        multiply(op, False, rows, h, nc - h, X2, ldx, L21, ldl, True, X, ldx)
        solve_right(op, rows, h, L, ldl, X, ldx)
    else:
        solve_right(op, rows, h, L, ldl, X, ldx)
        multiply(op, False, rows, nc - h, h, X, ldx, L21, ldl, True, X2, ldx)
        solve_right(op, rows, nc - h, L22, ldl, X2, ldx)


cdef void multiply(int op, bint lower, int m, int n, int k, const scalar *A, int lda,
                   const scalar *B, int ldb, bint beta, scalar *C, int ldc) noexcept nogil:
    """C <- beta C - A op(B), beta 0 or 1; `lower` leaves out what lies above the diagonal of C."""
    cdef int j, columns
    if m <= 0 or n <= 0:
        return
    if <int64_t>m * n * k <= own(<const scalar *>C).own_product:
        own(<const scalar *>C).multiply(op, lower, m, n, k, A, lda, B, ldb, beta, C, ldc)
    elif lower:
        # Row j of A meets row j of B: the block from the diagonal down needs A from row j.
        j = 0
        while j < n:
            columns = min(<int>BLOCK, n - j)
            gemm(op, m - j, columns, k, A + j, lda, B + j, ldb, beta,
                 C + j + <Py_ssize_t>j * ldc, ldc)
            j += BLOCK
    else:
        gemm(op, m, n, k, A, lda, B, ldb, beta, C, ldc)


cdef inline void gemm(int op, int m, int n, int k, const scalar *A, int lda, const scalar *B,
                      int ldb, bint beta, scalar *C, int ldc) noexcept nogil:
    """BLAS: C <- beta C - A op(B)."""
    cdef char *no = b"N"
    cdef char *how = b"N" if op == AS_IS else (b"T" if op == TRANSPOSED else b"C")
    cdef scalar minus = -1
    cdef scalar scale = 1 if beta else 0
    if scalar is float:
        sgemm(no, how, &m, &n, &k, &minus, <scalar *>A, &lda, <scalar *>B, &ldb, &scale, C, &ldc)
    elif scalar is double:
        dgemm(no, how, &m, &n, &k, &minus, <scalar *>A, &lda, <scalar *>B, &ldb, &scale, C, &ldc)
    elif scalar is floatcomplex:
        cgemm(no, how, &m, &n, &k, &minus, <scalar *>A, &lda, <scalar *>B, &ldb, &scale, C, &ldc)
    else:
        zgemm(no, how, &m, &n, &k, &minus, <scalar *>A, &lda, <scalar *>B, &ldb, &scale, C, &ldc)


cdef void forward_one(int nc, int m, const scalar *P, int ld, scalar *x, scalar *w) noexcept nogil:
    """x <- L11^-1 x and w <- L21 x for one right-hand side."""
    own(<const scalar *>P).forward(nc, m, P, ld, x, w)


cdef void backward_one(int nc, int m, const scalar *P, int ld, scalar *x,
                       const scalar *w) noexcept nogil:
    """x <- L11^-H (x - L21^H w) for one right-hand side."""
    own(<const scalar *>P).backward(nc, m, P, ld, x, w)


cdef void scatter_add(int m, int begin, int end, const int32_t *place, int shift, const scalar *U,
                      scalar *D, int ldd) noexcept nogil:
    """D[place[i] - shift, place[j] - shift] += U[i, j] for i >= j, begin <= j < end."""
    if begin >= end:
        return
    own(<const scalar *>D).scatter(m, begin, end, place, shift, U, D, ldd)


cdef Py_ssize_t factor_columns(const Pattern *p, int32_t begin, int32_t root, scalar *l,
                               scalar *update) noexcept nogil:
    """Factor the columns of a region; -1, or the column whose pivot is not positive."""
    return own(<const scalar *>l).columns(begin, root, p.first, p.panel, p.row_start, p.rows,
                                          p.target + p.target_start[begin], l + p.panel[begin],
                                          update)


cdef void invert_columns(const Pattern *p, int32_t begin, int32_t root, const scalar *l,
                         scalar *z, const scalar *corner, scalar *t) noexcept nogil:
    """Partial inverse on the columns of a region."""
    own(l).inverse_columns(begin, root, p.first, p.panel, p.row_start, p.rows,
                           p.target + p.target_start[root + 1], l + p.panel[begin],
                           z + p.panel[begin], corner, t)


def instruction_set(name=None):
    """Name of the instruction set in use; with `name`, switch to it (for tests)."""
    global current
    if name is not None:
        if not kernels_use(name.encode(), tables):
            raise ValueError(f"kernels for {name!r} are not built or cannot run on this processor")
        current = name
    return current


current = (<bytes>kernels_best()).decode()
