/* The kernels for one scalar type; included by kernels.c once for each of the four, and for entries
 * of several matrices side by side.
 *
 * Takes SCALAR, REAL, COMPLEX, LETTER, REAL_LETTER, SQRT, FABS, MODULUS, COPYSIGN, CONJUGATE,
 * REAL_PART, LANES (scalars in a vector; 0 or 1 for scalar code) and BATCHED (1 if a SCALAR is
 * itself a vector, an entry of several matrices), and undefines them at the end. A `vec` is a vector
 * of rows of one column. The complex types use the products of the real ones, which come first.
 *
 * Batched kernels do for each matrix what those of one matrix do, in the same order: the results
 * have the same bits. They never stop at a pivot: one that fails makes its own matrix NaN, infinite
 * or zero from there on.
 */
#define NAME(f) PASTE(f, LETTER)
#define REAL_NAME(f) PASTE(f, REAL_LETTER)
#define vec NAME(vec)

#if LANES > 1
typedef SCALAR vec __attribute__((vector_size(VECTOR_BYTES)));
#define ROWS LANES
#else
typedef SCALAR vec;
#define ROWS 1
#endif

INLINE vec NAME(load)(const SCALAR *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void NAME(store)(SCALAR *p, vec v) { memcpy(p, &v, sizeof v); }

/* Load or store n rows: all of a vector (n == ROWS, known when compiled) or the first few. */
INLINE vec NAME(load_rows)(const SCALAR *p, ptrdiff_t n) {
#if LANES > 1
    if (n < ROWS) return (vec)NAME(load_part)(p, n);
#endif
    (void)n;
    return NAME(load)(p);
}

INLINE void NAME(store_rows)(SCALAR *p, vec v, ptrdiff_t n) {
#if LANES > 1
    if (n < ROWS) {
        NAME(store_part)(p, v, n);
        return;
    }
#endif
    (void)n;
    NAME(store)(p, v);
}

#if LANES > 1
/* Lane i goes to lane i ^ distance, for a distance that is known when it is compiled. */
INLINE vec NAME(swap)(vec v, int distance) {
#if defined(__clang__)
    vec swapped;
    for (int i = 0; i < ROWS; i++) swapped[i] = v[i ^ distance];
    return swapped;
#else
    __typeof__(v < v) other;
    for (int i = 0; i < ROWS; i++) other[i] = i ^ distance;
    return __builtin_shuffle(v, other);
#endif
}
#endif

#if !BATCHED
INLINE SCALAR NAME(sum)(vec v) {
#if LANES > 1
    v += NAME(swap)(v, ROWS / 2);
    if (ROWS > 2) v += NAME(swap)(v, ROWS / 4);
    if (ROWS > 4) v += NAME(swap)(v, ROWS / 8);
    if (ROWS > 8) v += NAME(swap)(v, ROWS / 16);
    return v[0];
#else
    return v;
#endif
}
#endif

/* ---- X <- X L^-1, X L^-T, X L^-H ------------------------------------------------------------- */

/* `vectors` vectors of rows at once, the last of them with `last` rows.
 *
 *   [x0 x1 .. ] [l00         ]^T     columns from the left: x_j is final, then leaves the later
 *               [l10 l11     ]       ones; without the transpose they go from the right.
 */
INLINE void NAME(solve_tile)(int op, int vectors, ptrdiff_t last, int nc, const SCALAR *L,
                             ptrdiff_t ldl, const REAL *inverse, SCALAR *X, ptrdiff_t ldx) {
    vec x[2][WIDTH];
    for (int j = 0; j < nc; j++)
        for (int v = 0; v < vectors; v++)
            x[v][j] = NAME(load_rows)(X + j * ldx + v * ROWS, v == vectors - 1 ? last : ROWS);
    for (int step = 0; step < nc; step++) {
        int j = op ? step : nc - 1 - step;
        for (int v = 0; v < vectors; v++) x[v][j] *= inverse[j];
        for (int other = step + 1; other < nc; other++) {
            int k = op ? other : nc - 1 - other;
            SCALAR l = op ? L[k + j * ldl] : L[j + k * ldl];
            if (op == 2) l = CONJUGATE(l);
            for (int v = 0; v < vectors; v++) x[v][k] -= l * x[v][j];
        }
    }
    for (int j = 0; j < nc; j++)
        for (int v = 0; v < vectors; v++)
            NAME(store_rows)(X + j * ldx + v * ROWS, x[v][j], v == vectors - 1 ? last : ROWS);
}

INLINE void NAME(solve_columns)(int op, ptrdiff_t rows, int nc, const SCALAR *L, ptrdiff_t ldl,
                                const REAL *inverse, SCALAR *X, ptrdiff_t ldx) {
    ptrdiff_t i = 0;
    for (; i + 2 * ROWS <= rows; i += 2 * ROWS)
        NAME(solve_tile)(op, 2, ROWS, nc, L, ldl, inverse, X + i, ldx);
    for (; i + ROWS <= rows; i += ROWS)
        NAME(solve_tile)(op, 1, ROWS, nc, L, ldl, inverse, X + i, ldx);
#if LANES > 1
    if (i < rows) NAME(solve_tile)(op, 1, rows - i, nc, L, ldl, inverse, X + i, ldx);
#endif
}

/* The number of real columns is known when each call is compiled: they stay in registers. */
INLINE void NAME(solve_by_width)(int op, ptrdiff_t rows, int nc, const SCALAR *L, ptrdiff_t ldl,
                                 const REAL *inverse, SCALAR *X, ptrdiff_t ldx) {
#if COMPLEX
    NAME(solve_columns)(op, rows, nc, L, ldl, inverse, X, ldx);
#else
    switch (nc) {
    case 1: NAME(solve_columns)(op, rows, 1, L, ldl, inverse, X, ldx); break;
    case 2: NAME(solve_columns)(op, rows, 2, L, ldl, inverse, X, ldx); break;
    case 3: NAME(solve_columns)(op, rows, 3, L, ldl, inverse, X, ldx); break;
    case 4: NAME(solve_columns)(op, rows, 4, L, ldl, inverse, X, ldx); break;
    case 5: NAME(solve_columns)(op, rows, 5, L, ldl, inverse, X, ldx); break;
    case 6: NAME(solve_columns)(op, rows, 6, L, ldl, inverse, X, ldx); break;
    case 7: NAME(solve_columns)(op, rows, 7, L, ldl, inverse, X, ldx); break;
    case 8: NAME(solve_columns)(op, rows, 8, L, ldl, inverse, X, ldx); break;
    }
#endif
}

static void NAME(solve)(int op, ptrdiff_t rows, int nc, const void *L_, ptrdiff_t ldl, void *X,
                        ptrdiff_t ldx) {
    const SCALAR *L = L_;
    REAL inverse[WIDTH];
    for (int j = 0; j < nc; j++) inverse[j] = 1 / REAL_PART(L[j + j * ldl]);
    if (op == 0)
        NAME(solve_by_width)(0, rows, nc, L, ldl, inverse, X, ldx);
    else if (op == 2 && COMPLEX)
        NAME(solve_by_width)(2, rows, nc, L, ldl, inverse, X, ldx);
    else
        NAME(solve_by_width)(1, rows, nc, L, ldl, inverse, X, ldx);
}

/* ---- factor of a panel ----------------------------------------------------------------------- */

#if !BATCHED
/* A pivot of the signed factorization, as it is or replaced; 0 where it is refused. */
INLINE REAL NAME(take_pivot)(const pivot_rule *rule, ptrdiff_t column, REAL pivot) {
    if (!(FABS(pivot) < (REAL)INFINITY)) return 0;
    if (rule->expected == NULL || rule->expected[column] * pivot > rule->least) return pivot;
    if (rule->replacement == 0) return 0;
    rule->replaced[column] = 1;
    return rule->expected[column] * (REAL)rule->replacement;
}
#endif

/*      [ P11 ]  nc      P11 = L11 L11^H              signed:  P11 = L11 S L11^H
 *      [ P21 ]          L21 = P21 L11^-H                      L21 = P21 L11^-H S
 *
 * `rule` is NULL for all pivots positive. A pivot that fails is left on the diagonal. */
INLINE int NAME(factor_by)(ptrdiff_t rows, int nc, void *P_, ptrdiff_t ld,
                           const pivot_rule *rule) {
    SCALAR *P = P_;
    REAL inverse[WIDTH];
    for (int j = 0; j < nc; j++) {
        SCALAR *pj = P + j * ld;
        REAL pivot = REAL_PART(pj[j]);
        int negative = 0;
#if !BATCHED
        if (rule) {
            pivot = NAME(take_pivot)(rule, j, pivot);
            if (pivot == 0) return j;
            negative = pivot < 0;
            pivot = FABS(pivot);
        } else if (!(pivot > 0 && pivot < (REAL)INFINITY))
            return j;
#endif
        REAL root = SQRT(pivot);
        inverse[j] = 1 / root;
        pj[j] = root;
        for (int i = j + 1; i < nc; i++) pj[i] *= inverse[j];
        if (negative) {
            inverse[j] = -inverse[j];
            pj[j] = -root;
        }
        for (int k = j + 1; k < nc; k++) {
            SCALAR l = CONJUGATE(pj[k]);
            if (negative) l = -l;
            for (int i = k; i < nc; i++) P[i + k * ld] -= l * pj[i];
        }
    }
    NAME(solve_by_width)(COMPLEX ? 2 : 1, rows - nc, nc, P, ld, inverse, P + nc, ld);
#if !BATCHED
    for (int j = 0; rule && j < nc; j++)
        if (inverse[j] < 0)
            for (ptrdiff_t i = nc; i < rows; i++) P[i + j * ld] = -P[i + j * ld];
#endif
    return -1;
}

static int NAME(factor)(ptrdiff_t rows, int nc, void *P, ptrdiff_t ld) {
    return NAME(factor_by)(rows, nc, P, ld, NULL);
}

#if !BATCHED
static int NAME(factor_signed)(ptrdiff_t rows, int nc, void *P, ptrdiff_t ld,
                               const pivot_rule *rule) {
    return NAME(factor_by)(rows, nc, P, ld, rule);
}
#endif

/* ---- C <- beta C - A op(B) ------------------------------------------------------------------- */

/* Real code serves both. A complex matrix is one of twice as many real rows (`parts` is 2), and
 * an entry of op(B) is two reals side by side:
 *
 *      C - A b = C - A Re b - (i A) Im b        C - A conj(b) = C - A Re b + (i A) Im b
 *
 * Rows and leading dimensions count reals from here on, columns count those of C. An entry of C
 * has the same bits whatever rows and columns are computed with it: each product is taken from C
 * in the order of k. What is left of C shrinks on the way, and with it the rounding errors; a sum
 * from zero would grow to the size of C first. */
#if !COMPLEX

/* a <- i a for a column of (re, im) pairs, or -i a if `conjugate`. */
INLINE void NAME(turn)(int conjugate, int vectors, vec a[VECTORS]) {
#if LANES > 1
    typedef __typeof__(a[0] < a[0]) whole;
    static const SCALAR alternating[17] = {-0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f, 0,    -0.0f,
                                           0,     -0.0f, 0, -0.0f, 0, -0.0f, 0, -0.0f};
    vec signs = NAME(load)(alternating + conjugate);
    for (int v = 0; v < vectors; v++) a[v] = (vec)((whole)NAME(swap)(a[v], 1) ^ (whole)signs);
#else
    for (int v = 0; v + 1 < vectors; v += 2) {
        vec re = a[v];
        a[v] = conjugate ? a[v + 1] : -a[v + 1];
        a[v + 1] = conjugate ? -re : re;
    }
#endif
}

/* c[v][j] -= sum over p of A[v, p] op(B)[p, j] for `vectors` vectors of rows (the last with `last`
 * rows) by `columns` columns, in registers. */
INLINE void NAME(accumulate)(int parts, int conjugate, int vectors, ptrdiff_t last, int columns,
                             ptrdiff_t depth, const SCALAR *A, ptrdiff_t lda, const SCALAR *B,
                             ptrdiff_t across, ptrdiff_t along, vec c[VECTORS][COLUMNS]) {
    for (ptrdiff_t p = 0; p < depth; p++) {
        vec a[VECTORS];
        for (int v = 0; v < vectors; v++)
            a[v] = NAME(load_rows)(A + p * lda + v * ROWS, v == vectors - 1 ? last : ROWS);
        for (int part = 0; part < parts; part++) {
            if (part) NAME(turn)(conjugate, vectors, a);
            for (int j = 0; j < columns; j++) {
                SCALAR b = B[j * across + p * along + part];
                for (int v = 0; v < vectors; v++) c[v][j] -= a[v] * b;
            }
        }
    }
}

/* c <- beta C, without a branch between here and the loop that needs all registers. */
INLINE void NAME(read_tile)(int vectors, ptrdiff_t last, int columns, int beta, const SCALAR *C,
                            ptrdiff_t ldc, vec c[VECTORS][COLUMNS]) {
    static const SCALAR zeros[VECTORS * ROWS];
    const SCALAR *source = beta ? C : zeros;
    ptrdiff_t step = beta ? ldc : 0;
    for (int j = 0; j < columns; j++)
        for (int v = 0; v < vectors; v++) {
            c[v][j] =
                NAME(load_rows)(source + j * step + v * ROWS, v == vectors - 1 ? last : ROWS);
            IN_REGISTER(c[v][j]);
        }
}

/* c <- 0. */
INLINE void NAME(clear_tile)(int vectors, int columns, vec c[VECTORS][COLUMNS]) {
    for (int j = 0; j < columns; j++)
        for (int v = 0; v < vectors; v++) {
            c[v][j] = (vec){0};
            IN_REGISTER(c[v][j]);
        }
}

/* C <- c. */
INLINE void NAME(write_tile)(int vectors, ptrdiff_t last, int columns, SCALAR *C, ptrdiff_t ldc,
                             vec c[VECTORS][COLUMNS]) {
    for (int j = 0; j < columns; j++)
        for (int v = 0; v < vectors; v++)
            NAME(store_rows)(C + j * ldc + v * ROWS, c[v][j], v == vectors - 1 ? last : ROWS);
}

INLINE ptrdiff_t NAME(least)(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

/* How much of k is taken at once. */
INLINE ptrdiff_t NAME(chunk)(int parts, ptrdiff_t k) {
    ptrdiff_t most = BLOCK_DEPTH / parts, chunks = (k + most - 1) / most;
    return chunks > 1 ? (k + chunks - 1) / chunks : k;
}

/* ---- small products: the matrices are read where they lie ---- */

INLINE void NAME(multiply_tile)(int parts, int conjugate, int vectors, ptrdiff_t last, int columns,
                                ptrdiff_t depth, const SCALAR *A, ptrdiff_t lda, const SCALAR *B,
                                ptrdiff_t across, ptrdiff_t along, int beta, SCALAR *C,
                                ptrdiff_t ldc) {
    vec c[VECTORS][COLUMNS];
    if (parts == 1 && vectors == VECTORS && columns == COLUMNS && !beta) { /* most of C */
        NAME(clear_tile)(vectors, columns, c);
        NAME(accumulate)(parts, conjugate, vectors, last, columns, depth, A, lda, B, across,
                         along, c);
        NAME(write_tile)(vectors, last, columns, C, ldc, c);
        return;
    }
    NAME(read_tile)(vectors, last, columns, beta, C, ldc, c);
    NAME(accumulate)(parts, conjugate, vectors, last, columns, depth, A, lda, B, across, along, c);
    NAME(write_tile)(vectors, last, columns, C, ldc, c);
}

/* A block of `columns` columns of C, from row `i` down. */
INLINE void NAME(multiply_columns)(int parts, int conjugate, int columns, ptrdiff_t i, ptrdiff_t m,
                                   ptrdiff_t depth, const SCALAR *A, ptrdiff_t lda,
                                   const SCALAR *B, ptrdiff_t across, ptrdiff_t along, int beta,
                                   SCALAR *C, ptrdiff_t ldc) {
    for (; i + VECTORS * ROWS <= m; i += VECTORS * ROWS)
        NAME(multiply_tile)(parts, conjugate, VECTORS, ROWS, columns, depth, A + i, lda, B, across,
                            along, beta, C + i, ldc);
    for (; i + ROWS <= m; i += ROWS)
        NAME(multiply_tile)(parts, conjugate, 1, ROWS, columns, depth, A + i, lda, B, across,
                            along, beta, C + i, ldc);
#if LANES > 1
    if (i < m)
        NAME(multiply_tile)(parts, conjugate, 1, m - i, columns, depth, A + i, lda, B, across,
                            along, beta, C + i, ldc);
#endif
}

/* Rows `offset` to `offset + m` of C, all n columns. */
INLINE void NAME(multiply_rows)(int parts, int conjugate, int lower, ptrdiff_t offset, ptrdiff_t m,
                                ptrdiff_t n, ptrdiff_t depth, const SCALAR *A, ptrdiff_t lda,
                                const SCALAR *B, ptrdiff_t across, ptrdiff_t along, int beta,
                                SCALAR *C, ptrdiff_t ldc) {
    if (lower) n = NAME(least)(n, (offset + m) / parts);
    for (ptrdiff_t j = 0, width; j < n; j += width) {
        ptrdiff_t top = lower && parts * j > offset ? parts * j - offset : 0;
        const SCALAR *b = B + j * across;
        SCALAR *c = C + j * ldc;
#define TILE(columns)                                                                              \
    NAME(multiply_columns)(parts, conjugate, columns, top, m, depth, A, lda, b, across, along,     \
                           beta, c, ldc)
        width = NAME(least)(n - j, COLUMNS);
        if (n - j > COLUMNS && n - j < 2 * COLUMNS) width = (n - j + 1) / 2; /* two of one kind */
        switch (width) {
        case 1: TILE(1); break;
        case 2: TILE(2); break;
        case 3: TILE(3); break;
#if COLUMNS > 4
        case 4: TILE(4); break;
        case 5: TILE(5); break;
#endif
#if COLUMNS > 6
        case 6: TILE(6); break;
        case 7: TILE(7); break;
#endif
        default: TILE(COLUMNS);
        }
#undef TILE
    }
}

#if !BATCHED
/* target <- source S for a block of rows, S the signs of the diagonal. */
INLINE void NAME(turn_columns)(ptrdiff_t m, ptrdiff_t depth, const SCALAR *source, ptrdiff_t lds,
                               const SCALAR *diagonal, ptrdiff_t step, SCALAR *target,
                               ptrdiff_t ldt) {
    for (ptrdiff_t p = 0; p < depth; p++, source += lds, target += ldt)
        if (diagonal[p * step] < 0)
            for (ptrdiff_t i = 0; i < m; i++) target[i] = -source[i];
        else
            memcpy(target, source, m * sizeof(SCALAR));
}
#endif

INLINE void NAME(multiply_in_place)(int parts, int conjugate, int lower, ptrdiff_t m, ptrdiff_t n,
                                    ptrdiff_t depth, const SCALAR *A, ptrdiff_t lda,
                                    const SCALAR *B, ptrdiff_t across, ptrdiff_t along, int beta,
                                    SCALAR *C, ptrdiff_t ldc, SCALAR *pack,
                                    const SCALAR *diagonal, ptrdiff_t step) {
    for (ptrdiff_t i = 0; i < m; i += BLOCK_ROWS) {
        ptrdiff_t mi = NAME(least)(m - i, BLOCK_ROWS);
        const SCALAR *rows = A + i;
#if !BATCHED
        if (diagonal) {
            NAME(turn_columns)(mi, depth, rows, lda, diagonal, step, pack, BLOCK_ROWS);
            rows = pack;
        }
#endif
        NAME(multiply_rows)(parts, conjugate, lower, i, mi, n, depth, rows,
                            diagonal ? BLOCK_ROWS : lda, B, across, along, beta, C + i, ldc);
    }
}

#if !BATCHED
/* ---- large products: blocks of A and op(B) are copied in the order of use ---- */

/*      packed A                    packed op(B)
 *      [ panel of TILE_ROWS ]      [ panel of | panel | .. ]     in a panel the TILE_ROWS (COLUMNS)
 *      [ panel              ]      [ COLUMNS  |       |    ]     entries of each p lie side by
 *      [ ..                 ]                                    side, then those of p + 1
 *
 * A complex p is two real ones: (A, Re op(B)), then (i A, Im op(B)), or -i A for the conjugate.
 */
#define TILE_ROWS (VECTORS * ROWS)

/* Panels of A, or of A S; what the last one lacks is zero. */
INLINE void NAME(pack_rows)(int parts, int conjugate, ptrdiff_t m, ptrdiff_t depth,
                            const SCALAR *A, ptrdiff_t lda, SCALAR *packed,
                            const SCALAR *diagonal, ptrdiff_t step) {
    for (ptrdiff_t i = 0; i < m; i += TILE_ROWS, packed += TILE_ROWS * depth * parts)
        for (ptrdiff_t p = 0; p < depth; p++) {
            SCALAR *target = packed + p * TILE_ROWS * parts;
            vec a[VECTORS];
            for (int v = 0; v < VECTORS; v++) {
                ptrdiff_t left = m - i - v * ROWS;
                const SCALAR *source = A + p * lda + i + v * ROWS;
                a[v] = left >= ROWS ? NAME(load)(source)
                       : left > 0   ? NAME(load_rows)(source, left)
                                    : (vec){0};
                if (diagonal && diagonal[p * step] < 0) a[v] = -a[v];
                NAME(store)(target + v * ROWS, a[v]);
            }
            if (parts == 1) continue;
            NAME(turn)(conjugate, VECTORS, a);
            for (int v = 0; v < VECTORS; v++) NAME(store)(target + TILE_ROWS + v * ROWS, a[v]);
        }
}

/* Panels of op(B), whose entries of one row lie `across` from each other: along the rows or down
 * the columns, as they lie in memory. */
INLINE void NAME(pack_columns)(int parts, ptrdiff_t n, ptrdiff_t depth, const SCALAR *B,
                               ptrdiff_t across, ptrdiff_t along, SCALAR *packed) {
    ptrdiff_t whole = n - n % COLUMNS, j = 0;
    if (across == parts)
        for (ptrdiff_t p = 0; p < depth; p++)
            for (j = 0; j < whole; j += COLUMNS)
                for (int part = 0; part < parts; part++) {
                    const SCALAR *source = B + p * along + j * parts + part;
                    SCALAR *target = packed + j * depth * parts + (p * parts + part) * COLUMNS;
                    if (parts == 1)
                        memcpy(target, source, COLUMNS * sizeof(SCALAR));
                    for (int c = 0; parts > 1 && c < COLUMNS; c++) target[c] = source[c * parts];
                }
    for (; j < n; j++)
        for (ptrdiff_t p = 0; p < depth; p++)
            for (int part = 0; part < parts; part++)
                packed[(j - j % COLUMNS) * depth * parts + (p * parts + part) * COLUMNS +
                       j % COLUMNS] = B[j * across + p * along + part];
    for (ptrdiff_t q = 0; whole < n && q < depth * parts; q++)
        for (ptrdiff_t c = n - whole; c < COLUMNS; c++)
            packed[whole * depth * parts + q * COLUMNS + c] = 0;
}

/* target <- source, columns of vectors, the last of which has `last` rows. */
INLINE void NAME(copy_tile)(int vectors, ptrdiff_t last, ptrdiff_t columns, const SCALAR *source,
                            ptrdiff_t lds, SCALAR *target, ptrdiff_t ldt) {
    for (ptrdiff_t j = 0; j < columns; j++)
        for (int v = 0; v < vectors; v++) {
            ptrdiff_t i = v * ROWS, n = v == vectors - 1 ? last : ROWS;
            NAME(store_rows)(target + i + j * ldt, NAME(load_rows)(source + i + j * lds, n), n);
        }
}

/* A tile of C out of packed panels, from vector `skip` of the panel of A down. A tile at the edge
 * of C is copied to a whole one and back. */
static void NAME(packed_tile)(int skip, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t depth,
                              const SCALAR *A, const SCALAR *B, int beta, SCALAR *C,
                              ptrdiff_t ldc) {
    SCALAR whole[TILE_ROWS * COLUMNS], *target = C + skip * ROWS;
    int vectors = (int)((rows + ROWS - 1) / ROWS) - skip;
    ptrdiff_t step = ldc, last = rows - (skip + vectors - 1) * ROWS;
    A += skip * ROWS;
    columns = NAME(least)(columns, COLUMNS);
    if (last < ROWS || columns < COLUMNS) {
        if (beta) NAME(copy_tile)(vectors, last, columns, target, ldc, whole, TILE_ROWS);
        target = whole;
        step = TILE_ROWS;
    }
#define TILE(vectors)                                                                              \
    NAME(multiply_tile)(1, 0, vectors, ROWS, COLUMNS, depth, A, TILE_ROWS, B, 1, COLUMNS, beta,    \
                        target, step)
    switch (vectors) {
    case 1: TILE(1); break;
#if VECTORS > 2
    case 2: TILE(2); break;
#endif
    case VECTORS: TILE(VECTORS); break;
    }
#undef TILE
    if (target == whole)
        NAME(copy_tile)(vectors, last, columns, whole, TILE_ROWS, C + skip * ROWS, ldc);
}

/* A block of C out of packed blocks, whose first row lies `diagonal` reals below the diagonal.
 *
 *      [ x         ]      with `lower` each panel of B starts at the first vector of rows that
 *      [ x x x     ]      reaches the diagonal
 *      [ x x x x x ]
 */
INLINE void NAME(packed_block)(int parts, int lower, ptrdiff_t diagonal, ptrdiff_t m, ptrdiff_t n,
                               ptrdiff_t depth, const SCALAR *A, const SCALAR *B, int beta,
                               SCALAR *C, ptrdiff_t ldc) {
    if (lower) n = NAME(least)(n, (diagonal + m) / parts);
    for (ptrdiff_t j = 0; j < n; j += COLUMNS) {
        ptrdiff_t top = lower && parts * j > diagonal ? parts * j - diagonal : 0;
        for (ptrdiff_t i = top - top % TILE_ROWS; i < m; i += TILE_ROWS)
            NAME(packed_tile)(top > i ? (int)((top - i) / ROWS) : 0, NAME(least)(m - i, TILE_ROWS),
                              n - j, depth, A + i * depth, B + j * depth, beta, C + i + j * ldc,
                              ldc);
    }
}

INLINE void NAME(multiply_packed)(int parts, int conjugate, int lower, ptrdiff_t m, ptrdiff_t n,
                                  ptrdiff_t depth, const SCALAR *A, ptrdiff_t lda,
                                  const SCALAR *B, ptrdiff_t across, ptrdiff_t along, int beta,
                                  SCALAR *C, ptrdiff_t ldc, SCALAR *pack,
                                  const SCALAR *diagonal, ptrdiff_t step) {
    SCALAR *rows = pack, *columns = pack + BLOCK_ROWS * BLOCK_DEPTH;
    for (ptrdiff_t j = 0; j < n; j += BLOCK_COLUMNS) {
        ptrdiff_t nj = NAME(least)(n - j, BLOCK_COLUMNS), top = parts * j;
        NAME(pack_columns)(parts, nj, depth, B + j * across, across, along, columns);
        for (ptrdiff_t i = lower ? top : 0; i < m; i += BLOCK_ROWS) {
            ptrdiff_t mi = NAME(least)(m - i, BLOCK_ROWS);
            if (kernels_stopped((int64_t)mi * nj * depth * parts)) return;
            NAME(pack_rows)(parts, conjugate, mi, depth, A + i, lda, rows, diagonal, step);
            NAME(packed_block)(parts, lower, i - top, mi, nj, parts * depth, rows, columns,
                               beta, C + i + j * ldc, ldc);
        }
    }
}

#endif

/* ---- any product ---- */

INLINE void NAME(multiply_parts)(int parts, int conjugate, int lower, ptrdiff_t m, ptrdiff_t n,
                                 ptrdiff_t k, const SCALAR *A, ptrdiff_t lda, const SCALAR *B,
                                 ptrdiff_t across, ptrdiff_t along, int beta, SCALAR *C,
                                 ptrdiff_t ldc, SCALAR *pack, const SCALAR *diagonal,
                                 ptrdiff_t step) {
    ptrdiff_t chunk = NAME(chunk)(parts, k), p = 0;
    do {
        ptrdiff_t depth = NAME(least)(chunk, k - p);
        const SCALAR *Ap = A + p * lda, *Bp = B + p * along;
        const SCALAR *signs = diagonal ? diagonal + p * step : NULL;
#if !BATCHED
        if (PACKING_PAYS(m, parts * n, k))
            NAME(multiply_packed)(parts, conjugate, lower, m, n, depth, Ap, lda, Bp, across, along,
                                  beta, C, ldc, pack, signs, step);
        else
#endif
            NAME(multiply_in_place)(parts, conjugate, lower, m, n, depth, Ap, lda, Bp, across,
                                    along, beta, C, ldc, pack, signs, step);
        beta = 1;
        p += depth;
    } while (p < k);
}

#endif

/* `diagonal` is NULL for a product without signs. */
INLINE void NAME(multiply_by)(int op, int lower, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
                              const void *A, ptrdiff_t lda, const void *B, ptrdiff_t ldb, int beta,
                              void *C, ptrdiff_t ldc, void *pack, const void *diagonal,
                              ptrdiff_t step) {
    enum { parts = COMPLEX ? 2 : 1 };
    ptrdiff_t across = parts * (op ? 1 : ldb), along = parts * (op ? ldb : 1);
    REAL *aligned = (REAL *)(((uintptr_t)pack + 63) & ~(uintptr_t)63); /* none if batched */
    REAL_NAME(multiply_parts)(parts, op == 2, lower, parts * m, n, k, A, parts * lda, B, across,
                              along, beta, C, parts * ldc, aligned, diagonal, parts * step);
}

static void NAME(multiply)(int op, int lower, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
                           const void *A, ptrdiff_t lda, const void *B, ptrdiff_t ldb, int beta,
                           void *C, ptrdiff_t ldc, void *pack) {
    NAME(multiply_by)(op, lower, m, n, k, A, lda, B, ldb, beta, C, ldc, pack, NULL, 0);
}

#if !BATCHED
static void NAME(multiply_signed)(int op, int lower, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
                                  const void *A, ptrdiff_t lda, const void *B, ptrdiff_t ldb,
                                  int beta, void *C, ptrdiff_t ldc, void *pack,
                                  const void *diagonal, ptrdiff_t step) {
    NAME(multiply_by)(op, lower, m, n, k, A, lda, B, ldb, beta, C, ldc, pack, diagonal, step);
}
#endif

#if !BATCHED
/* ---- one right-hand side --------------------------------------------------------------------- */

/* `columns` columns of a front, whose other m rows follow the triangle; z holds one entry a row. The
 * columns are read side by side.
 *
 *   forward    [ L11 ]  columns     z1 <- L11^-1 z1, z2 <- z2 - L21 z1
 *   backward   [ L21 ]  m           z1 <- L11^-H (z1 - L21^H z2)
 */
/* z += L minus for n rows. */
INLINE void NAME(forward_rows)(int columns, ptrdiff_t n, const SCALAR *L, ptrdiff_t ld,
                               const SCALAR minus[4], SCALAR *z) {
    vec sum = NAME(load_rows)(z, n);
    for (int j = 0; j < columns; j++) sum += NAME(load_rows)(L + j * ld, n) * minus[j];
    NAME(store_rows)(z, sum, n);
}

INLINE void NAME(forward_block)(int columns, ptrdiff_t m, const SCALAR *L, ptrdiff_t ld,
                                SCALAR *z) {
    SCALAR minus[4], head[4]; /* z1 in registers: it is not read back from memory just written */
    for (int j = 0; j < columns; j++) head[j] = z[j];
    for (int j = 0; j < columns; j++) {
        head[j] *= 1 / REAL_PART(L[j + j * ld]); /* the division does not wait for z */
        minus[j] = -head[j];
        for (int i = j + 1; i < columns; i++) head[i] += L[i + j * ld] * minus[j];
    }
    for (int j = 0; j < columns; j++) z[j] = head[j];
    L += columns;
    z += columns;
    ptrdiff_t i = 0;
    for (; i + ROWS <= m; i += ROWS)
        NAME(forward_rows)(columns, ROWS, L + i, ld, minus, z + i);
#if LANES > 1
    if (i < m) NAME(forward_rows)(columns, m - i, L + i, ld, minus, z + i);
#endif
}

/* sum += L^H z for n rows. */
INLINE void NAME(backward_rows)(int columns, ptrdiff_t n, const SCALAR *L, ptrdiff_t ld,
                                const SCALAR *z, vec sum[4]) {
    vec zi = NAME(load_rows)(z, n);
    for (int j = 0; j < columns; j++) {
        vec l = NAME(load_rows)(L + j * ld, n);
#if LANES > 1
        sum[j] += l * zi;
#else
        sum[j] += CONJUGATE(l) * zi;
#endif
    }
}

INLINE void NAME(backward_block)(int columns, ptrdiff_t m, const SCALAR *L, ptrdiff_t ld,
                                 SCALAR *z) {
    vec sum[4];
    ptrdiff_t i = 0;
    for (int j = 0; j < columns; j++) sum[j] = (vec){0};
    for (; i + ROWS <= m; i += ROWS)
        NAME(backward_rows)(columns, ROWS, L + columns + i, ld, z + columns + i, sum);
#if LANES > 1
    if (i < m) NAME(backward_rows)(columns, m - i, L + columns + i, ld, z + columns + i, sum);
#endif
    SCALAR head[4];
    for (int j = columns - 1; j >= 0; j--) {
        head[j] = z[j] - NAME(sum)(sum[j]);
        for (int i = columns - 1; i > j; i--) head[j] -= CONJUGATE(L[i + j * ld]) * head[i];
        head[j] *= 1 / REAL_PART(L[j + j * ld]);
    }
    for (int j = 0; j < columns; j++) z[j] = head[j];
}

static void NAME(forward)(ptrdiff_t nc, ptrdiff_t m, const void *L_, ptrdiff_t ld, void *z_) {
    const SCALAR *L = L_;
    SCALAR *z = z_;
    for (; nc >= 4; nc -= 4, L += 4 * (ld + 1), z += 4)
        NAME(forward_block)(4, nc - 4 + m, L, ld, z);
    switch (nc) {
    case 1: NAME(forward_block)(1, m, L, ld, z); break;
    case 2: NAME(forward_block)(2, m, L, ld, z); break;
    case 3: NAME(forward_block)(3, m, L, ld, z); break;
    }
}

static void NAME(backward)(ptrdiff_t nc, ptrdiff_t m, const void *L_, ptrdiff_t ld, void *z_) {
    ptrdiff_t j = nc - nc % 4;
    const SCALAR *L = (const SCALAR *)L_ + j * (ld + 1);
    SCALAR *z = (SCALAR *)z_ + j;
    switch (nc - j) {
    case 1: NAME(backward_block)(1, m, L, ld, z); break;
    case 2: NAME(backward_block)(2, m, L, ld, z); break;
    case 3: NAME(backward_block)(3, m, L, ld, z); break;
    }
    for (m += nc - j; j > 0; j -= 4, m += 4) {
        L -= 4 * (ld + 1);
        z -= 4;
        NAME(backward_block)(4, m, L, ld, z);
    }
}

#endif

/* ---- extend-add and its reverse -------------------------------------------------------------- */

static void NAME(scatter)(ptrdiff_t m, ptrdiff_t begin, ptrdiff_t end, const int32_t *place,
                          const int32_t *runs, int shift, const void *U, void *D, ptrdiff_t ldd) {
    for (ptrdiff_t j = begin; j < end; j++) {
        const SCALAR *u = (const SCALAR *)U + j * m;
        SCALAR *d = (SCALAR *)D + (ptrdiff_t)(place[j] - shift) * ldd - shift;
        for (ptrdiff_t i = j; i < m;) {
            ptrdiff_t stop = runs[i];
            if (stop > 0) {
                SCALAR *run = d + (place[i] - i);
                for (; i < stop; i++) run[i] += u[i];
            } else {
                for (; i < -stop; i++) d[place[i]] += u[i];
            }
        }
    }
}

static void NAME(gather)(ptrdiff_t m, ptrdiff_t begin, ptrdiff_t end, const int32_t *place,
                         const int32_t *runs, int shift, const void *D, ptrdiff_t ldd, void *U) {
    for (ptrdiff_t j = begin; j < end; j++) {
        SCALAR *u = (SCALAR *)U + j * m;
        const SCALAR *d = (const SCALAR *)D + (ptrdiff_t)(place[j] - shift) * ldd - shift;
        for (ptrdiff_t i = j; i < m;) {
            ptrdiff_t stop = runs[i];
            if (stop > 0) {
                const SCALAR *run = d + (place[i] - i);
                for (; i < stop; i++) u[i] = run[i];
            } else {
                for (; i < -stop; i++) u[i] = d[place[i]];
            }
        }
    }
}

/* By tiles of columns: each row of a tile is written at once. */
static void NAME(mirror)(ptrdiff_t m, ptrdiff_t begin, ptrdiff_t end, void *U_) {
    SCALAR *U = U_;
    for (; begin < end; begin += 8) {
        ptrdiff_t stop = begin + 8 < end ? begin + 8 : end;
        for (ptrdiff_t i = begin + 1; i < stop; i++)
            for (ptrdiff_t j = begin; j < i; j++) U[j + i * m] = CONJUGATE(U[i + j * m]);
        for (ptrdiff_t i = stop; i < m; i++)
            for (ptrdiff_t j = begin; j < stop; j++) U[j + i * m] = CONJUGATE(U[i + j * m]);
    }
}

/* ---- simplicial subtrees: columns without fronts ---------------------------------------------- */

/* base[target] -= x_i conj(x_j) / pivot for i >= j >= begin; returns the next target. */
INLINE const int32_t *NAME(send)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t m, const SCALAR *x,
                                 REAL inverse, const int32_t *target, SCALAR *base) {
    for (ptrdiff_t j = begin; j < end; j++) {
        SCALAR y = CONJUGATE(x[j]) * inverse;
        for (ptrdiff_t i = j; i < m; i++) base[*target++] -= x[i] * y;
    }
    return target;
}

#if !BATCHED
/* |x|^2 */
INLINE double NAME(square)(SCALAR x) {
#if COMPLEX
    double re = creal(x), im = cimag(x);
    return re * re + im * im;
#else
    return x * (double)x;
#endif
}
#endif

/* x <- scale x, whose squares go to the sums of their rows. */
INLINE void NAME(scale)(ptrdiff_t m, SCALAR *x, REAL scale, const int32_t *below, double *sums) {
    for (ptrdiff_t i = 0; i < m; i++) x[i] *= scale;
#if !BATCHED
    if (sums)
        for (ptrdiff_t i = 0; i < m; i++) sums[below[i]] += NAME(square)(x[i]);
#endif
}

/* Both for a column whose targets lie in one array. */
INLINE const int32_t *NAME(spread)(ptrdiff_t m, SCALAR *x, REAL inverse, REAL scale,
                                   const int32_t *target, SCALAR *base, const int32_t *below,
                                   double *sums) {
    target = NAME(send)(0, m, m, x, inverse, target, base);
    NAME(scale)(m, x, scale, below, sums);
    return target;
}

#if !BATCHED
/* The rounding of pivot j is that of |d_j| + sum_k |l_jk|^2, see `weigh_front`. */
INLINE void NAME(weigh)(const pivot_rule *rule, int32_t j, ptrdiff_t column, REAL root) {
    outcome *result = rule->weighed;
    double least = sizeof(REAL) == 4 ? FLT_MIN : DBL_MIN;
    double weak = sizeof(REAL) == 4 ? WEAK_SHORT : WEAK_LONG;
    double bar = result->ratio > weak ? result->ratio : weak;
    double pivot = root * (double)root, size = rule->sums[j] + pivot;
    result->growth = size > result->growth ? size : result->growth;
    if (pivot < bar * (size + least) && !(rule->replaced && rule->replaced[column]))
        weigh_pivot(j, pivot, size, least, weak, result);
}
#endif

/* The products need 1 / pivot only: the square root is off the path from column to column. `rule`
 * as for `factor_by`. */
INLINE ptrdiff_t NAME(columns_by)(const subtree *r, void *l, void *update,
                                  const pivot_rule *rule) {
    const int32_t *target = r->target, last = r->first[r->root];
    for (ptrdiff_t s = r->begin; s <= r->root; s++) {
        SCALAR *column = (SCALAR *)l + (r->panel[s] - r->panel[r->begin]);
        SCALAR *x = column + 1;
        const int32_t *below = r->rows + r->row_start[s];
        ptrdiff_t m = r->row_start[s + 1] - r->row_start[s];
        REAL pivot = REAL_PART(column[0]);
#if BATCHED
        REAL root = SQRT(pivot), inverse = 1 / pivot, scale = 1 / root;
        /* an inverse that is infinite fails, too: one matrix has a way out for subnormal pivots */
        column[0] = root + 0 * inverse;
#else
        if (rule) {
            pivot = NAME(take_pivot)(rule, r->first[s] - r->first[r->begin], pivot);
            if (pivot == 0) return r->first[s];
        } else if (!(pivot > 0 && pivot < (REAL)INFINITY))
            return r->first[s];
        REAL root = SQRT(FABS(pivot)), inverse = 1 / pivot, scale = 1 / root;
        if (!(FABS(inverse) < (REAL)INFINITY)) {
            /* a subnormal pivot: its root alone has an inverse */
            for (ptrdiff_t i = 0; i < m; i++) x[i] *= scale;
            inverse = COPYSIGN(1, pivot);
            scale = 1;
        }
        column[0] = COPYSIGN(root, pivot);
#endif
        double *sums = rule ? rule->sums : NULL;
        if (m == 0 || below[m - 1] <= last) {
            switch (m) { /* short loops of known length are unrolled */
            case 0: break;
            case 1: target = NAME(spread)(1, x, inverse, scale, target, l, below, sums); break;
            case 2: target = NAME(spread)(2, x, inverse, scale, target, l, below, sums); break;
            case 3: target = NAME(spread)(3, x, inverse, scale, target, l, below, sums); break;
            case 4: target = NAME(spread)(4, x, inverse, scale, target, l, below, sums); break;
            default: target = NAME(spread)(m, x, inverse, scale, target, l, below, sums);
            }
        } else {
            ptrdiff_t inside = 0;
            while (below[inside] <= last) inside++;
            target = NAME(send)(0, inside, m, x, inverse, target, l);
            target = NAME(send)(inside, m, m, x, inverse, target, update);
            NAME(scale)(m, x, scale, below, sums);
        }
#if !BATCHED
        if (sums) NAME(weigh)(rule, r->first[s], r->first[s] - r->first[r->begin], root);
#endif
    }
    return -1;
}

static ptrdiff_t NAME(columns)(const subtree *r, void *l, void *update) {
    return NAME(columns_by)(r, l, update, NULL);
}

#if !BATCHED
static ptrdiff_t NAME(columns_signed)(const subtree *r, void *l, void *update,
                                      const pivot_rule *rule) {
    return NAME(columns_by)(r, l, update, rule);
}

/* Whether column s has the rows of the next one, and one row more. Up to NESTED such columns
 *
 *      [ x       ]     are solved for together, so that each row is read and written once.
 *      [ x x     ]
 *      [ x x x   ]
 *      [ x x x . ]
 */
#define NESTED 3

INLINE int NAME(is_nested)(const subtree *r, ptrdiff_t s) {
    const int64_t *start = r->row_start + s;
    return start[1] - start[0] == start[2] - start[1] + 1 &&
           r->rows[start[0]] == r->first[s + 1];
}

/* x_s <- x_s / l_ss, then it leaves the rows below: for `width` nested columns, the first of which
 * has m rows below it. */
INLINE void NAME(forward_nested)(int width, ptrdiff_t m, const SCALAR *column,
                                 const int32_t *below, int signs, SCALAR *x, SCALAR *all) {
    SCALAR y[NESTED];
    const SCALAR *l[NESTED];
    for (int j = 0; j < width; column += m + 1 - j++) {
        l[j] = column;
        y[j] = x[j];
    }
    for (int j = 0; j < width; j++) {
        REAL inverse = 1 / REAL_PART(l[j][0]); /* does not wait for x */
        x[j] = y[j] * (signs ? FABS(inverse) : inverse);
        y[j] *= inverse;
        for (int k = j + 1; k < width; k++) y[k] -= l[j][k - j] * y[j];
    }
    for (ptrdiff_t i = width; i <= m; i++) {
        SCALAR rest = all[below[i - 1]];
        for (int j = 0; j < width; j++) rest -= l[j][i - j] * y[j];
        all[below[i - 1]] = rest;
    }
}

INLINE void NAME(forward_groups)(const subtree *r, const SCALAR *column, SCALAR *all,
                                 const uint8_t *reached, int signs) {
    const int32_t *below = r->rows + r->row_start[r->begin];
    SCALAR *x = all + r->first[r->begin];
    ptrdiff_t s = r->begin;
    while (s <= r->root) {
        ptrdiff_t m = r->row_start[s + 1] - r->row_start[s];
        int width = 1;
        if (!reached || reached[s]) { /* the columns above are reached then, too */
            while (width < NESTED && s + width <= r->root && NAME(is_nested)(r, s + width - 1))
                width++;
            switch (width) {
            case 1: NAME(forward_nested)(1, m, column, below, signs, x, all); break;
            case 2: NAME(forward_nested)(2, m, column, below, signs, x, all); break;
            case 3: NAME(forward_nested)(3, m, column, below, signs, x, all); break;
            }
        }
        s += width;
        x += width;
        for (; width > 0; width--, m--) {
            column += m + 1;
            below += m;
        }
    }
}

/* x_s <- (x_s - l_s^H x) / l_ss: for `width` nested columns, the last of which has m rows below it
 * and ends at `column`. Long sums go in parts that do not wait for each other. */
INLINE void NAME(backward_nested)(int width, ptrdiff_t m, const SCALAR *column,
                                  const int32_t *below, SCALAR *x, const SCALAR *all) {
    enum { PARTS = 4 };
    SCALAR sum[NESTED][PARTS] = {{0}};
    const SCALAR *l[NESTED]; /* the entries of the rows that all have */
    ptrdiff_t i = 0;
    for (int j = width - 1; j >= 0; j--) {
        column -= m + width - j;
        l[j] = column + width - j;
    }
    for (; m >= 2 * PARTS && i + PARTS <= m; i += PARTS)
        for (int part = 0; part < PARTS; part++)
            for (int j = 0; j < width; j++)
                sum[j][part] += CONJUGATE(l[j][i + part]) * all[below[i + part]];
    for (; i < m; i++)
        for (int j = 0; j < width; j++) sum[j][0] += CONJUGATE(l[j][i]) * all[below[i]];
    SCALAR y[NESTED];
    for (int j = width - 1; j >= 0; j--) {
        y[j] = x[j] - ((sum[j][0] + sum[j][1]) + (sum[j][2] + sum[j][3]));
        for (int k = width - 1; k > j; k--) y[j] -= CONJUGATE(l[j][k - width]) * y[k];
        y[j] *= 1 / REAL_PART(l[j][j - width]);
    }
    for (int j = 0; j < width; j++) x[j] = y[j];
}

INLINE void NAME(backward_groups)(const subtree *r, const SCALAR *column, SCALAR *all) {
    const int32_t *below = r->rows + r->row_start[r->root + 1];
    SCALAR *x = all + r->first[r->root] + 1;
    ptrdiff_t s = r->root;
    while (s >= r->begin) {
        ptrdiff_t m = r->row_start[s + 1] - r->row_start[s];
        int width = 1;
        below -= m;
        while (width < NESTED && s - width >= r->begin && NAME(is_nested)(r, s - width)) width++;
        x -= width;
        switch (width) {
        case 1: NAME(backward_nested)(1, m, column, below, x, all); break;
        case 2: NAME(backward_nested)(2, m, column, below, x, all); break;
        case 3: NAME(backward_nested)(3, m, column, below, x, all); break;
        }
        s -= width;
        for (; width > 1; width--) {
            column -= m + 1;
            below -= ++m;
        }
        column -= m + 1;
    }
}

/* x_s <- x_s / l_ss, then it leaves the rows below. */
static void NAME(forward_columns)(const subtree *r, const void *l, void *x_,
                                  const uint8_t *reached, int signs) {
    const SCALAR *column = l;
    const int32_t *below = r->rows + r->row_start[r->begin];
    SCALAR *all = x_, *x = all + r->first[r->begin];
    int64_t start = r->row_start[r->begin];
    if (r->nested) {
        NAME(forward_groups)(r, column, all, reached, signs);
        return;
    }
    for (ptrdiff_t s = r->begin; s <= r->root; s++) {
        int64_t end = r->row_start[s + 1];
        ptrdiff_t m = end - start;
        start = end;
        if (!reached || reached[s]) {
            REAL inverse = 1 / REAL_PART(column[0]); /* does not wait for x */
            SCALAR y = *x;
            *x = y * (signs ? FABS(inverse) : inverse);
            y *= inverse;
            for (ptrdiff_t i = 0; i < m; i++) all[below[i]] -= column[i + 1] * y;
        }
        column += m + 1;
        below += m;
        x++;
    }
}

/* x_s <- (x_s - l_s^H x) / l_ss. The parent is the last of the rows: it was computed just now. */
static void NAME(backward_columns)(const subtree *r, const void *l, void *x_) {
    const SCALAR *column = (const SCALAR *)l + (r->panel[r->root + 1] - r->panel[r->begin]);
    const int32_t *below = r->rows + r->row_start[r->root + 1];
    SCALAR *all = x_, *x = all + r->first[r->root];
    int64_t end = r->row_start[r->root + 1];
    if (r->nested) {
        NAME(backward_groups)(r, column, all);
        return;
    }
    for (ptrdiff_t s = r->root; s >= r->begin; s--) {
        int64_t start = r->row_start[s];
        ptrdiff_t m = end - start;
        end = start;
        column -= m + 1;
        below -= m;
        REAL inverse = 1 / REAL_PART(column[0]);
        SCALAR y = *x;
        if (m >= 8) { /* long sums in parts that do not wait for each other */
            SCALAR sum[4] = {0};
            for (; m >= 8; m -= 4)
                for (int i = 0; i < 4; i++)
                    sum[i] += CONJUGATE(column[m - i]) * all[below[m - 1 - i]];
            y -= (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
        for (ptrdiff_t i = m; i-- > 0;) y -= CONJUGATE(column[i + 1]) * all[below[i]];
        *x = y * inverse;
        x--;
    }
}

#endif

/* t += Z x with the columns from `begin` to `end` of the lower triangle of Z at the targets. */
INLINE void NAME(receive)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t m, const SCALAR *x,
                          const int32_t *target, const SCALAR *base, SCALAR *t) {
    for (ptrdiff_t j = begin; j < end; j++) {
        SCALAR sum = t[j] + base[*target++] * x[j];
        for (ptrdiff_t i = j + 1; i < m; i++) {
            SCALAR z = base[*target++];
            t[i] += z * x[j];
            sum += CONJUGATE(z) * x[i];
        }
        t[j] = sum;
    }
}

/* How many rows of a column lie in the subtree. */
INLINE ptrdiff_t NAME(inside)(ptrdiff_t m, const int32_t *below, int32_t last) {
    while (m > 0 && below[m - 1] > last) m--;
    return m;
}

/* t <- Z x on the rows below column s, whose targets begin at `target`. */
INLINE void NAME(receive_all)(const subtree *r, ptrdiff_t s, ptrdiff_t m, const SCALAR *x,
                              const int32_t *target, const SCALAR *base, const SCALAR *below,
                              SCALAR *t) {
    ptrdiff_t inside = NAME(inside)(m, r->rows + r->row_start[s], r->first[r->root]);
    for (ptrdiff_t i = 0; i < m; i++) t[i] = (SCALAR){0};
    NAME(receive)(0, inside, m, x, target, base, t);
    NAME(receive)(inside, m, m, x, target + inside * (2 * m - inside + 1) / 2, below, t);
}

/* z_k = -Z l_k / l_kk on the rows below, z_kk = (1 / |l_kk| - l_k^H z_k) / l_kk. */
static void NAME(inverse_columns)(const subtree *r, const void *l, void *z, const void *below,
                                  void *t_) {
    SCALAR *t = t_;
    const int32_t *target = r->target;
    for (ptrdiff_t s = r->root; s >= r->begin; s--) {
        ptrdiff_t at = r->panel[s] - r->panel[r->begin], m = r->row_start[s + 1] - r->row_start[s];
        const SCALAR *column = (const SCALAR *)l + at, *x = column + 1;
        SCALAR *out = (SCALAR *)z + at;
        REAL inverse = 1 / REAL_PART(column[0]), dot = {0};
        target -= m * (m + 1) / 2;
        NAME(receive_all)(r, s, m, x, target, z, below, t);
        for (ptrdiff_t i = 0; i < m; i++) out[i + 1] = -t[i] * inverse;
        for (ptrdiff_t i = 0; i < m; i++) {
            dot += REAL_PART(CONJUGATE(x[i]) * out[i + 1]);
            ONE_BY_ONE(dot);
        }
        out[0] = (FABS(inverse) - dot) * inverse;
    }
}

#include "kernels_sweeps.h"
#if !BATCHED
#include "kernels_update.h"
#endif

static const kernels NAME(table) = {
    .factor = NAME(factor),
    .solve = NAME(solve),
    .multiply = NAME(multiply),
    .scatter = NAME(scatter),
    .gather = NAME(gather),
    .mirror = NAME(mirror),
    .columns = NAME(columns),
    .inverse_columns = NAME(inverse_columns),
    .tangent = NAME(tangent),
    .outer = NAME(outer),
    .adjoint = NAME(adjoint),
    .tangent_columns = NAME(tangent_columns),
    .outer_columns = NAME(outer_columns),
    .adjoint_columns = NAME(adjoint_columns),
    .inner_columns = NAME(inner_columns),
#if BATCHED
    .interleave = interleave,
    .separate = separate,
    .weak = weak,
#else
    .forward = NAME(forward),
    .backward = NAME(backward),
    .forward_columns = NAME(forward_columns),
    .backward_columns = NAME(backward_columns),
    .factor_signed = NAME(factor_signed),
    .multiply_signed = NAME(multiply_signed),
    .columns_signed = NAME(columns_signed),
    .update = NAME(update),
    .update_column = NAME(update_column),
#endif
};

#undef NAME
#undef REAL_NAME
#undef vec
#undef ROWS
#undef BATCHED
#undef SCALAR
#undef REAL
#undef LETTER
#undef REAL_LETTER
#undef SQRT
#undef FABS
#undef MODULUS
#undef COPYSIGN
#undef CONJUGATE
#undef REAL_PART
#undef LANES
#undef COMPLEX
