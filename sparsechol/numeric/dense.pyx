"""Dense building blocks of a front (see dense.pxd).

Panels are halved down to WIDTH columns, which are factored in registers; everything between the
halves is a product. No BLAS: it costs more than the arithmetic on small blocks, and its threads
would meet those of the caller.
"""

from libc.stdint cimport int32_t


cdef extern from "kernels.h" nogil:
    cdef enum:
        WIDTH
        FLOAT
        DOUBLE
        FLOAT_COMPLEX
        DOUBLE_COMPLEX
        SCALARS
    ctypedef struct kernels:
        int (*factor)(Py_ssize_t, int, void *, Py_ssize_t) noexcept nogil
        void (*solve)(int, Py_ssize_t, int, const void *, Py_ssize_t, void *,
                      Py_ssize_t) noexcept nogil
        void (*multiply)(int, int, Py_ssize_t, Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t,
                         const void *, Py_ssize_t, int, void *, Py_ssize_t,
                         void *) noexcept nogil
        void (*forward)(Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, void *,
                        void *) noexcept nogil
        void (*backward)(Py_ssize_t, Py_ssize_t, const void *, Py_ssize_t, void *,
                         const void *) noexcept nogil
        void (*scatter)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const int32_t *, int, const void *,
                        void *, Py_ssize_t) noexcept nogil
    const char *kernels_best()
    int kernels_use(const char *name, const kernels **tables)


cdef const kernels *tables[SCALARS]
kernels_use(kernels_best(), tables)


cdef inline const kernels *own(const scalar *witness) noexcept nogil:
    """The own kernels for the type of the pointer."""
    if scalar is float:
        return tables[FLOAT]
    elif scalar is double:
        return tables[DOUBLE]
    elif scalar is floatcomplex:
        return tables[FLOAT_COMPLEX]
    else:
        return tables[DOUBLE_COMPLEX]


cdef int factor_panel(int rows, int nc, scalar *P, int ld, scalar *pack) noexcept nogil:
    """Factor the first nc columns of a front; -1, or the column whose pivot is not positive.

        [ P11  .   ]  h            L11 <- chol(P11), L21 <- P21 L11^-H
        [ P21  P22 ]  rows - h     P22 <- P22 - L21 L21^H, then the same on P22
    """
    cdef int h, bad
    if nc <= WIDTH:
        return own(<const scalar *>P).factor(rows, nc, P, ld)
    if nc <= PANEL and rows > nc:
        # The triangle first, then the rows below it in blocks that stay in cache.
        bad = factor_panel(nc, nc, P, ld, pack)
        if bad < 0:
            h = nc
            while h < rows:
                solve_right(ADJOINT, min(<int>PANEL, rows - h), nc, <const scalar *>P, ld, P + h,
                            ld, pack)
                h += PANEL
        return bad
    h = half(nc)
    bad = factor_panel(rows, h, P, ld, pack)
    if bad >= 0:
        return bad
    P += h
    multiply(ADJOINT, True, rows - h, nc - h, h, P, ld, P, ld, True, P + <Py_ssize_t>h * ld, ld,
             pack)
    bad = factor_panel(rows - h, nc - h, P + <Py_ssize_t>h * ld, ld, pack)
    return bad + h if bad >= 0 else -1


cdef inline int half(int nc) noexcept nogil:
    """About half of nc, a multiple of WIDTH."""
    return (nc // 2 + WIDTH - 1) // WIDTH * WIDTH


cdef void solve_right(int op, int rows, int nc, const scalar *L, int ldl, scalar *X,
                      int ldx, scalar *pack) noexcept nogil:
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
        solve_right(op, rows, nc - h, L22, ldl, X2, ldx, pack)
        multiply(op, False, rows, h, nc - h, X2, ldx, L21, ldl, True, X, ldx, pack)
        solve_right(op, rows, h, L, ldl, X, ldx, pack)
    else:
        solve_right(op, rows, h, L, ldl, X, ldx, pack)
        multiply(op, False, rows, nc - h, h, X, ldx, L21, ldl, True, X2, ldx, pack)
        solve_right(op, rows, nc - h, L22, ldl, X2, ldx, pack)


cdef void multiply(int op, bint lower, int m, int n, int k, const scalar *A, int lda,
                   const scalar *B, int ldb, bint beta, scalar *C, int ldc,
                   scalar *pack) noexcept nogil:
    """C <- beta C - A op(B), beta 0 or 1; `lower` leaves out what lies above the diagonal of C."""
    own(<const scalar *>C).multiply(op, lower, m, n, k, A, lda, B, ldb, beta, C, ldc, pack)


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


def subtract_product(scalar[::1, :] A, scalar[::1, :] B, scalar[:, :] C,
                     scalar[::1] pack, int op=AS_IS, bint lower=False):
    """C <- C - A op(B), for tests; C may be a block of a matrix in Fortran order."""
    cdef int m = <int>C.shape[0]
    cdef int n = <int>C.shape[1]
    cdef int k = <int>A.shape[1]
    if (A.shape[0], B.shape[0], B.shape[1]) != ((m, k, n) if op == AS_IS else (m, n, k)):
        raise ValueError("subtract_product: shapes do not fit")
    if pack.shape[0] < PACK:
        raise ValueError("subtract_product: workspace too small")
    if C.strides[0] != sizeof(scalar):
        raise ValueError("subtract_product: the columns of C must be contiguous")
    multiply(op, lower, m, n, k, &A[0, 0], m, &B[0, 0], <int>B.shape[0], True, &C[0, 0],
             <int>(C.strides[1] // <Py_ssize_t>sizeof(scalar)), &pack[0])


def instruction_set(name=None):
    """Name of the instruction set in use; with `name`, switch to it (for tests)."""
    global current
    if name is not None:
        if not kernels_use(name.encode(), tables):
            raise ValueError(f"kernels for {name!r} are not built or cannot run on this processor")
        current = name
    return current


current = (<bytes>kernels_best()).decode()
workspace = <Py_ssize_t>PACK    # scalars of workspace of a product
