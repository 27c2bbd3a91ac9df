/* Simplicial subtrees: columns without fronts, for one scalar type; included by kernels_scalar.h. */

/* base[target] -= x_i conj(x_j) / pivot for i >= j >= begin; returns the next target. */
INLINE const int32_t *NAME(send)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t m, const SCALAR *x,
                                 REAL inverse, const int32_t *target, SCALAR *base) {
    for (ptrdiff_t j = begin; j < end; j++) {
        SCALAR y = CONJUGATE(x[j]) * inverse;
        for (ptrdiff_t i = j; i < m; i++) base[*target++] -= x[i] * y;
    }
    return target;
}

/* The same for a long column, four at a time. No target is an entry of x. */
INLINE const int32_t *NAME(send_all)(ptrdiff_t m, const SCALAR *restrict x, REAL inverse,
                                     const int32_t *restrict target, SCALAR *restrict base) {
    for (ptrdiff_t j = 0; j < m; j++) {
        SCALAR y = CONJUGATE(x[j]) * inverse;
        ptrdiff_t i = j;
        for (; i + 4 <= m; i += 4, target += 4) {
            base[target[0]] -= x[i] * y;
            base[target[1]] -= x[i + 1] * y;
            base[target[2]] -= x[i + 2] * y;
            base[target[3]] -= x[i + 3] * y;
        }
        for (; i < m; i++) base[*target++] -= x[i] * y;
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

/* Both for a column of up to FEW rows, whose targets lie in one array. */
#define FEW 4
INLINE const int32_t *NAME(spread)(ptrdiff_t m, SCALAR *x, REAL inverse, REAL scale,
                                   const int32_t *target, SCALAR *base, const int32_t *below,
                                   double *sums) {
    SCALAR own[FEW]; /* in registers, whatever is written to the base */
    for (ptrdiff_t i = 0; i < m; i++) own[i] = x[i];
    target = NAME(send)(0, m, m, own, inverse, target, base);
    NAME(scale)(m, own, scale, below, sums);
    for (ptrdiff_t i = 0; i < m; i++) x[i] = own[i];
    return target;
}

#if !BATCHED
/* The rounding of pivot j is that of |d_j| + sum_k |l_jk|^2, see `weigh_front`. */
INLINE void NAME(weigh)(const pivot_rule *rule, int32_t j, ptrdiff_t column, REAL root,
                        outcome *result) {
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
                                  const pivot_rule *rule, outcome *result) {
    const int32_t *target = r->target, *below = r->rows + r->row_start[r->begin];
    const int64_t *end = r->row_start + r->begin + 1;
    const int32_t first = r->first[r->begin], last = r->first[r->root];
    double *sums = rule ? rule->sums : NULL;
    SCALAR *column = l;
    for (int32_t j = first; j <= last; j++, end++) {
        SCALAR *x = column + 1;
        ptrdiff_t m = end[0] - end[-1];
        REAL pivot = REAL_PART(column[0]);
#if BATCHED
        REAL root = SQRT(pivot), inverse = 1 / pivot, scale = 1 / root;
        /* an inverse that is infinite fails, too: one matrix has a way out for subnormal pivots */
        column[0] = root + 0 * inverse;
#else
        if (rule) {
            pivot = NAME(take_pivot)(rule, j - first, pivot);
            if (pivot == 0) return j;
        } else if (!(pivot > 0 && pivot < (REAL)INFINITY))
            return j;
        REAL root = SQRT(FABS(pivot)), inverse = 1 / pivot, scale = 1 / root;
        if (!(FABS(inverse) < (REAL)INFINITY)) {
            /* a subnormal pivot: its root alone has an inverse */
            for (ptrdiff_t i = 0; i < m; i++) x[i] *= scale;
            inverse = COPYSIGN(1, pivot);
            scale = 1;
        }
        column[0] = COPYSIGN(root, pivot);
#endif
        if (m == 0 || below[m - 1] <= last) {
            switch (m) { /* short loops of known length are unrolled */
            case 0: break;
            case 1: target = NAME(spread)(1, x, inverse, scale, target, l, below, sums); break;
            case 2: target = NAME(spread)(2, x, inverse, scale, target, l, below, sums); break;
            case 3: target = NAME(spread)(3, x, inverse, scale, target, l, below, sums); break;
            case 4: target = NAME(spread)(4, x, inverse, scale, target, l, below, sums); break;
            default:
                target = NAME(send_all)(m, x, inverse, target, l);
                NAME(scale)(m, x, scale, below, sums);
            }
        } else {
            ptrdiff_t inside = 0;
            while (below[inside] <= last) inside++;
            target = NAME(send)(0, inside, m, x, inverse, target, l);
            target = NAME(send)(inside, m, m, x, inverse, target, update);
            NAME(scale)(m, x, scale, below, sums);
        }
#if !BATCHED
        if (sums) NAME(weigh)(rule, j, j - first, root, result);
#endif
        column += m + 1;
        below += m;
    }
    return -1;
}

static ptrdiff_t NAME(columns)(const subtree *r, void *l, void *update) {
    return NAME(columns_by)(r, l, update, NULL, NULL);
}

#if !BATCHED
static ptrdiff_t NAME(columns_signed)(const subtree *r, void *l, void *update,
                                      const pivot_rule *rule) {
    pivot_rule own = *rule; /* in registers, whatever is written to L */
    outcome result = {0};
    if (own.sums) result = *own.weighed;
    ptrdiff_t bad = NAME(columns_by)(r, l, update, &own, &result);
    if (own.sums) *own.weighed = result;
    return bad;
}
#endif

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
    SCALAR sum[NESTED][PARTS] = {0};
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
    SCALAR *place = NULL, kept = {0}; /* what was stored last: a vector is slow to read back */
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
            SCALAR y;
            if (BATCHED && x == place)
                y = kept;
            else
                y = *x;
            *x = y * (signs ? FABS(inverse) : inverse);
            y *= inverse;
            for (ptrdiff_t i = m; i-- > 0;) {
                place = all + below[i];
                kept = *place - column[i + 1] * y;
                *place = kept;
            }
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
