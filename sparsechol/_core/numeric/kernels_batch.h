/* The kernels for several matrices of one pattern side by side; included by kernels.c.
 *
 * An entry of all of them is one vector, `lanes`.
 */
#undef VECTORS
#undef COLUMNS
#undef BLOCK_ROWS
#undef ONE_BY_ONE
#define ONE_BY_ONE(sum) (void)(sum)
#define BLOCK_ROWS 48
#if defined(__AVX512F__)
#define SIDE_BY_SIDE 8
#define VECTORS 3
#define COLUMNS 8
#define all_lanes all_lanes8
typedef lanes8 lanes;
#else
#define SIDE_BY_SIDE 4
#define VECTORS (VECTOR_BYTES / 16)
#define COLUMNS 6
#define all_lanes all_lanes4
typedef lanes4 lanes;
#endif

INLINE lanes sqrt_lanes(lanes x) {
#if defined(__AVX512F__)
    return (lanes)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
    return (lanes)_mm256_sqrt_pd((__m256d)x);
#else
    for (int v = 0; v < SIDE_BY_SIDE; v++) x[v] = sqrt(x[v]);
    return x;
#endif
}

/* ---- to and fro: blocks of PART entries of PART matrices are transposed in registers ---- */

#define PART (VECTOR_BYTES / 8)
typedef double part __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t part_bits __attribute__((vector_size(VECTOR_BYTES)));

/* [ A B ]     row a of A and B, row b of C and D, squares of `half` rows: B and C change places.
 * [ C D ] */
INLINE void exchange(int half, part *a, part *b) {
    part x = *a, y = *b;
#if defined(__clang__)
    for (int i = 0; i < PART; i++) {
        (*a)[i] = i & half ? y[i - half] : x[i];
        (*b)[i] = i & half ? y[i] : x[i + half];
    }
#else
    part_bits first, second;
    for (int i = 0; i < PART; i++) {
        first[i] = i & half ? PART + i - half : i;
        second[i] = i & half ? PART + i : i + half;
    }
    *a = __builtin_shuffle(x, y, first);
    *b = __builtin_shuffle(x, y, second);
#endif
}

INLINE void transpose_block(part r[PART]) {
    for (int i = 0; PART > 4 && i < 4; i++) exchange(4, r + i, r + i + 4);
    for (int i = 0; PART > 2 && i < PART; i += i % 4 == 1 ? 3 : 1) exchange(2, r + i, r + i + 2);
    for (int i = 0; i < PART; i += 2) exchange(1, r + i, r + i + 1);
}

/* The blocks of one round begin at p, the last of them where it ends with the last entry. */
#define BLOCKS                                                                                     \
    for (ptrdiff_t q = 0, p; q < n && n >= PART; q += PART)                                        \
        if (p = q + PART <= n ? q : n - PART, 1)                                                   \
            for (int v = 0; v < SIDE_BY_SIDE; v += PART)

static void interleave(ptrdiff_t n, const double *const *one, void *all_) {
    double *all = all_;
    part r[PART];
    BLOCKS {
        for (int i = 0; i < PART; i++) memcpy(r + i, one[v + i] + p, sizeof(part));
        transpose_block(r);
        for (int i = 0; i < PART; i++) memcpy(all + (p + i) * SIDE_BY_SIDE + v, r + i, sizeof(part));
    }
    for (ptrdiff_t p = 0; p < n && n < PART; p++)
        for (int v = 0; v < SIDE_BY_SIDE; v++) all[p * SIDE_BY_SIDE + v] = one[v][p];
}

static void separate(ptrdiff_t n, const void *all_, double *const *one) {
    const double *all = all_;
    part r[PART];
    BLOCKS {
        for (int i = 0; i < PART; i++) memcpy(r + i, all + (p + i) * SIDE_BY_SIDE + v, sizeof(part));
        transpose_block(r);
        for (int i = 0; i < PART; i++) memcpy(one[v + i] + p, r + i, sizeof(part));
    }
    for (ptrdiff_t p = 0; p < n && n < PART; p++)
        for (int v = 0; v < SIDE_BY_SIDE; v++) one[v][p] = all[p * SIDE_BY_SIDE + v];
}

static int weak(const void *root, const void *part, const void *entry, double least) {
    lanes pivot = *(const lanes *)root * *(const lanes *)root;
    lanes bar = *(const lanes *)part * (*(const lanes *)entry + least);
    __typeof__(pivot < pivot) good = (pivot >= bar) & (pivot < all_lanes(INFINITY));
#if defined(__AVX512F__)
    return 0xff ^ _mm512_movepi64_mask((__m512i)good);
#elif defined(__AVX2__)
    return 0xf ^ _mm256_movemask_pd((__m256d)good);
#else
    int bits = 0;
    for (int v = 0; v < SIDE_BY_SIDE; v++) bits |= (good[v] == 0) << v;
    return bits;
#endif
}

#define SCALAR lanes
#define REAL lanes
#define LETTER b
#define REAL_LETTER b
#define SQRT sqrt_lanes
#define FABS abs_lanes
#define MODULUS abs_lanes
#define COPYSIGN
#define CONJUGATE(x) (x)
#define REAL_PART(x) (x)
#define COMPLEX 0
#define BATCHED 1
#define LANES 0
#include "kernels_scalar.h"
