// Levels of a table, with a sign; included by loops.h. A code is the number of the magnitude, below the bit of the sign.

INLINE lanes book_values(bits16 codes, const ck_book *book, int bits) {
  // Each code is in the high bits of its lane.
  bits16 sign = codes & 0x80000000u, number = (codes & 0x7fffffffu) >> (uint32_t)(32 - bits);
  lanes y = SPLAT(book->levels[0]);
#pragma clang loop unroll(full)
  for (uint32_t i = 1; i < 1u << (bits - 1); i++) y = SELECT(number >= i, SPLAT(book->levels[i]), y);
  return (lanes)((bits16)(y * book->scale) ^ sign) + SPLAT(0.0f);
}

INLINE bits16 book_codes(lanes v, const ck_book *book, int bits) {
  lanes place = magnitude(v) / book->scale;
  bits16 number = {0};
#pragma clang loop unroll(full)
  for (uint32_t i = 1; i < 1u << (bits - 1); i++) number -= (bits16)(place > SPLAT(book->limits[i]));
  return number | ((bits16)v & 0x80000000u) >> (uint32_t)(32 - bits);
}

INLINE void book_block(
    const float *gradient, float *residual, size_t length, const ck_book *book, uint32_t *words, int bits) {
  bits16 codes[4];
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) {
    lanes v = sum_of_two(gradient + 16 * i, residual + 16 * i);
    codes[i] = book_codes(v, book, bits);
    lanes y = book_values(codes[i] << (uint32_t)(32 - bits), book, bits);
    *(loose_lanes *)(residual + 16 * i) = v - y;
  }
  put_codes(codes, length, bits, words);
}

INLINE void book_encode_as(
    const float *gradient, float *residual, size_t count, const ck_book *book, uint32_t *words, int bits) {
#define ENCODE(g, r, e, length, to) book_block(g, r, length, book, to, bits)
  IN_BLOCKS(ENCODE, (size_t)bits)
#undef ENCODE
}

static void book_encode(const float *gradient, float *residual, size_t count, const ck_book *given, void *words) {
  const ck_book book = *given;
  if (book.bits == 2) book_encode_as(gradient, residual, count, &book, words, 2);
  else book_encode_as(gradient, residual, count, &book, words, 4);
}

INLINE void book_block_values(
    const uint32_t *words, size_t length, const ck_book *book, float *values, int mode, int bits) {
  bits16 codes[4];
  get_codes(words, length, bits, codes);
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) deliver(book_values(codes[i], book, bits), values + 16 * i, mode);
}

INLINE void book_decode_as(const uint32_t *words, size_t count, const ck_book *book, float *values, int mode, int bits) {
#define DECODE(from, e, length, to, as) book_block_values(from, length, book, to, as, bits)
  OUT_OF_BLOCKS(DECODE, (size_t)bits)
#undef DECODE
}

static void book_decode(const void *words, size_t count, const ck_book *given, float *values, int mode) {
  const ck_book book = *given;
  mode = mode_for(values, mode);
  if (book.bits == 2) book_decode_as(words, count, &book, values, mode, 2);
  else book_decode_as(words, count, &book, values, mode, 4);
}
