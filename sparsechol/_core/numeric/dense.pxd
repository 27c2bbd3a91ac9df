"""Dense building blocks of a front.

Matrices are column major. `op` says how the second matrix enters a product or a triangle enters a
solve: AS_IS, TRANSPOSED or CONJ_TRANS.

An entry of a product has the same bits whatever rows and columns are computed with it. So large
products and solves are cut into pieces for the threads of a crew.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t
from libc.string cimport strcmp

from sparsechol._core.parallel.pool cimport pool_worker
from sparsechol._core.symbolic.structure cimport Pattern

cdef extern from "kernels.h" nogil:
    cdef enum:
        PACK                # scalars of workspace of a product
        FLOAT
        DOUBLE
        FLOAT_COMPLEX
        DOUBLE_COMPLEX
        SCALARS
        WIDTH               # most columns of a narrow panel
        UPDATE              # rotations of A + C C^H,
        DOWNDATE            # of A - C C^H,
        ANY_SIGN            # or any
    ctypedef struct Outcome "outcome":
        # What the pivots of a factorization tell.
        int32_t failed              # permuted column whose pivot is refused, or INT32_MAX
        int32_t weakest             # permuted column that kept the least of its diagonal entry
        double pivot                # the failed pivot
        double ratio                # pivot / diagonal entry of A in the weakest column
        int64_t lost                # bits that cancelled in weak columns, see `in_doubt`
        double growth               # max |L| |L|^H, of signed ones; at the end, by max |A|
    double WEAK_LONG                # a pivot below this part of its diagonal entry is weak,
    double WEAK_SHORT               # in single precision
    void weigh_pivot(int32_t j, double pivot, double entry, double least, double weak,
                     Outcome *result)
    ctypedef struct pivot_rule:
        # Which pivots a signed factorization takes, of the columns from `expected` on.
        const int8_t *expected      # the sign of each; NULL: any
        double least                # a pivot that is not so far on its side of zero
        double replacement          # becomes so large on that side; 0: it is refused
        uint8_t *replaced           # set to 1 where a pivot was replaced
        double *sums                # of |l|^2 in each row; NULL: not
        Outcome *weighed            # with `sums`: what simplicial columns tell


cdef struct Crew:
    # Who works on a front: one thread, and those of its job that have nothing else to do.
    int threads
    pool_worker *worker     # needed if there is more than one thread
    char *packs             # workspace of PACK scalars for each thread, ...
    Py_ssize_t stride       # ... bytes from one to the next

# A function that has no argument of this type but must know it takes a null pointer, `tag`.
ctypedef fused scalar:
    float
    double
    float complex
    double complex

cdef enum:
    AS_IS = 0
    TRANSPOSED = 1
    CONJ_TRANS = 2
    PANEL = 64              # columns of a panel that is worked on in blocks that stay in cache

cdef inline Py_ssize_t size_of(int kind) noexcept nogil:
    """Bytes of a type."""
    return (4 if kind == FLOAT or kind == FLOAT_COMPLEX else 8) * (2 if kind > DOUBLE else 1)


cdef inline int kind_of(const scalar *tag) noexcept nogil:
    """Which of the four types a pointer is to."""
    if scalar is float:
        return FLOAT
    elif scalar is double:
        return DOUBLE
    elif scalar is floatcomplex:
        return FLOAT_COMPLEX
    else:
        return DOUBLE_COMPLEX


cdef inline int kind_named(const char *format) noexcept nogil:
    """Which of the four types the format of a buffer stands for, in native order; -1: none."""
    if format == NULL:
        return -1
    if format[0] == b"Z":
        return (DOUBLE_COMPLEX if strcmp(format, "Zd") == 0 else
                FLOAT_COMPLEX if strcmp(format, "Zf") == 0 else -1)
    return DOUBLE if strcmp(format, "d") == 0 else FLOAT if strcmp(format, "f") == 0 else -1


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


cdef inline void transpose(Py_ssize_t rows, Py_ssize_t w, const scalar *t, Py_ssize_t ldt,
                           scalar *h) noexcept nogil:
    """h <- t^H, by tiles."""
    cdef Py_ssize_t i, j, begin = 0
    while begin < rows:
        for j in range(w):
            for i in range(begin, min(begin + 16, rows)):
                h[j + i * w] = conjugate(t[i + j * ldt])
        begin += 16


cdef inline pivot_rule shifted(const pivot_rule *rule, Py_ssize_t columns) noexcept nogil:
    """The rule of later columns."""
    cdef pivot_rule rest = rule[0]
    if rest.expected != NULL:
        rest.expected += columns
        rest.replaced += columns
    return rest


cdef int factor_panel(int rows, int nc, scalar *P, int ld, const pivot_rule *rule,
                      const Crew *crew) noexcept nogil
cdef void solve_right(int op, int rows, int nc, const scalar *L, int ldl, scalar *X,
                      int ldx, const Crew *crew) noexcept nogil
cdef void multiply(int op, bint lower, int m, int n, int k, const scalar *A, int lda,
                   const scalar *B, int ldb, bint beta, scalar *C, int ldc,
                   const Crew *crew) noexcept nogil
cdef void multiply_signed(int m, int n, int k, const scalar *L, int ld, bint beta, scalar *C,
                          int ldc, const Crew *crew) noexcept nogil
cdef void forward_one(int nc, int m, const scalar *L, scalar *z) noexcept nogil
cdef void backward_one(int nc, int m, const scalar *L, scalar *z) noexcept nogil
cdef void forward_columns(const Pattern *p, int32_t begin, int32_t root, const scalar *l, scalar *x,
                          const uint8_t *reached, bint signs) noexcept nogil
cdef void backward_columns(const Pattern *p, int32_t begin, int32_t root, const scalar *l,
                           scalar *x) noexcept nogil
cdef void scatter_add(int m, int begin, int end, const int32_t *place, const int32_t *runs,
                      int shift, const scalar *U, scalar *D, int ldd) noexcept nogil
cdef void gather_lower(int m, int begin, int end, const int32_t *place, const int32_t *runs,
                       int shift, const scalar *D, int ldd, scalar *U) noexcept nogil
cdef void mirror(int m, int begin, int end, scalar *U) noexcept nogil
cdef void tangent_panel(int rows, int nc, const scalar *L, scalar *X, int ld,
                        const Crew *crew) noexcept nogil
cdef void outer_panel(int rows, int nc, const scalar *X, const scalar *Y, scalar *out, int ld,
                      const Crew *crew) noexcept nogil
cdef void adjoint_triangle(int nc, const scalar *L, scalar *Z, int ld,
                           const Crew *crew) noexcept nogil
cdef Py_ssize_t factor_columns(const Pattern *p, int32_t root, scalar *l, scalar *update,
                               const pivot_rule *rule) noexcept nogil
cdef void invert_columns(const Pattern *p, int32_t root, const scalar *l, scalar *z,
                         const scalar *below, scalar *t) noexcept nogil
cdef void tangent_columns(const Pattern *p, int32_t root, const scalar *l, scalar *x,
                          scalar *update) noexcept nogil
cdef void outer_columns(const Pattern *p, int32_t root, const scalar *x, const scalar *y,
                        scalar *out, scalar *update) noexcept nogil
cdef void adjoint_columns(const Pattern *p, int32_t root, const scalar *l, scalar *z,
                          const scalar *below, scalar *t) noexcept nogil
cdef void inner_columns(const Pattern *p, int32_t root, const scalar *s, const scalar *y,
                        scalar *out, const scalar *below, scalar *t) noexcept nogil
cdef int update_panel(int form, int nc, int m, int k, scalar *L, scalar *W, double *signs,
                      const int8_t *expected, double least, double *weakest) noexcept nogil
cdef int update_column(int form, int m, int k, scalar *column, const int32_t *below, int32_t at,
                       scalar *W, double *signs, const int8_t *expected, double least,
                       double *weakest) noexcept nogil
