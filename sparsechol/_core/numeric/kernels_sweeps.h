/* The kernels of the derivative sweeps for one scalar type; included by kernels_scalar.h.
 *
 * The diagonal of a factor, and of whatever stands for a change of it, is real.
 */

/* ---- narrow panels --------------------------------------------------------------------------- */

/* One vector of rows (`n` of them) below a triangle of nc columns.
 *
 *   tangent   [m0 m1 ..] -> X with  X L11^H + L X11^H = M:  x_j = (m_j - l_j x_jj) / l_jj is
 *             final, then leaves the later columns: m_k -= x_j conj(l_kj) + l_j conj(x_kj)
 *   outer     out -= X Y11^H + Y X11^H */
INLINE void NAME(tangent_rows)(ptrdiff_t n, int nc, const SCALAR *L11, const SCALAR *X11,
                               const REAL *inverse, const SCALAR *L, SCALAR *X, ptrdiff_t ld) {
    vec x[WIDTH], l[WIDTH];
    for (int j = 0; j < nc; j++) {
        l[j] = NAME(load_rows)(L + j * ld, n);
        x[j] = NAME(load_rows)(X + j * ld, n);
    }
    for (int j = 0; j < nc; j++) {
        x[j] = (x[j] - l[j] * REAL_PART(X11[j + j * ld])) * inverse[j];
        for (int k = j + 1; k < nc; k++)
            x[k] -= x[j] * CONJUGATE(L11[k + j * ld]) + l[j] * CONJUGATE(X11[k + j * ld]);
    }
    for (int j = 0; j < nc; j++) NAME(store_rows)(X + j * ld, x[j], n);
}

INLINE void NAME(outer_rows)(ptrdiff_t n, int nc, const SCALAR *X11, const SCALAR *Y11,
                             const SCALAR *X, const SCALAR *Y, SCALAR *out, ptrdiff_t ld) {
    vec x[WIDTH], y[WIDTH];
    for (int j = 0; j < nc; j++) {
        x[j] = NAME(load_rows)(X + j * ld, n);
        y[j] = NAME(load_rows)(Y + j * ld, n);
    }
    for (int k = 0; k < nc; k++) {
        vec sum = NAME(load_rows)(out + k * ld, n);
        sum -= x[k] * REAL_PART(Y11[k + k * ld]) + y[k] * REAL_PART(X11[k + k * ld]);
        for (int j = 0; j < k; j++)
            sum -= x[j] * CONJUGATE(Y11[k + j * ld]) + y[j] * CONJUGATE(X11[k + j * ld]);
        NAME(store_rows)(out + k * ld, sum, n);
    }
}

#if LANES > 1
#define BY_WIDTH(call)                                                                             \
    switch (nc) {                                                                                  \
    case 1: call(1); break;                                                                        \
    case 2: call(2); break;                                                                        \
    case 3: call(3); break;                                                                        \
    case 4: call(4); break;                                                                        \
    case 5: call(5); break;                                                                        \
    case 6: call(6); break;                                                                        \
    case 7: call(7); break;                                                                        \
    case 8: call(8); break;                                                                        \
    }
#else
#define BY_WIDTH(call) call(nc)
#endif

static void NAME(tangent)(ptrdiff_t rows, int nc, const void *L_, void *X_, ptrdiff_t ld) {
    const SCALAR *L = L_;
    SCALAR *X = X_;
    REAL inverse[WIDTH];
    for (int j = 0; j < nc; j++) {
        const SCALAR *l = L + j * ld;
        SCALAR *x = X + j * ld;
        inverse[j] = 1 / REAL_PART(l[j]);
        REAL diagonal = REAL_PART(x[j]) * inverse[j] / 2;
        x[j] = diagonal;
        for (int i = j + 1; i < nc; i++) x[i] = (x[i] - l[i] * diagonal) * inverse[j];
        for (int k = j + 1; k < nc; k++)
            for (int i = k; i < nc; i++)
                X[i + k * ld] -= x[i] * CONJUGATE(l[k]) + l[i] * CONJUGATE(x[k]);
    }
#define ROWS_OF(width)                                                                             \
    for (ptrdiff_t i = nc; i < rows; i += ROWS)                                                    \
        NAME(tangent_rows)(rows - i < ROWS ? rows - i : ROWS, width, L, X, inverse, L + i, X + i,  \
                           ld)
    BY_WIDTH(ROWS_OF);
#undef ROWS_OF
}

static void NAME(outer)(ptrdiff_t rows, int nc, const void *X_, const void *Y_, void *out_,
                        ptrdiff_t ld) {
    const SCALAR *X = X_, *Y = Y_;
    SCALAR *out = out_;
    for (int j = 0; j < nc; j++) {
        const SCALAR *x = X + j * ld, *y = Y + j * ld;
        REAL xj = REAL_PART(x[j]), yj = REAL_PART(y[j]);
        out[j + j * ld] -= 2 * xj * yj;
        for (int i = j + 1; i < nc; i++) out[i + j * ld] -= x[i] * yj + y[i] * xj;
        for (int k = j + 1; k < nc; k++)
            for (int i = k; i < nc; i++)
                out[i + k * ld] -= x[i] * CONJUGATE(y[k]) + y[i] * CONJUGATE(x[k]);
    }
#define ROWS_OF(width)                                                                             \
    for (ptrdiff_t i = nc; i < rows; i += ROWS)                                                    \
        NAME(outer_rows)(rows - i < ROWS ? rows - i : ROWS, width, X, Y, X + i, Y + i, out + i, ld)
    BY_WIDTH(ROWS_OF);
#undef ROWS_OF
}

/* Z <- G of a triangle: see adjoint_triangle in dense.pyx. Column by column from the right,
 * z_k = (c_k - G l_k) / l_kk below the diagonal, z_kk = (c_kk - l_k^H z_k) / l_kk. */
static void NAME(adjoint)(int nc, const void *L_, void *Z_, ptrdiff_t ld) {
    const SCALAR *L = L_;
    SCALAR *Z = Z_;
    for (int j = nc - 1; j >= 0; j--) {
        const SCALAR *l = L + j * ld;
        SCALAR *z = Z + j * ld;
        REAL inverse = 1 / REAL_PART(l[j]), diagonal = REAL_PART(z[j]);
        for (int k = j + 1; k < nc; k++)
            for (int i = j + 1; i < nc; i++) z[i] -= Z[i + k * ld] * l[k];
        for (int i = j + 1; i < nc; i++) {
            z[i] *= inverse;
            Z[j + i * ld] = CONJUGATE(z[i]);
            diagonal -= REAL_PART(CONJUGATE(l[i]) * z[i]);
            ONE_BY_ONE(diagonal);
        }
        z[j] = diagonal * inverse;
    }
}

/* ---- simplicial subtrees --------------------------------------------------------------------- */

/* base[target] -= x_i conj(y_j) + y_i conj(x_j) for i >= j >= begin; returns the next target. */
INLINE const int32_t *NAME(send_both)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t m, const SCALAR *x,
                                      const SCALAR *y, const int32_t *target, SCALAR *base) {
    for (ptrdiff_t j = begin; j < end; j++) {
        SCALAR xj = CONJUGATE(x[j]), yj = CONJUGATE(y[j]);
        for (ptrdiff_t i = j; i < m; i++) base[*target++] -= x[i] * yj + y[i] * xj;
    }
    return target;
}

static void NAME(tangent_columns)(const subtree *r, const void *l, void *x_, void *update) {
    SCALAR *base = x_;
    const int32_t *target = r->target;
    for (ptrdiff_t s = r->begin; s <= r->root; s++) {
        ptrdiff_t at = r->panel[s] - r->panel[r->begin], m = r->row_start[s + 1] - r->row_start[s];
        ptrdiff_t inside = NAME(inside)(m, r->rows + r->row_start[s], r->first[r->root]);
        const SCALAR *column = (const SCALAR *)l + at;
        SCALAR *x = base + at;
        REAL inverse = 1 / REAL_PART(column[0]), diagonal = REAL_PART(x[0]) * inverse / 2;
        x[0] = diagonal;
        for (ptrdiff_t i = 1; i <= m; i++) x[i] = (x[i] - column[i] * diagonal) * inverse;
        target = NAME(send_both)(0, inside, m, x + 1, column + 1, target, base);
        target = NAME(send_both)(inside, m, m, x + 1, column + 1, target, update);
    }
}

static void NAME(outer_columns)(const subtree *r, const void *x_, const void *y_, void *out_,
                                void *update) {
    SCALAR *base = out_;
    const int32_t *target = r->target;
    for (ptrdiff_t s = r->begin; s <= r->root; s++) {
        ptrdiff_t at = r->panel[s] - r->panel[r->begin], m = r->row_start[s + 1] - r->row_start[s];
        ptrdiff_t inside = NAME(inside)(m, r->rows + r->row_start[s], r->first[r->root]);
        const SCALAR *x = (const SCALAR *)x_ + at, *y = (const SCALAR *)y_ + at;
        SCALAR *out = base + at;
        REAL xj = REAL_PART(x[0]), yj = REAL_PART(y[0]);
        out[0] -= 2 * xj * yj;
        for (ptrdiff_t i = 1; i <= m; i++) out[i] -= x[i] * yj + y[i] * xj;
        target = NAME(send_both)(0, inside, m, x + 1, y + 1, target, base);
        target = NAME(send_both)(inside, m, m, x + 1, y + 1, target, update);
    }
}

static void NAME(adjoint_columns)(const subtree *r, const void *l, void *z, const void *below,
                                  void *t_) {
    SCALAR *t = t_;
    const int32_t *target = r->target;
    for (ptrdiff_t s = r->root; s >= r->begin; s--) {
        ptrdiff_t at = r->panel[s] - r->panel[r->begin], m = r->row_start[s + 1] - r->row_start[s];
        const SCALAR *column = (const SCALAR *)l + at;
        SCALAR *out = (SCALAR *)z + at;
        REAL inverse = 1 / REAL_PART(column[0]), diagonal = REAL_PART(out[0]);
        target -= m * (m + 1) / 2;
        NAME(receive_all)(r, s, m, column + 1, target, z, below, t);
        for (ptrdiff_t i = 0; i < m; i++) out[i + 1] = (out[i + 1] - t[i]) * inverse;
        for (ptrdiff_t i = 0; i < m; i++) {
            diagonal -= REAL_PART(CONJUGATE(column[i + 1]) * out[i + 1]);
            ONE_BY_ONE(diagonal);
        }
        out[0] = diagonal * inverse;
    }
}

static void NAME(inner_columns)(const subtree *r, const void *s_, const void *y, void *out_,
                                const void *below, void *t_) {
    SCALAR *t = t_;
    const int32_t *target = r->target;
    for (ptrdiff_t s = r->root; s >= r->begin; s--) {
        ptrdiff_t at = r->panel[s] - r->panel[r->begin], m = r->row_start[s + 1] - r->row_start[s];
        const SCALAR *column = (const SCALAR *)y + at, *entries = (const SCALAR *)s_ + at;
        SCALAR *out = (SCALAR *)out_ + at;
        REAL yj = REAL_PART(column[0]), diagonal = REAL_PART(entries[0]) * yj;
        target -= m * (m + 1) / 2;
        NAME(receive_all)(r, s, m, column + 1, target, s_, below, t);
        ONE_BY_ONE(diagonal);
        for (ptrdiff_t i = 0; i < m; i++) out[i + 1] = t[i] + entries[i + 1] * yj;
        for (ptrdiff_t i = 0; i < m; i++) {
            diagonal += REAL_PART(CONJUGATE(entries[i + 1]) * column[i + 1]);
            ONE_BY_ONE(diagonal);
        }
        out[0] = diagonal;
    }
}

#undef BY_WIDTH
