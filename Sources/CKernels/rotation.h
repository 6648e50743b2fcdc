// Codes of rotated groups (Sources/Kernels/Portable/Portable+Rotated.swift is the reference). The file that includes this defines, for
// its instruction set,
//
//   flipped_block(x, bits)           sixteen values, with the sign of lane l changed where bit l is 1
//   set_lanes(patterns, bit)         for each of sixteen patterns, whether this bit is 1
//   in_lanes(bits, pattern)          a pattern in each of sixteen lanes whose bit is 1, and zeros elsewhere
//   looked_up(table, indices)        for each of sixteen lanes, one of the eight values of a table

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"

#include "hadamard.h"

enum { MOST_ROTATED = 4096 };

// Magnitudes of the normal distribution in 2 and 8 levels of least mean square error, and the limits between them.
static const float two_levels[8] = {0.4527800346f, 1.5104176085f};
static const float eight_levels[8] = {0.12839502985f, 0.3880482995f,  0.65675911853f, 0.9423404565f,
                                      1.25623119735f, 1.6180463860f, 2.06901722653f, 2.73258957100f};
static const float two_limits[1] = {0.98159882157f};
static const float eight_limits[7] = {0.25822166467f, 0.52240370901f, 0.79954978751f, 1.09928582692f,
                                      1.43713879168f, 1.84353180629f, 2.40080339876f};

// 2 to the power n, -149 <= n <= 127.
INLINE float power_of_two(int n) {
  uint32_t pattern = n >= -126 ? (uint32_t)(n + 127) << 23 : 1u << (n + 149);
  float value;
  __builtin_memcpy(&value, &pattern, 4);
  return value;
}

INLINE int exponent_of(uint32_t magnitude) {
  int e = (int)(magnitude >> 23) - 127;
  return e < -126 ? -126 : e > 126 ? 126 : e;
}

INLINE uint32_t bits_at(const uint32_t *signs, size_t e) { return (signs[e / 32] >> (e % 32)) & 0xffff; }

// Sixteen or fewer values, and zeros.
INLINE floats some_of(const float *values, size_t count) {
  if (count >= 16) return FLOATS(values);
  floats all = {0};
  __builtin_memcpy(&all, values, count * 4);
  return all;
}

INLINE void store_some_of(float *values, floats x, size_t count) {
  if (count >= 16) STORE(values, x);
  else __builtin_memcpy(values, &x, count * 4);
}

// 32 lanes to one value by halves.
INLINE float halved(floats low, floats high) {
  float sums[16];
  floats sum = low + high;
  __builtin_memcpy(sums, &sum, 64);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) sums[i] += sums[i + half];
  return sums[0];
}

INLINE floats magnitudes(floats x) { return (floats)((words)x & 0x7fffffff); }

// The levels of sixteen magnitudes.
INLINE words levels_of(floats magnitude, const float *limits, int limit_count, float unit) {
  words level = {0};
#pragma clang loop unroll(full)
  for (int i = 0; i < limit_count; i++) level -= (words)(magnitude >= (floats){0} + limits[i] * unit);
  return level;
}

// The code of `room` rotated values, a multiple of 32 of which the first `size` count; returns the factor of the levels.
INLINE float quantize(const float *z, size_t size, size_t room, int bits, bool is_unbiased, uint32_t *code) {
  floats low = {0}, high = {0};
  float squares = 0;
  if (bits > 1 || is_unbiased) {
    for (size_t e = 0; e < room; e += 32) {
      floats a = FLOATS(z + e), b = FLOATS(z + e + 16);
      low += a * a;
      high += b * b;
    }
    squares = halved(low, high);
    low = (floats){0};
    high = low;
  }
  if (bits == 1) {
    for (size_t e = 0; e < room; e += 32) {
      floats a = FLOATS(z + e) + 0.0f, b = FLOATS(z + e + 16) + 0.0f;
      uint32_t word = ~(set_lanes((words)a, 31) | set_lanes((words)b, 31) << 16);
      code[e / 32] = size < 32 ? word & ((1u << size) - 1) : word;
      low += magnitudes(a);
      high += magnitudes(b);
    }
    float sum = halved(low, high);
    return is_unbiased ? squares / sum : sum / (float)size;
  }
  const float *limits = bits == 2 ? two_limits : eight_limits, *levels = bits == 2 ? two_levels : eight_levels;
  const int limit_count = bits == 2 ? 1 : 7;
  const float unit = __builtin_sqrtf(squares / (float)size);
  floats low_squares = {0}, high_squares = {0};
  for (size_t e = 0; e < room; e += 32) {
    floats a = FLOATS(z + e) + 0.0f, b = FLOATS(z + e + 16) + 0.0f;
    words i = levels_of(magnitudes(a), limits, limit_count, unit), j = levels_of(magnitudes(b), limits, limit_count, unit);
    uint32_t valid = size < 32 ? (1u << size) - 1 : 0xffffffff;
    code[0] = ~(set_lanes((words)a, 31) | set_lanes((words)b, 31) << 16) & valid;
#pragma clang loop unroll(full)
    for (int plane = 1; plane < (bits == 2 ? 2 : 4); plane++)
      code[plane] = (set_lanes(i, plane - 1) | set_lanes(j, plane - 1) << 16) & valid;
    code += bits;
    floats x = looked_up(levels, i), y = looked_up(levels, j);
    low += x * magnitudes(a);
    high += y * magnitudes(b);
    if (size < 32) {
      // Lanes beyond the end have a level, too.
      float squares[32] = {0}, all[32];
      __builtin_memcpy(all, &x, 64);
      __builtin_memcpy(all + 16, &y, 64);
      for (size_t l = 0; l < size; l++) squares[l] = all[l] * all[l];
      low_squares += FLOATS(squares);
      high_squares += FLOATS(squares + 16);
    } else {
      low_squares += x * x;
      high_squares += y * y;
    }
  }
  float product = halved(low, high);
  return is_unbiased ? squares / product : product / halved(low_squares, high_squares);
}

// Sets or adds sixteen values of a code before they are rotated back.
INLINE floats levels_at(const uint32_t *code, size_t e, int bits, float factor) {
  const uint32_t *word = code + e / 32 * (size_t)bits;
  uint32_t signs = ~(word[0] >> (e % 32)) & 0xffff;
  floats magnitude = (floats){0} + factor;
  if (bits > 1) {
    words level = {0};
#pragma clang loop unroll(full)
    for (int plane = 1; plane < (bits == 2 ? 2 : 4); plane++)
      level |= in_lanes(word[plane] >> (e % 32) & 0xffff, 1u << (plane - 1));
    magnitude = looked_up(bits == 2 ? two_levels : eight_levels, level) * factor;
  }
  return flipped_block(magnitude, signs);
}

// The sum of codes in `z`, rotated back except for signs and a factor, which is returned; 0 if all is zero.
INLINE float decoded_rotation(const void *const *codes, size_t code_count, size_t count, int bits, float *z) {
  int stages = stages_of(count);
  size_t size = (size_t)1 << stages, room = size < 32 ? 32 : size;
  uint32_t largest = 0;
  for (size_t k = 0; k < code_count; k++) {
    uint32_t magnitude = *(const uint32_t *)codes[k] & 0x7fffffff;
    if (magnitude > largest) largest = magnitude;
  }
  if (largest == 0) return 0;
  int e = exponent_of(largest);
  if (largest >= 0x7f800000) return __builtin_nanf("");
  float down = power_of_two(-e);
  for (size_t k = 0; k < code_count; k++) {
    float factor = *(const float *)codes[k] * down;
    const uint32_t *code = (const uint32_t *)codes[k] + 1;
    for (size_t i = 0; i < room; i += 16) {
      floats x = levels_at(code, i, bits, factor);
      STORE(z + i, k == 0 ? x : FLOATS(z + i) + x);
    }
  }
  if (size < 32) __builtin_memset(z + size, 0, (32 - size) * 4);
  rotate(z, stages);
  return power_of_two(e - stages / 2);
}

INLINE floats rotated_back(const float *z, size_t e, float factor, const uint32_t *signs) {
  return flipped_block(FLOATS(z + e) * factor, bits_at(signs, e)) + 0.0f;
}

INLINE void rotated_decode_as(
    const void *const *codes, size_t code_count, size_t count, int bits, const uint32_t *signs, float *values, bool adds) {
  float z[MOST_ROTATED] __attribute__((aligned(64)));
  float factor = decoded_rotation(codes, code_count, count, bits, z);
  if (factor != factor || factor == 0) {
    for (size_t e = 0; e < count; e++) values[e] = adds ? values[e] + factor : factor;
    return;
  }
  for (size_t e = 0; e < count; e += 16) {
    floats y = rotated_back(z, e, factor, signs);
    store_some_of(values + e, adds ? some_of(values + e, count - e) + y : y, count - e);
  }
}

static void rotated_decode(
    const void *const *codes, size_t code_count, size_t count, int bits, const uint32_t *signs, float *values, bool adds) {
#define AS(bits, adds) rotated_decode_as(codes, code_count, count, bits, signs, values, adds)
  if (bits == 1) adds ? AS(1, true) : AS(1, false);
  else if (bits == 2) adds ? AS(2, true) : AS(2, false);
  else adds ? AS(4, true) : AS(4, false);
#undef AS
}

INLINE bool rotated_encode_as(
    const float *gradient, float *residual, size_t count, int bits, bool is_unbiased, float feedback, const uint32_t *signs,
    void *code) {
  float z[MOST_ROTATED] __attribute__((aligned(64)));
  int stages = stages_of(count);
  size_t size = (size_t)1 << stages, room = size < 32 ? 32 : size, code_size = 4 + room / 8 * (size_t)bits;
  words peaks = {0};
  size_t e = 0;
  for (; e < count; e += 16) {
    floats v = some_of(gradient + e, count - e) + feedback * some_of(residual + e, count - e) + 0.0f;
    peaks = __builtin_elementwise_max(peaks, (words)v & 0x7fffffff);
    STORE(z + e, v);
  }
  for (; e < room; e += 16) STORE(z + e, (floats){0});
  uint32_t largest = __builtin_reduce_max(peaks);
  if (largest >= 0x7f800000) return false;
  if (largest == 0) {
    __builtin_memset(code, 0, code_size);
    for (e = 0; e < count; e++) residual[e] = gradient[e] + residual[e] + 0.0f;
    return true;
  }
  int exponent = exponent_of(largest);
  float down = power_of_two(-exponent);
  for (e = 0; e < room; e += 16) STORE(z + e, flipped_block(FLOATS(z + e) * down, bits_at(signs, e)));
  rotate(z, stages);
  float level = quantize(z, size, room, bits, is_unbiased, (uint32_t *)code + 1);
  float scale = level * power_of_two(-((stages + 1) / 2)) * power_of_two(exponent);
  __builtin_memcpy(code, &scale, 4);
  const void *codes[1] = {code};
  float factor = decoded_rotation(codes, 1, count, bits, z);
  if (factor != factor) return false;
  if (largest >= 0x71800000) {
    // From 2^100 on, what is decoded or remains may be too large for fp32.
    for (e = 0; e < count; e++) {
      float y = (signs[e / 32] >> (e % 32)) & 1 ? -(z[e] * factor) : z[e] * factor;
      if (!__builtin_isfinite(y) || !__builtin_isfinite(gradient[e] + residual[e] - y)) return false;
    }
  }
  for (e = 0; e < count; e += 16) {
    floats v = some_of(gradient + e, count - e) + some_of(residual + e, count - e) + 0.0f;
    floats y = factor == 0 ? (floats){0} : rotated_back(z, e, factor, signs);
    store_some_of(residual + e, v - y, count - e);
  }
  return true;
}

static bool rotated_encode(
    const float *gradient, float *residual, size_t count, int bits, bool is_unbiased, float feedback, const uint32_t *signs,
    void *code) {
#define AS(bits) rotated_encode_as(gradient, residual, count, bits, is_unbiased, feedback, signs, code)
  return bits == 1 ? AS(1) : bits == 2 ? AS(2) : AS(4);
#undef AS
}

#pragma clang diagnostic pop
