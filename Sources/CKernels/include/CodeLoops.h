// Loops over groups for codes of a few bits per value (layouts: Sources/Codecs/Scalar, Sources/Codecs/Signs).
//
// One text, compiled for each instruction set and for none in particular: every table gives the same bits.
#ifndef CODELOOPS_H
#define CODELOOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// The address of the random numbers of a group: the counter of its first quad, and the key.
typedef struct {
  uint32_t counter[4], key[2];
} ck_random;

// How a value becomes an integer.
enum { CK_NEAREST = 0, CK_STOCHASTIC = 1, CK_DOWN = 2, CK_DITHERED = 3 };
// What a decoder does with a value.
enum { CK_SET = 0, CK_STREAM = 1, CK_ADD = 2 };

// Integers on a uniform grid, of 2, 4, 8 or 16 bits.
typedef struct {
  uint32_t bits, rounding;
  // Whether the grid begins at `low`; otherwise it is symmetric.
  bool has_offset;
  // Whether the remainder stays in the residual; otherwise zeros do.
  bool keeps;
  // The largest integer, and one over it.
  float levels, inverse;
  // The least value and the distance to the largest one, or 0 and the largest magnitude.
  float low, scale;
  ck_random random;
} ck_grid;

// Powers of two, of 4 or 8 bits with the sign: scale * 2^-k for k of 0 to `steps`, and 0.
typedef struct {
  uint32_t bits, rounding, steps;
  bool keeps;
  float scale;
  ck_random random;
} ck_powers;

// Sixteen bits a value: the upper half of a float, or a half float.
typedef struct {
  uint32_t rounding;
  bool is_half, keeps;
  // What half floats are multiplied by before they are rounded, or after; and the largest pattern that is sent of them.
  float scale;
  uint32_t most;
  ck_random random;
} ck_short_floats;

// Levels of a table, of 2 or 4 bits with the sign: `scale` times a level, the one whose limits hold the magnitude over `scale`.
typedef struct {
  uint32_t bits;
  float scale, levels[8], limits[8];
} ck_book;

typedef struct {
  // Of gradient + residual, over 32 lanes in fp64: the sums of magnitudes and of squares.
  double (*magnitude_sum)(const float *gradient, const float *residual, size_t count);
  double (*square_sum)(const float *gradient, const float *residual, size_t count);
  // The bit pattern of the largest magnitude, 0x7f800000 or above if a value is not finite.
  uint32_t (*largest)(const float *gradient, const float *residual, size_t count);
  // The least and the largest value, finite or not.
  void (*range)(const float *gradient, const float *residual, size_t count, float *bounds);

  // Signs: bit e % 32 of word e / 32 is 1 if the value is at least 0; it stands for `scale`, otherwise for -scale.
  void (*sign_encode)(const float *gradient, float *residual, size_t count, float scale, bool keeps, void *words);
  void (*sign_decode)(const void *words, size_t count, float scale, float *values, int mode);

  void (*grid_encode)(const float *gradient, float *residual, size_t count, const ck_grid *grid, void *words);
  void (*grid_decode)(const void *words, size_t count, const ck_grid *grid, float *values, int mode);

  void (*power_encode)(const float *gradient, float *residual, size_t count, const ck_powers *powers, void *words);
  void (*power_decode)(const void *words, size_t count, const ck_powers *powers, float *values, int mode);

  void (*short_encode)(const float *gradient, float *residual, size_t count, const ck_short_floats *form, void *words);
  void (*short_decode)(const void *words, size_t count, const ck_short_floats *form, float *values, int mode);

  void (*book_encode)(const float *gradient, float *residual, size_t count, const ck_book *book, void *words);
  void (*book_decode)(const void *words, size_t count, const ck_book *book, float *values, int mode);
} ck_code_loops;

extern const ck_code_loops *ck_selected_codes;

// The functions in use.
static inline const ck_code_loops *ck_codes(void) { return __atomic_load_n(&ck_selected_codes, __ATOMIC_RELAXED); }

#pragma clang assume_nonnull end

#endif
