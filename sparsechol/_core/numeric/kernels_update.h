/* Columns of L that take up vectors, for one scalar type; included by kernels_scalar.h.
 *
 * One rotation takes one entry of a vector into one column of L,
 *
 *     [ l_j  w ] R = [ l'_j  w' ],    w'_j = 0,    s l_j l_j^H + sigma w w^H = s' l'_j l'_j^H + sigma' w' w'^H,
 *
 * where s = +-1 is the sign of the pivot and sigma that of the vector. With l and w the two entries of
 * row j the new pivot is s l^2 + sigma |w|^2 = s' r^2, and l'_j = (|l| l_j + sigma conj(w) w) / r. Then
 *
 *     s = sigma        w' = (l w - w_j l_j) / r                      a Givens rotation
 *     s = s' != sigma  w' = (r w - w_j s l'_j) / l                   hyperbolic; from the new column
 *     s' = sigma != s  w' = (l l'_j / sigma - r l_j) / conj(w_j)     the two change places
 *
 * Both hyperbolic forms are those in which one of the two columns is already new (Chambers 1971): the
 * error then is that of a small change of the data (Bojanczyk, Brent, Van Dooren, de Hoog 1987).
 */

/* l' = a l + b w, then w' = c w + d l + e l'. */
typedef struct {
    REAL a, c;
    SCALAR b, d, e;
} NAME(rotation);

/* l^2 - |w|^2. */
INLINE REAL NAME(difference)(REAL l, SCALAR w) {
#if COMPLEX
    return l * l - REAL_PART(w * CONJUGATE(w));
#else
    return (l - w) * (l + w);
#endif
}

/* Squares in this range lose nothing. */
#define SAFE(square)                                                                               \
    ((square) > (sizeof(REAL) == 8 ? 1e-280 : 1e-28) && (square) < (sizeof(REAL) == 8 ? 1e300 : 1e36))

/* The rotation for a diagonal entry and an entry of a vector of sign `sigma`; it changes the two.
 * Returns 0 where the pivot is refused or no number; the diagonal then is its root, with its sign. */
INLINE int NAME(rotate)(int form, SCALAR *diagonal, SCALAR w, double *sigma, double least,
                        double *weakest, NAME(rotation) *t) {
    REAL l = REAL_PART(*diagonal), scale = 1, s = l < 0 ? -1 : 1, sign = (REAL)*sigma;
    if (w == 0) {
        *t = (NAME(rotation)){.a = 1, .c = 1};
        return 1;
    }
    REAL ll = l * l, ww = REAL_PART(w * CONJUGATE(w)), big = ll > ww ? ll : ww;
    if (!SAFE(big)) {
        scale = FABS(l) > MODULUS(w) ? FABS(l) : MODULUS(w);
        l /= scale;
        w /= scale;
        ll = l * l;
        ww = REAL_PART(w * CONJUGATE(w));
        big = ll > ww ? ll : ww;
    }
    REAL pivot = s == sign ? s * (ll + ww) : s * NAME(difference)(l, w);
    REAL size = FABS(pivot), r = SQRT(size), after = pivot < 0 ? -1 : 1;
    *diagonal = after * r * scale;
    if (!((form == ANY_SIGN ? size : pivot) > (REAL)least * big && r * scale < (REAL)INFINITY))
        return 0;
    if (size < (REAL)*weakest * big) *weakest = size / big;
    REAL inverse = r * (1 / size); /* the root and the quotient at the same time */
    *t = (NAME(rotation)){.a = s * l * inverse, .b = CONJUGATE(w) * (sign * inverse)};
    if (form == UPDATE || (form == ANY_SIGN && s == sign)) {
        t->c = l * inverse;
        t->d = -w * inverse;
    } else if (form == DOWNDATE || s == after) {
        t->c = r / l;
        t->e = -w * (s / l);
    } else {
        t->d = -w * (r / ww);
        t->e = w * (sign * l / ww);
    }
    *sigma = sign * s * after;
    return 1;
}

/* One vector of rows (`n` of them) of nc columns and k vectors. `form`: which of the rotations there
 * are, so that no more is computed; the vectors stay in registers. */
INLINE void NAME(update_rows)(int form, int k, ptrdiff_t n, int nc, const NAME(rotation) *t, SCALAR *L,
                              ptrdiff_t ld, SCALAR *W, ptrdiff_t ldw) {
    vec w[WIDTH];
    for (int r = 0; r < k; r++) w[r] = NAME(load_rows)(W + r * ldw, n);
    for (int j = 0; j < nc; j++, t += WIDTH) {
        vec l = NAME(load_rows)(L + j * ld, n);
        for (int r = 0; r < k; r++) {
            vec new = l * t[r].a + w[r] * t[r].b;
            w[r] = w[r] * t[r].c;
            if (form != DOWNDATE) w[r] += l * t[r].d;
            if (form != UPDATE) w[r] += new * t[r].e;
            l = new;
        }
        NAME(store_rows)(L + j * ld, l, n);
    }
    for (int r = 0; r < k; r++) NAME(store_rows)(W + r * ldw, w[r], n);
}

INLINE void NAME(update_below)(int form, int k, ptrdiff_t rows, int nc, const NAME(rotation) *t,
                               SCALAR *L, ptrdiff_t ld, SCALAR *W, ptrdiff_t ldw) {
    ptrdiff_t i = 0;
    for (; i + ROWS <= rows; i += ROWS)
        NAME(update_rows)(form, k, ROWS, nc, t, L + i, ld, W + i, ldw);
#if LANES > 1
    if (i < rows) NAME(update_rows)(form, k, rows - i, nc, t, L + i, ld, W + i, ldw);
#endif
}

/* The rotations of the top triangle of a block of nc columns; -1, or the column whose pivot is refused. */
static int NAME(update_triangle)(int form, int nc, int k, SCALAR *L, ptrdiff_t ld, SCALAR *W, ptrdiff_t ldw,
                                 double *signs, const int8_t *expected, double least,
                                 NAME(rotation) *t, double *weakest) {
    for (int j = 0; j < nc; j++, t += WIDTH) {
        SCALAR *l = L + j * ld;
        int changed = 0;
        for (int r = 0; r < k; r++) {
            SCALAR *w = W + r * ldw;
            changed |= w[j] != 0;
            if (!NAME(rotate)(form, l + j, w[j], signs + r, least, weakest, t + r)) return j;
            for (int i = j + 1; i < nc; i++) {
                SCALAR new = l[i] * t[r].a + w[i] * t[r].b;
                w[i] = w[i] * t[r].c + l[i] * t[r].d + new * t[r].e;
                l[i] = new;
            }
        }
        if (changed && expected && expected[j] * REAL_PART(l[j]) < 0) return j;
    }
    return -1;
}

static int NAME(update)(int form, ptrdiff_t rows, int nc, int k, void *L_, ptrdiff_t ld, void *W_,
                        ptrdiff_t ldw, double *signs, const int8_t *expected, double least,
                        double *weakest) {
    NAME(rotation) t[WIDTH * WIDTH];
    SCALAR *L = L_, *W = W_;
    int failed = NAME(update_triangle)(form, nc, k, L, ld, W, ldw, signs, expected, least, t, weakest);
    if (failed >= 0) return failed;
    rows -= nc;
    L += nc;
    W += nc;
#if LANES > 1
#define BY_RANK(form)                                                                              \
    switch (k) {                                                                                   \
    case 1: NAME(update_below)(form, 1, rows, nc, t, L, ld, W, ldw); break;                        \
    case 2: NAME(update_below)(form, 2, rows, nc, t, L, ld, W, ldw); break;                        \
    case 4: NAME(update_below)(form, 4, rows, nc, t, L, ld, W, ldw); break;                        \
    default: NAME(update_below)(form, WIDTH, rows, nc, t, L, ld, W, ldw);                          \
    }
#else
#define BY_RANK(form) NAME(update_below)(form, k, rows, nc, t, L, ld, W, ldw)
#endif
    if (form == UPDATE) {
        BY_RANK(UPDATE);
    } else if (form == DOWNDATE) {
        BY_RANK(DOWNDATE);
    } else {
        BY_RANK(ANY_SIGN);
    }
#undef BY_RANK
    return -1;
}

/* A simplicial column: m rows below the diagonal, vectors with k entries a row of the matrix, `at` the
 * row of the column. */
INLINE int NAME(update_one)(int form, ptrdiff_t m, int k, SCALAR *l, const int32_t *below, SCALAR *W,
                            SCALAR *top, double *signs, const int8_t *expected, double least,
                            double *weakest) {
    int changed = 0;
    for (int r = 0; r < k; r++) {
        NAME(rotation) t;
        if (top[r] == 0) continue;
        changed = 1;
        if (!NAME(rotate)(form, l, top[r], signs + r, least, weakest, &t)) return 0;
        for (ptrdiff_t i = 0; i < m; i++) {
            SCALAR *w = W + (ptrdiff_t)below[i] * k + r;
            SCALAR old = l[i + 1], new = old * t.a + *w * t.b;
            *w = *w * t.c;
            if (form != DOWNDATE) *w += old * t.d;
            if (form != UPDATE) *w += new * t.e;
            l[i + 1] = new;
        }
    }
    return changed && expected && expected[0] * REAL_PART(l[0]) < 0 ? 0 : -1;
}

static int NAME(update_column)(int form, ptrdiff_t m, int k, void *column, const int32_t *below,
                               ptrdiff_t at, void *W_, double *signs, const int8_t *expected,
                               double least, double *weakest) {
    SCALAR *W = W_, *top = W + at * k;
#define ONE(form)                                                                                  \
    NAME(update_one)(form, m, k, column, below, W, top, signs, expected, least, weakest)
    return form == UPDATE ? ONE(UPDATE) : form == DOWNDATE ? ONE(DOWNDATE) : ONE(ANY_SIGN);
#undef ONE
}

#undef SAFE
