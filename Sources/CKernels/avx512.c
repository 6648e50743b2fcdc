// One-bit codes with AVX-512: the 32 bits of a word are the masks of two registers.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "paths.h"

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,popcnt,bmi2"))), apply_to = function)

#include "elementwise.h"
#include "exponential.h"
#include "magnitudes.h"
#include "products.h"

typedef __m512 vector;
typedef uint16_t lane_bits;
#define load _mm512_loadu_ps
#define save _mm512_storeu_ps
#define plus _mm512_add_ps
#define lesser _mm512_min_ps
#define greater _mm512_max_ps

static inline vector flipped(vector x, lane_bits bits) {
  __m512i pattern = _mm512_castps_si512(x);
  return _mm512_castsi512_ps(_mm512_mask_xor_epi32(pattern, bits, pattern, _mm512_set1_epi32((int)0x80000000)));
}

static inline uint64_t at_least(const float *values, uint32_t key) {
  // Twice the pattern has lost its sign, and is ordered as the magnitude is.
  __m512i least = _mm512_set1_epi32((int)(2 * key));
  uint64_t mask = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    __m512i pattern = _mm512_loadu_si512(values + 16 * i);
    mask |= (uint64_t)_mm512_cmpge_epu32_mask(_mm512_add_epi32(pattern, pattern), least) << (16 * i);
  }
  return mask;
}

static inline size_t keep(const float *values, uint64_t mask, uint32_t first_index, uint32_t *indices, float *selected) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  size_t found = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    __mmask16 chosen = (__mmask16)(mask >> (16 * i));
    __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)first_index + 16 * i));
    _mm512_storeu_si512(indices + found, _mm512_maskz_compress_epi32(chosen, index));
    _mm512_storeu_ps(selected + found, _mm512_maskz_compress_ps(chosen, _mm512_loadu_ps(values + 16 * i)));
    found += (size_t)__builtin_popcount(chosen);
  }
  return found;
}

#include "sketch.h"

#define INLINE static inline __attribute__((always_inline))

INLINE floats flipped_block(floats x, uint32_t bits) { return (floats)flipped((vector)x, (lane_bits)bits); }

// A product with 1 or -1 is exact: the sum is rounded once, as that of two.
INLINE floats plus_or_minus(floats a, floats b, int h) {
#define SIGN(lane) ((lane) & h ? -1.0f : 1.0f)
  const floats signs = {SIGN(0), SIGN(1), SIGN(2),  SIGN(3),  SIGN(4),  SIGN(5),  SIGN(6),  SIGN(7),
                        SIGN(8), SIGN(9), SIGN(10), SIGN(11), SIGN(12), SIGN(13), SIGN(14), SIGN(15)};
#undef SIGN
  return (floats)_mm512_fmadd_ps((__m512)b, (__m512)signs, (__m512)a);
}

INLINE words in_lanes(uint32_t bits, uint32_t pattern) {
  return (words)_mm512_maskz_set1_epi32((__mmask16)bits, (int)pattern);
}

INLINE uint32_t set_lanes(words patterns, int bit) {
  return _mm512_test_epi32_mask((__m512i)patterns, _mm512_set1_epi32((int)(1u << bit)));
}

INLINE floats looked_up(const float *table, words indices) {
  __m512 all = _mm512_castps256_ps512(_mm256_loadu_ps(table));
  return (floats)_mm512_permutexvar_ps((__m512i)indices, all);
}

#include "rotation.h"

// gradient + residual, without negative zero.
static inline __m512 sum_of_two(const float *gradient, const float *residual) {
  __m512 v = _mm512_add_ps(_mm512_loadu_ps(gradient), _mm512_loadu_ps(residual));
  return _mm512_add_ps(v, _mm512_setzero_ps());
}

static inline __m512 masked_sum_of_two(__mmask16 valid, const float *gradient, const float *residual) {
  __m512 v = _mm512_add_ps(_mm512_maskz_loadu_ps(valid, gradient), _mm512_maskz_loadu_ps(valid, residual));
  return _mm512_add_ps(v, _mm512_setzero_ps());
}

// 32 lanes to one value by halves: 16, 8, 4, 2, 1.
static inline float sum_of_lanes(__m512 low, __m512 high) {
  __m512 sixteen = _mm512_add_ps(low, high);
  __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline uint32_t ones(size_t count) { return count >= 32 ? 0xffffffff : (1u << count) - 1; }

static bool one_bit_encode(const float *gradient, float *residual, size_t count, void *code) {
  uint32_t *bits = (uint32_t *)code + 2;
  __m512 positive0 = _mm512_setzero_ps(), positive1 = positive0, negative0 = positive0, negative1 = positive0;
  size_t positive_count = 0, e = 0;
  for (; e + 32 <= count; e += 32) {
    __m512 v0 = sum_of_two(gradient + e, residual + e), v1 = sum_of_two(gradient + e + 16, residual + e + 16);
    __mmask16 n0 = _mm512_movepi32_mask(_mm512_castps_si512(v0)), n1 = _mm512_movepi32_mask(_mm512_castps_si512(v1));
    positive0 = _mm512_mask_add_ps(positive0, _knot_mask16(n0), positive0, v0);
    positive1 = _mm512_mask_add_ps(positive1, _knot_mask16(n1), positive1, v1);
    negative0 = _mm512_mask_add_ps(negative0, n0, negative0, v0);
    negative1 = _mm512_mask_add_ps(negative1, n1, negative1, v1);
    uint32_t word = ~_mm512_kunpackw(n1, n0);
    positive_count += (size_t)__builtin_popcount(word);
    bits[e / 32] = word;
  }
  if (e < count) {
    uint32_t valid = ones(count - e);
    __mmask16 valid0 = (__mmask16)valid, valid1 = (__mmask16)(valid >> 16);
    __m512 v0 = masked_sum_of_two(valid0, gradient + e, residual + e);
    __m512 v1 = masked_sum_of_two(valid1, gradient + e + 16, residual + e + 16);
    __mmask16 n0 = _mm512_movepi32_mask(_mm512_castps_si512(v0)), n1 = _mm512_movepi32_mask(_mm512_castps_si512(v1));
    positive0 = _mm512_mask_add_ps(positive0, _knot_mask16(n0), positive0, v0);
    positive1 = _mm512_mask_add_ps(positive1, _knot_mask16(n1), positive1, v1);
    negative0 = _mm512_mask_add_ps(negative0, n0, negative0, v0);
    negative1 = _mm512_mask_add_ps(negative1, n1, negative1, v1);
    uint32_t word = ~_mm512_kunpackw(n1, n0) & valid;
    positive_count += (size_t)__builtin_popcount(word);
    bits[e / 32] = word;
  }
  float positive_sum = sum_of_lanes(positive0, positive1), negative_sum = sum_of_lanes(negative0, negative1);
  if (!__builtin_isfinite(positive_sum) || !__builtin_isfinite(negative_sum)) {
    memset(code, 0, 8 + (count + 31) / 32 * 4);
    return false;
  }
  size_t negative_count = count - positive_count;
  float means[2] = {
      negative_count ? negative_sum / (float)negative_count : 0, positive_count ? positive_sum / (float)positive_count : 0};
  memcpy(code, means, 8);

  // The values are computed again, from the cache, while the lines of the next group are fetched.
  __m512 a0 = _mm512_set1_ps(means[0]), a1 = _mm512_set1_ps(means[1]);
  for (e = 0; e + 32 <= count; e += 32) {
    __m512 v0 = sum_of_two(gradient + e, residual + e), v1 = sum_of_two(gradient + e + 16, residual + e + 16);
    __mmask16 n0 = _mm512_movepi32_mask(_mm512_castps_si512(v0)), n1 = _mm512_movepi32_mask(_mm512_castps_si512(v1));
    _mm512_storeu_ps(residual + e, _mm512_sub_ps(v0, _mm512_mask_mov_ps(a1, n0, a0)));
    _mm512_storeu_ps(residual + e + 16, _mm512_sub_ps(v1, _mm512_mask_mov_ps(a1, n1, a0)));
    __builtin_prefetch(gradient + e + count);
    __builtin_prefetch(gradient + e + 16 + count);
    __builtin_prefetch(residual + e + count);
    __builtin_prefetch(residual + e + 16 + count);
  }
  for (; e < count; e += 16) {
    __mmask16 valid = (__mmask16)ones(count - e);
    __m512 v = masked_sum_of_two(valid, gradient + e, residual + e);
    __mmask16 n = _mm512_movepi32_mask(_mm512_castps_si512(v));
    _mm512_mask_storeu_ps(residual + e, valid, _mm512_sub_ps(v, _mm512_mask_mov_ps(a1, n, a0)));
  }
  return true;
}

// The 32 bits from element `e` on, at any bit.
static inline uint32_t bits_from(const uint32_t *bits, size_t e, size_t count) {
  size_t word = e / 32;
  uint64_t two = bits[word];
  if (word + 1 < (count + 31) / 32) two |= (uint64_t)bits[word + 1] << 32;
  return (uint32_t)(two >> (e % 32));
}

static inline void stream_word(uint32_t word, __m512 a0, __m512 a1, float *values) {
  _mm512_stream_ps(values, _mm512_mask_mov_ps(a0, (__mmask16)word, a1));
  _mm512_stream_ps(values + 16, _mm512_mask_mov_ps(a0, (__mmask16)(word >> 16), a1));
}

static void one_bit_decode(const void *code, size_t count, float *values, bool streaming) {
  const uint32_t *bits = (const uint32_t *)code + 2;
  __m512 a0 = _mm512_set1_ps(((const float *)code)[0]), a1 = _mm512_set1_ps(((const float *)code)[1]);
  size_t e = 0;
  if (streaming) {
    e = values_before_line(values, count);
    if (e) _mm512_mask_storeu_ps(values, (__mmask16)ones(e), _mm512_mask_mov_ps(a0, (__mmask16)bits[0], a1));
    // Memory takes two streams a little faster than one: both halves are written at once.
    size_t half = (count - e) / 64 * 32;
    for (size_t end = e + half; e < end; e += 32) {
      stream_word(bits_from(bits, e, count), a0, a1, values + e);
      stream_word(bits_from(bits, e + half, count), a0, a1, values + e + half);
    }
    for (e += half; e + 32 <= count; e += 32) stream_word(bits_from(bits, e, count), a0, a1, values + e);
  } else {
    for (; e + 32 <= count; e += 32) {
      uint32_t word = bits[e / 32];
      _mm512_storeu_ps(values + e, _mm512_mask_mov_ps(a0, (__mmask16)word, a1));
      _mm512_storeu_ps(values + e + 16, _mm512_mask_mov_ps(a0, (__mmask16)(word >> 16), a1));
    }
  }
  for (; e < count; e += 16) {
    uint32_t word = bits_from(bits, e, count);
    _mm512_mask_storeu_ps(values + e, (__mmask16)ones(count - e), _mm512_mask_mov_ps(a0, (__mmask16)word, a1));
  }
}

static void one_bit_decode_adding(const void *code, size_t count, float *values) {
  const uint32_t *bits = (const uint32_t *)code + 2;
  __m512 a0 = _mm512_set1_ps(((const float *)code)[0]), a1 = _mm512_set1_ps(((const float *)code)[1]);
  size_t e = 0;
  for (; e + 32 <= count; e += 32) {
    uint32_t word = bits[e / 32];
    __m512 y0 = _mm512_mask_mov_ps(a0, (__mmask16)word, a1), y1 = _mm512_mask_mov_ps(a0, (__mmask16)(word >> 16), a1);
    _mm512_storeu_ps(values + e, _mm512_add_ps(_mm512_loadu_ps(values + e), y0));
    _mm512_storeu_ps(values + e + 16, _mm512_add_ps(_mm512_loadu_ps(values + e + 16), y1));
  }
  for (; e < count; e += 16) {
    __mmask16 valid = (__mmask16)ones(count - e);
    __m512 y = _mm512_mask_mov_ps(a0, (__mmask16)(bits[e / 32] >> (e % 32)), a1);
    _mm512_mask_storeu_ps(values + e, valid, _mm512_add_ps(_mm512_maskz_loadu_ps(valid, values + e), y));
  }
}

static void one_bit_decode_sum(const void *const *codes, size_t code_count, size_t count, float *values) {
  size_t e = 0;
  for (; e + 128 <= count; e += 128) {
    __m512 sums[8];
    for (size_t k = 0; k < code_count; k++) {
      const float *means = codes[k];
      const uint32_t *bits = (const uint32_t *)codes[k] + 2 + e / 32;
      __m512 a0 = _mm512_set1_ps(means[0]), a1 = _mm512_set1_ps(means[1]);
#pragma clang loop unroll(full)
      for (int i = 0; i < 8; i++) {
        __m512 y = _mm512_mask_mov_ps(a0, (__mmask16)(bits[i / 2] >> (i % 2 * 16)), a1);
        sums[i] = k == 0 ? y : _mm512_add_ps(sums[i], y);
      }
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) _mm512_storeu_ps(values + e + 16 * i, sums[i]);
  }
  for (; e < count; e += 16) {
    __m512 total = _mm512_setzero_ps();
    for (size_t k = 0; k < code_count; k++) {
      const float *means = codes[k];
      const uint32_t *bits = (const uint32_t *)codes[k] + 2;
      __mmask16 word = (__mmask16)(bits[e / 32] >> (e % 32));
      __m512 y = _mm512_mask_mov_ps(_mm512_set1_ps(means[0]), word, _mm512_set1_ps(means[1]));
      total = k == 0 ? y : _mm512_add_ps(total, y);
    }
    _mm512_mask_storeu_ps(values + e, (__mmask16)ones(count - e), total);
  }
}

#pragma clang attribute pop

const ck_kernels ck_avx512_kernels = {
    .one_bit_encode = one_bit_encode,
    .one_bit_decode = one_bit_decode,
    .one_bit_decode_adding = one_bit_decode_adding,
    .one_bit_decode_sum = one_bit_decode_sum,
    .rotated_encode = rotated_encode,
    .rotated_decode = rotated_decode,
    .hadamard = rotate,
    .sum = sum,
    .copy_streaming = copy_streaming,
    .add = add,
    .subtract = subtract,
    .inner_product = inner_product,
    .add_scaled = add_scaled,
    .descend = descend,
    .adam = adam,
    .lion = lion,
    .correct_delay = correct_delay,
    .largest_magnitude = largest_magnitude,
    .sum_of_squares = sum_of_squares,
    .sketch_signs = sketch_signs,
    .sketch_insert = sketch_insert,
    .sketch_query = sketch_query,
    .select_at_least = select_at_least,
    .add_residual = add_residual,
    .magnitude_limit = magnitude_limit,
    .exponential_sum = exponential_sum,
    .gelu = gelu,
    .gelu_backward = gelu_backward,
};
#endif
