/* The kernels for one instruction set. meson compiles this file once for each, with
 * ISA (the name) and VECTOR_BYTES (the width of a register, 0 for none) defined. */
#include "kernels.h"

#include <complex.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#if !defined(__GNUC__)
#undef VECTOR_BYTES
#define VECTOR_BYTES 0
#define INLINE static inline
#else
#define INLINE static inline __attribute__((always_inline))
#endif

/* Says that a vector is in a register here: GCC spills accumulators that begin as loads else. */
#if defined(__GNUC__) && defined(__AVX2__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v) (void)(v)
#endif

/* A sum whose terms are added as they come. Else some compilers take products of several terms at
 * once, rounded, and others fuse each with its addition: the same sum would have other bits side by
 * side. */
#if defined(__GNUC__) && defined(__AVX2__)
#define ONE_BY_ONE(sum) __asm__("" : "+v"(sum))
#else
#define ONE_BY_ONE(sum) (void)(sum)
#endif

/* Before a loop of few rounds, whose number is known when it is compiled: its array then is in
 * registers. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 8")
#else
#define UNROLL
#endif

#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)

/* A tile of C in registers: vectors of rows by columns. */
#if defined(__AVX512F__)
#define VECTORS 3 /* 24 of 32 registers accumulate */
#define COLUMNS 8
#else
#define VECTORS 2 /* 12 of 16 registers accumulate */
#define COLUMNS 6
#endif

/* Columns of which two vectors of rows are solved for at once. */
#if defined(__AVX512F__)
#define SOLVED_IN_PAIRS 8
#else
#define SOLVED_IN_PAIRS 6
#endif

/* Blocks of A and of op(B), which stay in the second-level cache and the next, hold whole tiles
 * of every instruction set. */
#define BLOCK_ROWS 192
#define BLOCK_COLUMNS 240
#define BLOCK_DEPTH 256

/* Products that gain from packing (measured on Zen 4). A tile of AVX-512 reads whole cache lines of
 * A, so that it hardly minds a long leading dimension. */
#if defined(__AVX512F__)
#define PACKING_PAYS(m, n, k) ((double)(m) * (n) * (k) > 1e8)
#else
#define PACKING_PAYS(m, n, k)                                                                      \
    ((m) >= 32 && (n) >= 24 && (k) >= 64 && (double)(m) * (n) * (k) > 1e6)
#endif

/* The part of a vector that a short block of rows fills: masked where the hardware can. */
#if defined(__AVX512F__)
INLINE __m512d load_part_d(const double *p, ptrdiff_t n) {
    return _mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
}
INLINE void store_part_d(double *p, __m512d v, ptrdiff_t n) {
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), v);
}
INLINE __m512 load_part_s(const float *p, ptrdiff_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
INLINE void store_part_s(float *p, __m512 v, ptrdiff_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}
#elif defined(__AVX2__)
INLINE __m256i lanes_d(ptrdiff_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
INLINE __m256i lanes_s(ptrdiff_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE __m256d load_part_d(const double *p, ptrdiff_t n) {
    return _mm256_maskload_pd(p, lanes_d(n));
}
INLINE void store_part_d(double *p, __m256d v, ptrdiff_t n) {
    _mm256_maskstore_pd(p, lanes_d(n), v);
}
INLINE __m256 load_part_s(const float *p, ptrdiff_t n) {
    return _mm256_maskload_ps(p, lanes_s(n));
}
INLINE void store_part_s(float *p, __m256 v, ptrdiff_t n) {
    _mm256_maskstore_ps(p, lanes_s(n), v);
}
#elif VECTOR_BYTES
typedef double portable_d __attribute__((vector_size(VECTOR_BYTES)));
typedef float portable_s __attribute__((vector_size(VECTOR_BYTES)));
INLINE portable_d load_part_d(const double *p, ptrdiff_t n) {
    portable_d v = {0};
    for (ptrdiff_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}
INLINE void store_part_d(double *p, portable_d v, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) p[i] = v[i];
}
INLINE portable_s load_part_s(const float *p, ptrdiff_t n) {
    portable_s v = {0};
    for (ptrdiff_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}
INLINE void store_part_s(float *p, portable_s v, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) p[i] = v[i];
}
#endif

#define SCALAR double
#define REAL double
#define LETTER d
#define REAL_LETTER d
#define SQRT sqrt
#define FABS fabs
#define MODULUS fabs
#define COPYSIGN copysign
#define CONJUGATE(x) (x)
#define REAL_PART(x) (x)
#define COMPLEX 0
#define BATCHED 0
#define LANES (VECTOR_BYTES / 8)
#include "kernels_scalar.h"

#define SCALAR float
#define REAL float
#define LETTER s
#define REAL_LETTER s
#define SQRT sqrtf
#define FABS fabsf
#define MODULUS fabsf
#define COPYSIGN copysignf
#define CONJUGATE(x) (x)
#define REAL_PART(x) (x)
#define COMPLEX 0
#define BATCHED 0
#define LANES (VECTOR_BYTES / 4)
#include "kernels_scalar.h"

#define SCALAR double _Complex
#define REAL double
#define LETTER z
#define REAL_LETTER d
#define SQRT sqrt
#define FABS fabs
#define MODULUS cabs
#define COPYSIGN copysign
#define CONJUGATE(x) conj(x)
#define REAL_PART(x) creal(x)
#define COMPLEX 1
#define BATCHED 0
#define LANES 0
#include "kernels_scalar.h"

#define SCALAR float _Complex
#define REAL float
#define LETTER c
#define REAL_LETTER s
#define SQRT sqrtf
#define FABS fabsf
#define MODULUS cabsf
#define COPYSIGN copysignf
#define CONJUGATE(x) conjf(x)
#define REAL_PART(x) crealf(x)
#define COMPLEX 1
#define BATCHED 0
#define LANES 0
#include "kernels_scalar.h"

/* GCC has vectors of one register at most in registers. */
#define BATCHES (VECTOR_BYTES >= 32 || (VECTOR_BYTES && defined(__clang__)))
#if BATCHES
#include "kernels_batch.h"
#endif

void PASTE(kernels, ISA)(const kernels *tables[KINDS]) {
    tables[FLOAT] = &table_s;
    tables[DOUBLE] = &table_d;
    tables[FLOAT_COMPLEX] = &table_c;
    tables[DOUBLE_COMPLEX] = &table_z;
    tables[LANES_OF_4] = tables[LANES_OF_8] = NULL;
#if BATCHES
    tables[SIDE_BY_SIDE == 8 ? LANES_OF_8 : LANES_OF_4] = &table_b;
#endif
}
