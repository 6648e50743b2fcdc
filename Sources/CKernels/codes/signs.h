// Signs with one scale; included by loops.h.

INLINE lanes sign_values(uint32_t word, float scale) {
  const bits16 places = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  bits16 negative = (bits16)((((bits16){0} + word) & places) == 0);
  // The sum takes the sign of a zero.
  return (lanes)((bits16)SPLAT(scale) ^ (negative & 0x80000000u)) + SPLAT(0.0f);
}

// Bit e is 1 if value e of sixteen is at least 0.
INLINE uint32_t sign_bits(lanes v) {
#if defined(HAS_AVX512)
  return 0xffffu & ~(uint32_t)_mm512_movepi32_mask((__m512i)v);
#elif defined(HAS_AVX2)
  __m256 halves[2];
  __builtin_memcpy(halves, &v, 64);
  return 0xffffu & ~((uint32_t)_mm256_movemask_ps(halves[0]) | (uint32_t)_mm256_movemask_ps(halves[1]) << 8);
#else
  const bits16 places = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return __builtin_reduce_or(places & (bits16)((ints16)v >= 0));
#endif
}

INLINE void sign_block(const float *gradient, float *residual, size_t length, float scale, bool keeps, uint32_t *words) {
  for (size_t e = 0; e < length; e += 32) {
    lanes v0 = sum_of_two(gradient + e, residual + e), v1 = sum_of_two(gradient + e + 16, residual + e + 16);
    uint32_t word = sign_bits(v0) | sign_bits(v1) << 16;
    if (length - e < 32) word &= (1u << (length - e)) - 1;
    words[e / 32] = word;
    lanes zero = SPLAT(0.0f);
    *(loose_lanes *)(residual + e) = keeps ? v0 - sign_values(word & 0xffff, scale) : zero;
    *(loose_lanes *)(residual + e + 16) = keeps ? v1 - sign_values(word >> 16, scale) : zero;
  }
}

static void sign_encode(const float *gradient, float *residual, size_t count, float scale, bool keeps, void *code) {
  uint32_t *words = code;
#define ENCODE(g, r, e, length, to) sign_block(g, r, length, scale, keeps, to)
  IN_BLOCKS(ENCODE, 1)
#undef ENCODE
}

INLINE void sign_block_values(const uint32_t *words, size_t length, float scale, float *values, int mode) {
  for (size_t e = 0; e < length; e += 32) {
    deliver(sign_values(words[e / 32] & 0xffff, scale), values + e, mode);
    deliver(sign_values(words[e / 32] >> 16, scale), values + e + 16, mode);
  }
}

INLINE void sign_decode_as(const uint32_t *words, size_t count, float scale, float *values, int mode) {
#define DECODE(from, e, length, to, as) sign_block_values(from, length, scale, to, as)
  OUT_OF_BLOCKS(DECODE, 1)
#undef DECODE
}

static void sign_decode(const void *code, size_t count, float scale, float *values, int mode) {
  mode = mode_for(values, mode);
  if (mode == CK_SET) sign_decode_as(code, count, scale, values, CK_SET);
  else if (mode == CK_STREAM) sign_decode_as(code, count, scale, values, CK_STREAM);
  else sign_decode_as(code, count, scale, values, CK_ADD);
}
