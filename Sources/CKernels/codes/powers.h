// Powers of two with a sign; included by loops.h. A code is 0, or 1 + steps - k for scale * 2^-k, below the bit of the sign.

INLINE lanes power_values(bits16 codes, const ck_powers *powers, int bits) {
  // Each code is in the high bits of its lane.
  bits16 sign = codes & 0x80000000u, number = (codes & 0x7fffffffu) >> (uint32_t)(32 - bits);
  lanes power = (lanes)((number + (126 - powers->steps)) << 23);
  power = (lanes)((bits16)power & (bits16)(number != 0));
  return (lanes)((bits16)(power * powers->scale) ^ sign) + SPLAT(0.0f);
}

INLINE bits16 power_codes(lanes v, bits16 words, const ck_powers *powers, uint32_t rounding, int bits) {
  const lanes one = SPLAT(1.0f);
  lanes place = magnitude(v) / powers->scale;
  // Also where nothing has a place on a scale of no length.
  place = SELECT(place <= one, place, one);
  bits16 pattern = (bits16)place, least = (bits16){0} + ((127 - powers->steps) << 23);
  // A carry into the exponent rounds up.
  bits16 carry = rounding == CK_STOCHASTIC ? 0x7fffffu - (words >> 9) : (bits16){0} + 0x400000u;
  bits16 number = ((pattern + carry) >> 23) - (126 - powers->steps);
  // Between 0 and the least power, both rounded exactly.
  lanes share = place * (lanes)((bits16){0} + ((127 + powers->steps) << 23));
  bits16 up = rounding == CK_STOCHASTIC ? (bits16)(uniform(words) < share) : (bits16)(share >= SPLAT(0.5f));
  bits16 is_small = (bits16)(pattern < least);
  number = (number & ~is_small) | (is_small & up & 1);
  return number | ((bits16)v & 0x80000000u) >> (uint32_t)(32 - bits);
}

INLINE void power_block(
    const float *gradient, float *residual, size_t e, size_t length, const ck_powers *powers, uint32_t *words, int bits,
    uint32_t rounding) {
  bits16 random[4] = {{0}}, codes[4];
  if (rounding == CK_STOCHASTIC) random_words(&powers->random, (uint32_t)(e / 4), random);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    lanes v = sum_of_two(gradient + 16 * i, residual + 16 * i);
    codes[i] = power_codes(v, random[i], powers, rounding, bits);
    lanes y = power_values(codes[i] << (uint32_t)(32 - bits), powers, bits);
    *(loose_lanes *)(residual + 16 * i) = powers->keeps ? v - y : SPLAT(0.0f);
  }
  put_codes(codes, length, bits, words);
}

INLINE void power_encode_as(
    const float *gradient, float *residual, size_t count, const ck_powers *powers, uint32_t *words, int bits,
    uint32_t rounding) {
#define ENCODE(g, r, e, length, to) power_block(g, r, e, length, powers, to, bits, rounding)
  IN_BLOCKS(ENCODE, (size_t)bits)
#undef ENCODE
}

static void power_encode(const float *gradient, float *residual, size_t count, const ck_powers *given, void *words) {
  const ck_powers powers = *given;
  if (powers.bits == 4) {
    if (powers.rounding == CK_STOCHASTIC) power_encode_as(gradient, residual, count, &powers, words, 4, CK_STOCHASTIC);
    else power_encode_as(gradient, residual, count, &powers, words, 4, CK_NEAREST);
  } else {
    if (powers.rounding == CK_STOCHASTIC) power_encode_as(gradient, residual, count, &powers, words, 8, CK_STOCHASTIC);
    else power_encode_as(gradient, residual, count, &powers, words, 8, CK_NEAREST);
  }
}

INLINE void power_block_values(
    const uint32_t *words, size_t length, const ck_powers *powers, float *values, int mode, int bits) {
  bits16 codes[4];
  get_codes(words, length, bits, codes);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) deliver(power_values(codes[i], powers, bits), values + 16 * i, mode);
}

INLINE void power_decode_as(
    const uint32_t *words, size_t count, const ck_powers *powers, float *values, int mode, int bits) {
#define DECODE(from, e, length, to, as) power_block_values(from, length, powers, to, as, bits)
  OUT_OF_BLOCKS(DECODE, (size_t)bits)
#undef DECODE
}

INLINE void power_decode_with(
    const uint32_t *words, size_t count, const ck_powers *powers, float *values, int mode, int bits) {
  if (mode == CK_SET) power_decode_as(words, count, powers, values, CK_SET, bits);
  else if (mode == CK_STREAM) power_decode_as(words, count, powers, values, CK_STREAM, bits);
  else power_decode_as(words, count, powers, values, CK_ADD, bits);
}

static void power_decode(const void *words, size_t count, const ck_powers *given, float *values, int mode) {
  const ck_powers powers = *given;
  mode = mode_for(values, mode);
  if (powers.bits == 4) power_decode_with(words, count, &powers, values, mode, 4);
  else power_decode_with(words, count, &powers, values, mode, 8);
}
