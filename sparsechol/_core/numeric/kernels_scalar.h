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
    UNROLL for (int j = 0; j < nc; j++)
        for (int v = 0; v < vectors; v++)
            x[v][j] = NAME(load_rows)(X + j * ldx + v * ROWS, v == vectors - 1 ? last : ROWS);
    UNROLL for (int step = 0; step < nc; step++) {
        int j = op ? step : nc - 1 - step;
        for (int v = 0; v < vectors; v++) x[v][j] *= inverse[j];
        UNROLL for (int other = step + 1; other < nc; other++) {
            int k = op ? other : nc - 1 - other;
            SCALAR l = op ? L[k + j * ldl] : L[j + k * ldl];
            if (op == 2) l = CONJUGATE(l);
            for (int v = 0; v < vectors; v++) x[v][k] -= l * x[v][j];
        }
    }
    UNROLL for (int j = 0; j < nc; j++)
        for (int v = 0; v < vectors; v++)
            NAME(store_rows)(X + j * ldx + v * ROWS, x[v][j], v == vectors - 1 ? last : ROWS);
}

INLINE void NAME(solve_columns)(int op, ptrdiff_t rows, int nc, const SCALAR *L, ptrdiff_t ldl,
                                const REAL *inverse, SCALAR *X, ptrdiff_t ldx) {
    ptrdiff_t i = 0;
    for (; nc <= SOLVED_IN_PAIRS && i + 2 * ROWS <= rows; i += 2 * ROWS)
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

#include "kernels_columns.h"
#include "kernels_sweeps.h"
#if !BATCHED
#include "kernels_solve.h"
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
    .forward_columns = NAME(forward_columns),
    .backward_columns = NAME(backward_columns),
#if BATCHED
    .interleave = interleave,
    .separate = separate,
    .weak = weak,
#else
    .forward = NAME(forward),
    .backward = NAME(backward),
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
