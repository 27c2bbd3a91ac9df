/* Solves with one right-hand side, for one scalar type; included by kernels_scalar.h.
 *
 * `columns` columns of a front, whose other m rows follow the triangle; z holds one entry a row. The
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
