// What rotation.h needs of a block of sixteen floats, in two registers of AVX2. Included by avx2.c alone.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpsabi"
#define INLINE static inline __attribute__((always_inline))

INLINE words in_lanes(uint32_t bits, uint32_t pattern) {
  const words lanes = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return (words)((lanes & bits) != 0) & pattern;
}

INLINE floats plus_or_minus(floats a, floats b, int h) {
  const words lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  words signs = (words)((lanes & (uint32_t)h) != 0) & 0x80000000u;
  return a + (floats)((words)b ^ signs);
}

INLINE floats flipped_block(floats x, uint32_t bits) { return (floats)((words)x ^ in_lanes(bits, 0x80000000)); }

// Both halves of sixteen patterns.
typedef struct {
  __m256i low, high;
} halves;

INLINE halves halves_of(words x) {
  halves both;
  memcpy(&both, &x, 64);
  return both;
}

INLINE uint32_t set_lanes(words patterns, int bit) {
  halves moved = halves_of(patterns << (31 - bit));
  return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(moved.low)) |
         (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(moved.high)) << 8;
}

INLINE floats looked_up(const float *table, words indices) {
  halves index = halves_of(indices);
  __m256 all = _mm256_loadu_ps(table), both[2];
  both[0] = _mm256_permutevar8x32_ps(all, index.low);
  both[1] = _mm256_permutevar8x32_ps(all, index.high);
  floats found;
  memcpy(&found, both, 64);
  return found;
}

#include "rotation.h"
#pragma clang diagnostic pop
