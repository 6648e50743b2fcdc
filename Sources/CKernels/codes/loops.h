// The loops of CodeLoops.h for one instruction set, under the name CODE_LOOPS.
//
// Nothing here is fused, and the decoder's functions give the values of the encoder, so that both sides have the same bits.
#include "../include/CodeLoops.h"

#include "lanes.h"
#include "statistics.h"

// Fetches 64 values of the group after this one while this one is in the cache.
INLINE void fetch_next(const float *gradient, const float *residual) {
#pragma clang loop unroll(full)
  for (int i = 0; i < 64; i += 16) {
    __builtin_prefetch(gradient + i);
    __builtin_prefetch(residual + i);
  }
}

// Runs ENCODE(gradient, residual, first value, length, place of the words) over blocks of 64 values, the last one in copies.
#define IN_BLOCKS(ENCODE, bits)                                        \
  size_t e = 0;                                                        \
  for (; e + 64 <= count; e += 64) {                                   \
    ENCODE(gradient + e, residual + e, e, 64, words + e / 32 * (bits)); \
    fetch_next(gradient + e + count, residual + e + count);            \
  }                                                                    \
  if (e < count) {                                                     \
    float last[2][64] = {{0}};                                         \
    __builtin_memcpy(last[0], gradient + e, (count - e) * 4);          \
    __builtin_memcpy(last[1], residual + e, (count - e) * 4);          \
    ENCODE(last[0], last[1], e, count - e, words + e / 32 * (bits));   \
    __builtin_memcpy(residual + e, last[1], (count - e) * 4);          \
  }

#define OUT_OF_BLOCKS(DECODE, bits)                                                       \
  size_t e = 0;                                                                           \
  for (; e + 64 <= count; e += 64) DECODE(words + e / 32 * (bits), e, 64, values + e, mode); \
  if (e < count) {                                                                        \
    float last[64];                                                                       \
    DECODE(words + e / 32 * (bits), e, count - e, last, CK_SET);                          \
    for (size_t i = 0; e + i < count; i++) values[e + i] = mode == CK_ADD ? values[e + i] + last[i] : last[i]; \
  }

// The codes of up to 64 values, each in the low bits of its lane.
INLINE void put_codes(const bits16 codes[4], size_t length, int bits, uint32_t *words) {
  if (length == 64) {
    pack(codes[0], codes[1], bits, words);
    pack(codes[2], codes[3], bits, words + bits);
    return;
  }
  uint32_t all[64];
  __builtin_memcpy(all, codes, 256);
  for (size_t e = 0; e < length; e += 32)
    pack_partially(all + e, length - e < 32 ? length - e : 32, bits, words + e / 32 * (size_t)bits);
}

// The same, each in the high bits of its lane.
INLINE void get_codes(const uint32_t *words, size_t length, int bits, bits16 codes[4]) {
  if (length == 64) {
    unpack(words, bits, &codes[0], &codes[1]);
    unpack(words + bits, bits, &codes[2], &codes[3]);
    return;
  }
  uint32_t all[64] = {0};
  for (size_t e = 0; e < length; e += 32)
    unpack_partially(words + e / 32 * (size_t)bits, length - e < 32 ? length - e : 32, bits, all + e);
  __builtin_memcpy(codes, all, 256);
}

#include "signs.h"
#include "grid.h"
#include "powers.h"
#include "short-floats.h"
#include "book.h"

const ck_code_loops CODE_LOOPS = {
    .magnitude_sum = magnitude_sum,
    .square_sum = square_sum,
    .largest = largest,
    .range = range,
    .sign_encode = sign_encode,
    .sign_decode = sign_decode,
    .grid_encode = grid_encode,
    .grid_decode = grid_decode,
    .power_encode = power_encode,
    .power_decode = power_decode,
    .short_encode = short_encode,
    .short_decode = short_decode,
    .book_encode = book_encode,
    .book_decode = book_decode,
};
