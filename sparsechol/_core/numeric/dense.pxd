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
        LANES_OF_4          # entries of so many matrices each
        LANES_OF_8
        KINDS
        MOST_SIDE_BY_SIDE
        WIDTH               # most columns of a narrow panel
        UPDATE              # rotations of A + C C^H,
        DOWNDATE            # of A - C C^H,
        ANY_SIGN            # or any
    ctypedef long double lanes4     # vectors: other types than those of `scalar` for Cython
    ctypedef long long lanes8
    lanes4 all_lanes4(double x)     # the same number for all matrices
    lanes8 all_lanes8(double x)
    lanes4 abs_lanes4 "abs_lanes"(lanes4 x)
    lanes8 abs_lanes8 "abs_lanes"(lanes8 x)
    lanes4 sign_lanes4 "sign_lanes"(lanes4 x)
    lanes8 sign_lanes8 "sign_lanes"(lanes8 x)
    lanes4 divide_lanes4 "divide_lanes"(lanes4 x, lanes4 y)
    lanes8 divide_lanes8 "divide_lanes"(lanes8 x, lanes8 y)
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

# An entry of several matrices side by side.
ctypedef fused lanes:
    lanes4
    lanes8

# Any of them.
ctypedef fused element:
    float
    double
    float complex
    double complex
    lanes4
    lanes8

cdef enum:
    AS_IS = 0
    TRANSPOSED = 1
    CONJ_TRANS = 2
    PANEL = 64              # columns of a panel that is worked on in blocks that stay in cache

cdef inline Py_ssize_t size_of(int kind) noexcept nogil:
    """Bytes of a type."""
    if kind >= LANES_OF_4:
        return sizeof(lanes8) if kind == LANES_OF_8 else sizeof(lanes4)
    return (4 if kind == FLOAT or kind == FLOAT_COMPLEX else 8) * (2 if kind > DOUBLE else 1)


cdef inline int kind_of(const element *tag) noexcept nogil:
    """Which of the types a pointer is to."""
    if element is float:
        return FLOAT
    elif element is double:
        return DOUBLE
    elif element is floatcomplex:
        return FLOAT_COMPLEX
    elif element is doublecomplex:
        return DOUBLE_COMPLEX
    elif element is lanes4:
        return LANES_OF_4
    else:
        return LANES_OF_8


cdef inline int matrices_in(const element *tag) noexcept nogil:
    """How many matrices an element belongs to."""
    if element in lanes:
        return sizeof(element) // sizeof(double)
    else:
        return 1


cdef inline int kind_named(const char *format) noexcept nogil:
    """Which of the four types the format of a buffer stands for, in native order; -1: none."""
    if format == NULL:
        return -1
    if format[0] == b"Z":
        return (DOUBLE_COMPLEX if strcmp(format, "Zd") == 0 else
                FLOAT_COMPLEX if strcmp(format, "Zf") == 0 else -1)
    return DOUBLE if strcmp(format, "d") == 0 else FLOAT if strcmp(format, "f") == 0 else -1


cdef inline element conjugate(element x) noexcept nogil:
    if element is floatcomplex or element is doublecomplex:
        return x.conjugate()
    else:
        return x


cdef inline double real(scalar x) noexcept nogil:
    if scalar is floatcomplex or scalar is doublecomplex:
        return x.real
    else:
        return x


cdef inline element number(double x, const element *tag) noexcept nogil:
    if element is lanes4:
        return all_lanes4(x)
    elif element is lanes8:
        return all_lanes8(x)
    else:
        return <element>x


cdef inline lanes absolute(lanes x) noexcept nogil:
    if lanes is lanes4:
        return abs_lanes4(x)
    else:
        return abs_lanes8(x)


cdef inline lanes sign_of(lanes x) noexcept nogil:
    """1 or -1."""
    if lanes is lanes4:
        return sign_lanes4(x)
    else:
        return sign_lanes8(x)


cdef inline lanes quotient(lanes x, lanes y) noexcept nogil:
    if lanes is lanes4:
        return divide_lanes4(x, y)
    else:
        return divide_lanes8(x, y)


cdef inline element real_part(element x) noexcept nogil:
    if element is floatcomplex or element is doublecomplex:
        return <element>x.real
    else:
        return x


cdef inline void transpose(Py_ssize_t rows, Py_ssize_t w, const element *t, Py_ssize_t ldt,
                           element *h) noexcept nogil:
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


cdef int factor_panel(int rows, int nc, element *P, int ld, const pivot_rule *rule,
                      const Crew *crew) noexcept nogil
cdef void solve_right(int op, int rows, int nc, const element *L, int ldl, element *X,
                      int ldx, const Crew *crew) noexcept nogil
cdef void multiply(int op, bint lower, int m, int n, int k, const element *A, int lda,
                   const element *B, int ldb, bint beta, element *C, int ldc,
                   const Crew *crew) noexcept nogil
cdef void multiply_signed(int m, int n, int k, const element *L, int ld, bint beta, element *C,
                          int ldc, const Crew *crew) noexcept nogil
cdef void forward_one(int nc, int m, const scalar *L, scalar *z) noexcept nogil
cdef void backward_one(int nc, int m, const scalar *L, scalar *z) noexcept nogil
cdef void forward_columns(const Pattern *p, int32_t begin, int32_t root, const element *l,
                          element *x, const uint8_t *reached, bint signs) noexcept nogil
cdef void backward_columns(const Pattern *p, int32_t begin, int32_t root, const element *l,
                           element *x) noexcept nogil
cdef void scatter_add(int m, int begin, int end, const int32_t *place, const int32_t *runs,
                      int shift, const element *U, element *D, int ldd) noexcept nogil
cdef void gather_lower(int m, int begin, int end, const int32_t *place, const int32_t *runs,
                       int shift, const element *D, int ldd, element *U) noexcept nogil
cdef void mirror(int m, int begin, int end, element *U) noexcept nogil
cdef void tangent_panel(int rows, int nc, const element *L, element *X, int ld,
                        const Crew *crew) noexcept nogil
cdef void outer_panel(int rows, int nc, const element *X, const element *Y, element *out, int ld,
                      const Crew *crew) noexcept nogil
cdef void adjoint_triangle(int nc, const element *L, element *Z, int ld,
                           const Crew *crew) noexcept nogil
cdef Py_ssize_t factor_columns(const Pattern *p, int32_t root, element *l, element *update,
                               const pivot_rule *rule) noexcept nogil
cdef void invert_columns(const Pattern *p, int32_t root, const element *l, element *z,
                         const element *below, element *t) noexcept nogil
cdef void tangent_columns(const Pattern *p, int32_t root, const element *l, element *x,
                          element *update) noexcept nogil
cdef void outer_columns(const Pattern *p, int32_t root, const element *x, const element *y,
                        element *out, element *update) noexcept nogil
cdef void adjoint_columns(const Pattern *p, int32_t root, const element *l, element *z,
                          const element *below, element *t) noexcept nogil
cdef void inner_columns(const Pattern *p, int32_t root, const element *s, const element *y,
                        element *out, const element *below, element *t) noexcept nogil
cdef int kind_side_by_side() noexcept nogil
cdef void interleave(int kind, Py_ssize_t n, const double *const *one, void *all) noexcept nogil
cdef void separate(int kind, Py_ssize_t n, const void *all, double *const *one) noexcept nogil
cdef int weak_lanes(const lanes *root, const lanes *part, const lanes *entry,
                    double least) noexcept nogil
cdef int update_panel(int form, int nc, int m, int k, scalar *L, scalar *W, double *signs,
                      const int8_t *expected, double least, double *weakest) noexcept nogil
cdef int update_column(int form, int m, int k, scalar *column, const int32_t *below, int32_t at,
                       scalar *W, double *signs, const int8_t *expected, double least,
                       double *weakest) noexcept nogil
