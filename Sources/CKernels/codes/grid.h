// Integers on a uniform grid; included by loops.h.

// What sixteen integers stand for.
INLINE lanes grid_values(ints16 codes, lanes dither, const ck_grid *grid, bool has_offset, bool is_dithered) {
  lanes number = __builtin_convertvector(codes, lanes);
  if (is_dithered) number = number - dither;
  lanes y = (number * grid->inverse) * grid->scale;
  return has_offset ? grid->low + y : y + SPLAT(0.0f);
}

// The integers of sixteen values.
INLINE ints16 grid_codes(lanes v, lanes random, const ck_grid *grid, bool has_offset, uint32_t rounding) {
  const lanes levels = SPLAT(grid->levels), zero = SPLAT(0.0f), shift = SPLAT(0x1p23f);
  if (rounding == CK_DITHERED) {
    lanes place = (v / grid->scale) * levels + random;
    // Nothing has a place on a grid of no width.
    place = SELECT(place >= -levels - 1, place, -levels - 1);
    place = SELECT(place <= levels, place, levels);
    lanes size = magnitude(place);
    ints16 number = __builtin_convertvector((size + shift) - shift, ints16), sign = (ints16)place >> 31;
    return (number ^ sign) - sign;
  }
  lanes place = (has_offset ? (v - grid->low) / grid->scale : magnitude(v) / grid->scale) * levels;
  // Also where nothing has a place on a grid of no width.
  place = SELECT(place >= zero, place, zero);
  place = SELECT(place <= levels, place, levels);
  ints16 number;
  if (rounding == CK_NEAREST) {
    number = __builtin_convertvector((place + shift) - shift, ints16);
  } else {
    number = __builtin_convertvector(place, ints16);
    if (rounding == CK_STOCHASTIC) number -= (ints16)(random < place - __builtin_convertvector(number, lanes));
  }
  if (has_offset) return number;
  ints16 sign = (ints16)v >> 31;
  return (number ^ sign) - sign;
}

// The random numbers of 64 values, uniform in [0, 1), or in [-1/2, 1/2) if they are dither.
INLINE void grid_random(const ck_grid *grid, size_t e, uint32_t rounding, lanes random[4]) {
  if (rounding != CK_STOCHASTIC && rounding != CK_DITHERED) return;
  bits16 words[4];
  random_words(&grid->random, (uint32_t)(e / 4), words);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) random[i] = uniform(words[i]) - (rounding == CK_DITHERED ? 0.5f : 0.0f);
}

INLINE void grid_block(
    const float *gradient, float *residual, size_t e, size_t length, const ck_grid *grid, uint32_t *words, int bits,
    bool has_offset, uint32_t rounding) {
  lanes random[4] = {{0}};
  bits16 codes[4];
  grid_random(grid, e, rounding, random);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    lanes v = sum_of_two(gradient + 16 * i, residual + 16 * i);
    ints16 code = grid_codes(v, random[i], grid, has_offset, rounding);
    lanes y = grid_values(code, random[i], grid, has_offset, rounding == CK_DITHERED);
    codes[i] = (bits16)code;
    *(loose_lanes *)(residual + 16 * i) = grid->keeps ? v - y : SPLAT(0.0f);
  }
  put_codes(codes, length, bits, words);
}

INLINE void grid_encode_as(
    const float *gradient, float *residual, size_t count, const ck_grid *grid, uint32_t *words, int bits, bool has_offset,
    uint32_t rounding) {
#define ENCODE(g, r, e, length, to) grid_block(g, r, e, length, grid, to, bits, has_offset, rounding)
  IN_BLOCKS(ENCODE, (size_t)bits)
#undef ENCODE
}

INLINE void grid_encode_with(
    const float *gradient, float *residual, size_t count, const ck_grid *grid, uint32_t *words, int bits) {
  uint32_t rounding = grid->rounding;
  if (grid->has_offset) {
    if (rounding == CK_STOCHASTIC) grid_encode_as(gradient, residual, count, grid, words, bits, true, CK_STOCHASTIC);
    else grid_encode_as(gradient, residual, count, grid, words, bits, true, CK_NEAREST);
  } else if (rounding == CK_STOCHASTIC) grid_encode_as(gradient, residual, count, grid, words, bits, false, CK_STOCHASTIC);
  else if (rounding == CK_DITHERED) grid_encode_as(gradient, residual, count, grid, words, bits, false, CK_DITHERED);
  else if (rounding == CK_DOWN) grid_encode_as(gradient, residual, count, grid, words, bits, false, CK_DOWN);
  else grid_encode_as(gradient, residual, count, grid, words, bits, false, CK_NEAREST);
}

static void grid_encode(const float *gradient, float *residual, size_t count, const ck_grid *given, void *words) {
  const ck_grid grid = *given;
  if (grid.bits == 2) grid_encode_with(gradient, residual, count, &grid, words, 2);
  else if (grid.bits == 4) grid_encode_with(gradient, residual, count, &grid, words, 4);
  else if (grid.bits == 8) grid_encode_with(gradient, residual, count, &grid, words, 8);
  else grid_encode_with(gradient, residual, count, &grid, words, 16);
}

INLINE void grid_block_values(
    const uint32_t *words, size_t e, size_t length, const ck_grid *grid, float *values, int mode, int bits, bool has_offset,
    bool is_dithered) {
  lanes dither[4] = {{0}};
  bits16 codes[4];
  if (is_dithered) grid_random(grid, e, CK_DITHERED, dither);
  get_codes(words, length, bits, codes);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    ints16 code = has_offset ? (ints16)(codes[i] >> (uint32_t)(32 - bits)) : (ints16)codes[i] >> (32 - bits);
    deliver(grid_values(code, dither[i], grid, has_offset, is_dithered), values + 16 * i, mode);
  }
}

INLINE void grid_decode_as(
    const uint32_t *words, size_t count, const ck_grid *grid, float *values, int mode, int bits, bool has_offset,
    bool is_dithered) {
#define DECODE(from, e, length, to, as) grid_block_values(from, e, length, grid, to, as, bits, has_offset, is_dithered)
  OUT_OF_BLOCKS(DECODE, (size_t)bits)
#undef DECODE
}

INLINE void grid_decode_with(const uint32_t *words, size_t count, const ck_grid *grid, float *values, int mode, int bits) {
  if (grid->has_offset) grid_decode_as(words, count, grid, values, mode, bits, true, false);
  else if (grid->rounding == CK_DITHERED) grid_decode_as(words, count, grid, values, mode, bits, false, true);
  else if (mode == CK_SET) grid_decode_as(words, count, grid, values, CK_SET, bits, false, false);
  else if (mode == CK_STREAM) grid_decode_as(words, count, grid, values, CK_STREAM, bits, false, false);
  else grid_decode_as(words, count, grid, values, CK_ADD, bits, false, false);
}

static void grid_decode(const void *words, size_t count, const ck_grid *given, float *values, int mode) {
  const ck_grid grid = *given;
  mode = mode_for(values, mode);
  if (grid.bits == 2) grid_decode_with(words, count, &grid, values, mode, 2);
  else if (grid.bits == 4) grid_decode_with(words, count, &grid, values, mode, 4);
  else if (grid.bits == 8) grid_decode_with(words, count, &grid, values, mode, 8);
  else grid_decode_with(words, count, &grid, values, mode, 16);
}
