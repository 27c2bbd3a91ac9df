"""Dense building blocks of a front.

Matrices are column major. `op` says how the second matrix enters a product or a triangle enters a
solve: AS_IS, TRANSPOSED or ADJOINT. `pack` is workspace of PACK scalars.

An entry of a product has the same bits whatever rows and columns are computed with it.
"""

from libc.stdint cimport int32_t

cdef extern from "kernels.h" nogil:
    cdef enum:
        PACK                # scalars of workspace of a product

ctypedef fused scalar:
    float
    double
    float complex
    double complex

cdef enum:
    AS_IS = 0
    TRANSPOSED = 1
    ADJOINT = 2
    PANEL = 64              # columns of a panel that is worked on in blocks that stay in cache

cdef inline scalar conjugate(scalar x) noexcept nogil:
    if scalar is floatcomplex or scalar is doublecomplex:
        return x.conjugate()
    else:
        return x


cdef inline double real(scalar x) noexcept nogil:
    if scalar is floatcomplex or scalar is doublecomplex:
        return x.real
    else:
        return x


cdef int factor_panel(int rows, int nc, scalar *P, int ld, scalar *pack) noexcept nogil
cdef void solve_right(int op, int rows, int nc, const scalar *L, int ldl, scalar *X,
                      int ldx, scalar *pack) noexcept nogil
cdef void multiply(int op, bint lower, int m, int n, int k, const scalar *A, int lda,
                   const scalar *B, int ldb, bint beta, scalar *C, int ldc,
                   scalar *pack) noexcept nogil
cdef void forward_one(int nc, int m, const scalar *P, int ld, scalar *x, scalar *w) noexcept nogil
cdef void backward_one(int nc, int m, const scalar *P, int ld, scalar *x,
                       const scalar *w) noexcept nogil
cdef void scatter_add(int m, int begin, int end, const int32_t *place, int shift, const scalar *U,
                      scalar *D, int ldd) noexcept nogil
