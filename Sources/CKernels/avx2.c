// One-bit codes with AVX2: the 32 bits of a word are the sign masks of four registers.
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "paths.h"

#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2,popcnt,bmi2"))), apply_to = function)

#include "elementwise.h"
#include "exponential.h"
#include "magnitudes.h"
#include "products.h"

#define EACH_OF_FOUR _Pragma("clang loop unroll(full)") for (int i = 0; i < 4; i++)

typedef __m256 vector;
typedef uint8_t lane_bits;
#define load _mm256_loadu_ps
#define save _mm256_storeu_ps
#define plus _mm256_add_ps
#define lesser _mm256_min_ps
#define greater _mm256_max_ps

static inline vector flipped(vector x, lane_bits bits) {
  // Each bit goes to the sign of its lane.
  const __m256i distances = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
  __m256i signs = _mm256_and_si256(_mm256_sllv_epi32(_mm256_set1_epi32(bits), distances), _mm256_set1_epi32((int)0x80000000));
  return _mm256_xor_ps(x, _mm256_castsi256_ps(signs));
}

static inline uint64_t at_least(const float *values, uint32_t key) {
  const __m256i magnitude = _mm256_set1_epi32(0x7fffffff), below = _mm256_set1_epi32((int)(key - 1));
  uint64_t mask = 0;
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) {
    __m256i pattern = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(values + 8 * i)), magnitude);
    int chosen = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(pattern, below)));
    mask |= (uint64_t)(uint32_t)chosen << (8 * i);
  }
  return mask;
}

static inline size_t keep(const float *values, uint64_t mask, uint32_t first_index, uint32_t *indices, float *selected) {
  size_t found = 0;
  for (; mask != 0; mask &= mask - 1, found++) {
    uint32_t e = (uint32_t)__builtin_ctzll(mask);
    indices[found] = first_index + e;
    selected[found] = values[e];
  }
  return found;
}

#include "sketch.h"

#include "rotation-avx2.h"

// gradient + residual, without negative zero.
static inline __m256 sum_of_two(const float *gradient, const float *residual) {
  __m256 v = _mm256_add_ps(_mm256_loadu_ps(gradient), _mm256_loadu_ps(residual));
  return _mm256_add_ps(v, _mm256_setzero_ps());
}

// 32 lanes to one value by halves: 16, 8, 4, 2, 1.
static inline float sum_of_lanes(const __m256 lanes[4]) {
  __m256 eight = _mm256_add_ps(_mm256_add_ps(lanes[0], lanes[2]), _mm256_add_ps(lanes[1], lanes[3]));
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// The sums of the first pass, and the word of 32 values.
static inline uint32_t gather(const float *gradient, const float *residual, __m256 positive[4], __m256 negative[4]) {
  uint32_t word = 0;
  EACH_OF_FOUR {
    __m256 v = sum_of_two(gradient + 8 * i, residual + 8 * i);
    __m256 sign = _mm256_castsi256_ps(_mm256_srai_epi32(_mm256_castps_si256(v), 31));
    positive[i] = _mm256_add_ps(positive[i], _mm256_andnot_ps(sign, v));
    negative[i] = _mm256_add_ps(negative[i], _mm256_and_ps(sign, v));
    word |= (uint32_t)_mm256_movemask_ps(v) << (8 * i);
  }
  return ~word;
}

// The new residual of 32 values.
static inline void leave(const float *gradient, float *residual, __m256 a0, __m256 a1) {
  EACH_OF_FOUR {
    __m256 v = sum_of_two(gradient + 8 * i, residual + 8 * i);
    _mm256_storeu_ps(residual + 8 * i, _mm256_sub_ps(v, _mm256_blendv_ps(a1, a0, v)));
  }
}

static bool one_bit_encode(const float *gradient, float *residual, size_t count, void *code) {
  uint32_t *bits = (uint32_t *)code + 2;
  __m256 positive[4], negative[4];
  EACH_OF_FOUR positive[i] = negative[i] = _mm256_setzero_ps();
  size_t positive_count = 0, e = 0, tail = count % 32;
  for (; e + 32 <= count; e += 32) {
    uint32_t word = gather(gradient + e, residual + e, positive, negative);
    positive_count += (size_t)__builtin_popcount(word);
    bits[e / 32] = word;
  }
  float last_gradient[32], last_residual[32];
  if (tail) {
    memset(last_gradient, 0, sizeof last_gradient);
    memset(last_residual, 0, sizeof last_residual);
    memcpy(last_gradient, gradient + e, tail * 4);
    memcpy(last_residual, residual + e, tail * 4);
    uint32_t word = gather(last_gradient, last_residual, positive, negative) & ((1u << tail) - 1);
    positive_count += (size_t)__builtin_popcount(word);
    bits[e / 32] = word;
  }
  float positive_sum = sum_of_lanes(positive), negative_sum = sum_of_lanes(negative);
  if (!__builtin_isfinite(positive_sum) || !__builtin_isfinite(negative_sum)) {
    memset(code, 0, 8 + (count + 31) / 32 * 4);
    return false;
  }
  size_t negative_count = count - positive_count;
  float means[2] = {
      negative_count ? negative_sum / (float)negative_count : 0, positive_count ? positive_sum / (float)positive_count : 0};
  memcpy(code, means, 8);

  // The values are computed again, from the cache, while the lines of the next group are fetched.
  __m256 a0 = _mm256_set1_ps(means[0]), a1 = _mm256_set1_ps(means[1]);
  for (e = 0; e + 32 <= count; e += 32) {
    leave(gradient + e, residual + e, a0, a1);
    __builtin_prefetch(gradient + e + count);
    __builtin_prefetch(gradient + e + 16 + count);
    __builtin_prefetch(residual + e + count);
    __builtin_prefetch(residual + e + 16 + count);
  }
  if (tail) {
    leave(last_gradient, last_residual, a0, a1);
    memcpy(residual + e, last_residual, tail * 4);
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

// How far to the left the bits of register i of a word go until each is the sign of its lane.
static inline __m256i distances(int i) {
  return _mm256_sub_epi32(_mm256_set1_epi32(31 - 8 * i), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The values of eight bits of `word`: a blend looks only at the sign.
static inline __m256 decoded(__m256i word, __m256i distance, __m256 a0, __m256 a1) {
  return _mm256_blendv_ps(a0, a1, _mm256_castsi256_ps(_mm256_sllv_epi32(word, distance)));
}

static inline void decode_word(uint32_t bits, __m256 a0, __m256 a1, __m256 values[4]) {
  __m256i word = _mm256_set1_epi32((int)bits);
  EACH_OF_FOUR values[i] = decoded(word, distances(i), a0, a1);
}

// Stores fewer than 32 values.
static inline void store_some(float *values, const __m256 registers[4], size_t count) {
  float all[32];
  EACH_OF_FOUR _mm256_storeu_ps(all + 8 * i, registers[i]);
  memcpy(values, all, count * 4);
}

static inline void stream_word(uint32_t word, __m256 a0, __m256 a1, float *values) {
  __m256 y[4];
  decode_word(word, a0, a1, y);
  EACH_OF_FOUR _mm256_stream_ps(values + 8 * i, y[i]);
}

static void one_bit_decode(const void *code, size_t count, float *values, bool streaming) {
  const uint32_t *bits = (const uint32_t *)code + 2;
  __m256 a0 = _mm256_set1_ps(((const float *)code)[0]), a1 = _mm256_set1_ps(((const float *)code)[1]), y[4];
  size_t e = 0;
  if (streaming) {
    e = values_before_line(values, count);
    if (e) {
      decode_word(bits[0], a0, a1, y);
      store_some(values, y, e);
    }
    // Memory takes two streams a little faster than one: both halves are written at once.
    size_t half = (count - e) / 64 * 32;
    for (size_t end = e + half; e < end; e += 32) {
      stream_word(bits_from(bits, e, count), a0, a1, values + e);
      stream_word(bits_from(bits, e + half, count), a0, a1, values + e + half);
    }
    for (e += half; e + 32 <= count; e += 32) stream_word(bits_from(bits, e, count), a0, a1, values + e);
  } else {
    for (; e + 32 <= count; e += 32) {
      decode_word(bits[e / 32], a0, a1, y);
      EACH_OF_FOUR _mm256_storeu_ps(values + e + 8 * i, y[i]);
    }
  }
  if (e < count) {
    decode_word(bits_from(bits, e, count), a0, a1, y);
    store_some(values + e, y, count - e);
  }
}

static void one_bit_decode_adding(const void *code, size_t count, float *values) {
  const uint32_t *bits = (const uint32_t *)code + 2;
  __m256 a0 = _mm256_set1_ps(((const float *)code)[0]), a1 = _mm256_set1_ps(((const float *)code)[1]), y[4];
  size_t e = 0;
  for (; e + 32 <= count; e += 32) {
    decode_word(bits[e / 32], a0, a1, y);
    EACH_OF_FOUR _mm256_storeu_ps(values + e + 8 * i, _mm256_add_ps(_mm256_loadu_ps(values + e + 8 * i), y[i]));
  }
  if (e < count) {
    float last[32] = {0};
    memcpy(last, values + e, (count - e) * 4);
    decode_word(bits[e / 32], a0, a1, y);
    EACH_OF_FOUR y[i] = _mm256_add_ps(_mm256_loadu_ps(last + 8 * i), y[i]);
    store_some(values + e, y, count - e);
  }
}

// The sum of one word (32 values) or two of all codes.
#define SUM_OF_WORDS(registers, first_word)                                                                          \
  __m256 sums[registers];                                                                                            \
  for (size_t k = 0; k < code_count; k++) {                                                                          \
    const float *means = codes[k];                                                                                   \
    const int *bits = (const int *)codes[k] + 2 + (first_word);                                                      \
    __m256 a0 = _mm256_set1_ps(means[0]), a1 = _mm256_set1_ps(means[1]);                                             \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < (registers); i++) {                                       \
      __m256 y = decoded(_mm256_set1_epi32(bits[i / 4]), distances(i % 4), a0, a1);                                  \
      sums[i] = k == 0 ? y : _mm256_add_ps(sums[i], y);                                                              \
    }                                                                                                                \
  }

static void one_bit_decode_sum(const void *const *codes, size_t code_count, size_t count, float *values) {
  size_t e = 0;
  for (; e + 64 <= count; e += 64) {
    SUM_OF_WORDS(8, e / 32)
    _Pragma("clang loop unroll(full)") for (int i = 0; i < 8; i++) _mm256_storeu_ps(values + e + 8 * i, sums[i]);
  }
  for (; e < count; e += 32) {
    SUM_OF_WORDS(4, e / 32)
    store_some(values + e, sums, count - e < 32 ? count - e : 32);
  }
}

#pragma clang attribute pop

const ck_kernels ck_avx2_kernels = {
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
