/* Dense kernels of a front: one table a scalar type and instruction set.
 *
 * All matrices are column major with a leading dimension; L is lower triangular with a real
 * diagonal. Pointers are to the scalar type of the table. WIDTH is the most columns of L that one
 * call takes.
 *
 * The signed kernels are for A = L S L^H, S = diag(+-1): the diagonal of L is negative where that of
 * S is. All others serve both factorizations.
 */
#ifndef SPARSECHOL_KERNELS_H
#define SPARSECHOL_KERNELS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define WIDTH 8

/* Scalars of workspace of a product: 192 x 256 of A, 256 x 240 of B, and up to 64 bytes to align
 * them. */
#define PACK (256 * (192 + 240) + 16)

/* One entry of several matrices of one pattern, which are computed side by side: a vector that fits a
 * register. A longer one would be kept in memory (GCC 12). */
#define MOST_SIDE_BY_SIDE 8
#if defined(__GNUC__)
typedef double lanes4 __attribute__((vector_size(32)));
typedef double lanes8 __attribute__((vector_size(64)));
#define LANE_BITS(x) ((__typeof__((x) < (x)))(x))
#define abs_lanes(x) ((__typeof__(x))(LANE_BITS(x) & INT64_MAX))
#define sign_lanes(x)                                                                              \
    ((__typeof__(x))((LANE_BITS(x) & INT64_MIN) | LANE_BITS((__typeof__(x)){0} + 1.0)))
#else
typedef double lanes4, lanes8;
#define abs_lanes(x) fabs(x)
#define sign_lanes(x) copysign(1, x) /* 1 or -1 */
#endif
#define divide_lanes(x, y) ((x) / (y))

/* The same number for all matrices. */
static inline lanes4 all_lanes4(double x) { return (lanes4){0} + x; }
static inline lanes8 all_lanes8(double x) { return (lanes8){0} + x; }

/* Columns `begin` to `root` of a simplicial subtree, one supernode each. Pointers to flat panels are
 * to the panel of `begin`, from which `panel` counts. */
typedef struct {
    ptrdiff_t begin, root;
    const int32_t *first;
    const int64_t *panel;
    const int64_t *row_start;
    const int32_t *rows;
    int nested;            /* whether most columns have the rows of the next one, and one more */
    const int32_t *target; /* where the targets of `begin` lie; of a kernel that goes from the root
                            * down, where those of the root end */
} subtree;

/* What the pivots of a factorization tell. */
typedef struct {
    int32_t failed;  /* permuted column whose pivot is refused, or INT32_MAX */
    int32_t weakest; /* permuted column that kept the least of its diagonal entry, or same */
    double pivot;    /* the failed pivot */
    double ratio;    /* pivot / diagonal entry of A in the weakest column */
    int64_t lost;    /* bits that cancelled in weak columns */
    double growth;   /* max |L| |L|^H of a signed factorization; at the end, by max |A| */
} outcome;

/* A pivot below this part of its diagonal entry is weak, in double and in single precision. */
#define WEAK_LONG (1 / 32.)
#define WEAK_SHORT (1 / 8.)

/* Note pivot `j`, left of `entry`; where much cancelled, a rounding is at least that of `least`, a
 * normal number. */
static inline void weigh_pivot(int32_t j, double pivot, double entry, double least, double weak,
                               outcome *result) {
    double ratio = pivot / (2 * pivot > entry || entry > least ? entry : least);
    if (ratio < result->ratio) {
        result->ratio = ratio;
        result->weakest = j;
    }
    if (ratio < weak) result->lost -= ilogb(ratio);
}

/* Which pivots a signed factorization takes. Columns count from `expected` and `replaced`. */
typedef struct {
    const int8_t *expected; /* the sign of each pivot, 1 or -1; NULL: any */
    double least;           /* a pivot that is not so far on its side of zero ... */
    double replacement;     /* ... becomes so large on that side; 0: it is refused */
    uint8_t *replaced;      /* set to 1 where a pivot was replaced */
    double *sums;           /* of |l|^2 in each row, to which simplicial columns add; NULL: not */
    outcome *weighed;       /* with `sums`: what their pivots tell */
} pivot_rule;

/* Which rotations take vectors into columns of L: those of A + C C^H, of A - C C^H, or any. */
enum { UPDATE, DOWNDATE, ANY_SIGN };

typedef struct {
    /* [L11; L21] <- Cholesky factor of the panel P, rows x nc, nc <= WIDTH.
     * Returns -1, or the column whose pivot is not positive; P[j, j] then holds the pivot. */
    int (*factor)(ptrdiff_t rows, int nc, void *P, ptrdiff_t ld);
    /* X <- X L^-1 (op 0), X L^-T (op 1) or X L^-H (op 2); X is rows x nc, nc <= WIDTH. */
    void (*solve)(int op, ptrdiff_t rows, int nc, const void *L, ptrdiff_t ldl, void *X,
                  ptrdiff_t ldx);
    /* C <- beta C - A B (op 0), A B^T (op 1) or A B^H (op 2); C is m x n, beta is 0 or 1.
     * `lower` leaves out what lies well above the diagonal of C. `pack`: PACK scalars. */
    void (*multiply)(int op, int lower, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *A,
                     ptrdiff_t lda, const void *B, ptrdiff_t ldb, int beta, void *C,
                     ptrdiff_t ldc, void *pack);
    /* One right-hand side z = [z1; z2] of a front: z1 <- L11^-1 z1, then z2 <- z2 - L21 z1. */
    void (*forward)(ptrdiff_t nc, ptrdiff_t m, const void *L, ptrdiff_t ld, void *z);
    /* One right-hand side: z1 <- L11^-H (z1 - L21^H z2). */
    void (*backward)(ptrdiff_t nc, ptrdiff_t m, const void *L, ptrdiff_t ld, void *z);
    /* One right-hand side on supernodes of one column each, from `begin` to `root`, whatever their
     * tree: x <- L^-1 x, or with `signs` S L^-1 x. `reached`: which
     * columns; NULL: all. */
    void (*forward_columns)(const subtree *r, const void *l, void *x, const uint8_t *reached,
                            int signs);
    /* x <- L^-H x */
    void (*backward_columns)(const subtree *r, const void *l, void *x);
    /* D[place[i] - shift, place[j] - shift] += U[i, j] for i >= j and columns j of U from `begin`
     * to `end`; U is m x m. runs[i]: where the rows that are like row i end, positive if their
     * places follow one another, negative if they are anywhere. */
    void (*scatter)(ptrdiff_t m, ptrdiff_t begin, ptrdiff_t end, const int32_t *place,
                    const int32_t *runs, int shift, const void *U, void *D, ptrdiff_t ldd);
    /* The reverse, U[i, j] = D[place[i] - shift, place[j] - shift]. */
    void (*gather)(ptrdiff_t m, ptrdiff_t begin, ptrdiff_t end, const int32_t *place,
                   const int32_t *runs, int shift, const void *D, ptrdiff_t ldd, void *U);
    /* U[j, i] = conj(U[i, j]) for i > j and columns j of U from `begin` to `end`. */
    void (*mirror)(ptrdiff_t m, ptrdiff_t begin, ptrdiff_t end, void *U);
    /* L on a subtree, from the entries of A in `l`; `update` is the cleared update matrix of the
     * root. Returns -1, or the column whose pivot is not positive; its entry then holds the
     * pivot. */
    ptrdiff_t (*columns)(const subtree *r, void *l, void *update);
    /* The partial inverse on a subtree, from the root down. Of `below`, the inverse on the rows
     * below the root, the lower triangle is read; `t` holds as many scalars as the tallest column
     * has rows. */
    void (*inverse_columns)(const subtree *r, const void *l, void *z, const void *below, void *t);
    /* The sweeps of derivative_sweeps.pyx on a panel of nc <= WIDTH columns, ... */
    void (*tangent)(ptrdiff_t rows, int nc, const void *L, void *X, ptrdiff_t ld);
    void (*outer)(ptrdiff_t rows, int nc, const void *X, const void *Y, void *out, ptrdiff_t ld);
    void (*adjoint)(int nc, const void *L, void *Z, ptrdiff_t ld);
    /* ... and on a subtree; the last two from the root down. */
    void (*tangent_columns)(const subtree *r, const void *l, void *x, void *update);
    void (*outer_columns)(const subtree *r, const void *x, const void *y, void *out, void *update);
    void (*adjoint_columns)(const subtree *r, const void *l, void *z, const void *below, void *t);
    void (*inner_columns)(const subtree *r, const void *s, const void *y, void *out,
                          const void *below, void *t);
    /* `factor`, `multiply` and `columns` of the signed factorization. The product is with
     * A S op(B), S the signs of the k diagonal entries `step` scalars apart. A pivot that fails is
     * not where the rule wants it, or zero, or not finite. */
    int (*factor_signed)(ptrdiff_t rows, int nc, void *P, ptrdiff_t ld, const pivot_rule *rule);
    void (*multiply_signed)(int op, int lower, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *A,
                            ptrdiff_t lda, const void *B, ptrdiff_t ldb, int beta, void *C,
                            ptrdiff_t ldc, void *pack, const void *diagonal, ptrdiff_t step);
    ptrdiff_t (*columns_signed)(const subtree *r, void *l, void *update, const pivot_rule *rule);
    /* A panel of nc <= WIDTH columns takes up k = 1, 2, 4 or WIDTH vectors W: see kernels_update.h.
     * The signs of the vectors are 1 or -1. Returns -1, or the column whose pivot is no larger,
     * relative to its terms, than `least`, negative unless `form` is ANY_SIGN, or not of the
     * `expected` sign (NULL: any); its diagonal is then the root of the pivot, of its sign. `weakest` is the smallest such ratio so far. */
    int (*update)(int form, ptrdiff_t rows, int nc, int k, void *L, ptrdiff_t ld, void *W,
                  ptrdiff_t ldw, double *signs, const int8_t *expected, double least,
                  double *weakest);
    /* The same for one column with the rows `below` it, m of them; it is column `at` of L. Row i of
     * W, k entries, belongs to row i of L. */
    int (*update_column)(int form, ptrdiff_t m, int k, void *column, const int32_t *below, ptrdiff_t at,
                         void *W, double *signs, const int8_t *expected, double least,
                         double *weakest);
    /* Of lanes only: number v of all[p] <- one[v][p], and the reverse. */
    void (*interleave)(ptrdiff_t n, const double *const *one, void *all);
    void (*separate)(ptrdiff_t n, const void *all, double *const *one);
    /* Which matrices have a pivot root^2 that is not finite, or below a part of its diagonal entry;
     * one bit each. */
    int (*weak)(const void *root, const void *part, const void *entry, double least);
} kernels;

/* Scalar types, and entries of 4 or 8 matrices, in the order of the tables. */
enum { FLOAT, DOUBLE, FLOAT_COMPLEX, DOUBLE_COMPLEX, SCALARS, LANES_OF_4 = SCALARS, LANES_OF_8, KINDS };

void kernels_portable(const kernels *tables[KINDS]);
#ifdef SPARSECHOL_X86
void kernels_avx2(const kernels *tables[KINDS]);
void kernels_avx512(const kernels *tables[KINDS]);
#endif

/* Whether what runs is to end early, leaving its result unfinished: large products ask after about so
 * many multiplications of reals. */
extern int (*kernels_stopped)(int64_t work);

/* Name of the fastest instruction set that was built and that this processor has. */
const char *kernels_best(void);
/* Set the tables to a named instruction set; 0 where it was not built or cannot run here. */
int kernels_use(const char *name, const kernels *tables[KINDS]);

#endif
