// The order of magnitudes, as patterns of bits without the sign: what is added before a choice, and where it parts.
//
// Loops in the compiler's vectors of 64 bytes (elementwise.h): whole numbers and single roundings, the same for every instruction set.

typedef int32_t signed_words __attribute__((vector_size(64), aligned(4), may_alias));

// values = (gradient + factor * residual) + 0
static void add_residual(const float *gradient, const float *residual, float factor, size_t count, float *values) {
  floats zero = {0};
  size_t e = 0;
  for (; e + 16 <= count; e += 16) STORE(values + e, (FLOATS(gradient + e) + factor * FLOATS(residual + e)) + zero);
  for (; e < count; e++) values[e] = (gradient[e] + factor * residual[e]) + 0.0f;
}

static inline size_t count_at_least(const float *values, size_t count, int32_t key) {
  signed_words found = {0};
  size_t e = 0;
  for (; e + 16 <= count; e += 16) found -= (*(const signed_words *)(values + e) & 0x7fffffff) >= key;
  size_t total = 0;
  for (int lane = 0; lane < 16; lane++) total += (size_t)found[lane];
  for (; e < count; e++) {
    int32_t pattern;
    __builtin_memcpy(&pattern, values + e, 4);
    total += (pattern & 0x7fffffff) >= key;
  }
  return total;
}

// The pattern is found bit by bit, from the highest on.
static uint32_t magnitude_limit(const float *values, size_t count, size_t least, size_t most, size_t *reaching) {
  int32_t key = 0;
  *reaching = count;
  for (int32_t bit = 1 << 30; bit != 0 && *reaching > most; bit >>= 1) {
    size_t found = count_at_least(values, count, key | bit);
    if (found < least) continue;
    key |= bit;
    *reaching = found;
  }
  return (uint32_t)key;
}
