// Floats of sixteen bits; included by loops.h.

// Each code is in the high bits of its lane.
INLINE lanes short_values(bits16 codes, const ck_short_floats *form, bool is_half) {
  if (!is_half) return (lanes)codes + SPLAT(0.0f);
  // The exponent and the fraction at the places of a float, and 112 too little in the exponent.
  lanes y = ((lanes)((codes & 0x7fff0000u) >> 3) * 0x1p112f) * form->scale;
  return (lanes)((bits16)y ^ (codes & 0x80000000u)) + SPLAT(0.0f);
}

// The codes of sixteen values, in the low bits of their lanes; those of half floats are finite in `form`.
INLINE bits16 short_codes(lanes v, bits16 random, const ck_short_floats *form, bool is_half, uint32_t rounding) {
  if (!is_half) {
    bits16 pattern = (bits16)v;
    bits16 carry = rounding == CK_STOCHASTIC ? random & 0xffffu : 0x7fffu + ((pattern >> 16) & 1);
    bits16 code = (pattern + carry) >> 16, size = code & 0x7fffu;
    // Rounded no further than to the largest finite number.
    bits16 above = (bits16)(size > 0x7f7fu);
    return (code & 0x8000u) | (size & ~above) | (above & 0x7f7fu);
  }
  lanes x = v * form->scale;
  bits16 pattern = (bits16)magnitude(x), sign = ((bits16)x & 0x80000000u) >> 16;
  // Below 2^-14 a sum with 1/2 leaves multiples of 2^-24.
  bits16 small = (bits16)((lanes)pattern + SPLAT(0.5f)) - 0x3f000000u;
  bits16 normal = (pattern + (0xfffu + ((pattern >> 13) & 1)) - 0x38000000u) >> 13;
  bits16 is_small = (bits16)(pattern < 0x38800000u), code = (small & is_small) | (normal & ~is_small);
  bits16 above = (bits16)(code > form->most);
  return sign | (code & ~above) | (above & form->most);
}

INLINE void short_block(
    const float *gradient, float *residual, size_t e, size_t length, const ck_short_floats *form, const ck_short_floats *back,
    uint32_t *words, bool is_half, uint32_t rounding) {
  bits16 random[4] = {{0}}, codes[4];
  if (rounding == CK_STOCHASTIC) random_words(&form->random, (uint32_t)(e / 4), random);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    lanes v = sum_of_two(gradient + 16 * i, residual + 16 * i);
    codes[i] = short_codes(v, random[i], form, is_half, rounding);
    lanes y = short_values(codes[i] << 16, back, is_half);
    *(loose_lanes *)(residual + 16 * i) = form->keeps ? v - y : SPLAT(0.0f);
  }
  put_codes(codes, length, 16, words);
}

INLINE void short_encode_as(
    const float *gradient, float *residual, size_t count, const ck_short_floats *form, uint32_t *words, bool is_half,
    uint32_t rounding) {
  ck_short_floats back = *form;
  back.scale = 1 / form->scale;
#define ENCODE(g, r, e, length, to) short_block(g, r, e, length, form, &back, to, is_half, rounding)
  IN_BLOCKS(ENCODE, 16)
#undef ENCODE
}

static void short_encode(const float *gradient, float *residual, size_t count, const ck_short_floats *given, void *words) {
  const ck_short_floats form = *given;
  if (form.is_half) short_encode_as(gradient, residual, count, &form, words, true, CK_NEAREST);
  else if (form.rounding == CK_STOCHASTIC) short_encode_as(gradient, residual, count, &form, words, false, CK_STOCHASTIC);
  else short_encode_as(gradient, residual, count, &form, words, false, CK_NEAREST);
}

INLINE void short_block_values(
    const uint32_t *words, size_t length, const ck_short_floats *form, float *values, int mode, bool is_half) {
  bits16 codes[4];
  get_codes(words, length, 16, codes);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) deliver(short_values(codes[i] & 0xffff0000u, form, is_half), values + 16 * i, mode);
}

INLINE void short_decode_as(
    const uint32_t *words, size_t count, const ck_short_floats *form, float *values, int mode, bool is_half) {
#define DECODE(from, e, length, to, as) short_block_values(from, length, form, to, as, is_half)
  OUT_OF_BLOCKS(DECODE, 16)
#undef DECODE
}

// `scale` is what a half float is multiplied by here.
static void short_decode(const void *words, size_t count, const ck_short_floats *given, float *values, int mode) {
  const ck_short_floats form = *given;
  mode = mode_for(values, mode);
  if (form.is_half) short_decode_as(words, count, &form, values, mode, true);
  else if (mode == CK_SET) short_decode_as(words, count, &form, values, CK_SET, false);
  else if (mode == CK_STREAM) short_decode_as(words, count, &form, values, CK_STREAM, false);
  else short_decode_as(words, count, &form, values, CK_ADD, false);
}
