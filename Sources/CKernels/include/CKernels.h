// The vector loops of Morse whose instructions Swift cannot select at run time.
//
// There is one table of functions for each instruction set. Every function gives the same bits in every table, and the same
// as its portable reference in Swift (Sources/Kernels/Portable), which is used where there is no table.
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "CodeLoops.h"

#pragma clang assume_nonnull begin

// The parameters of one step of Adam (see Sources/Kernels/AdamUpdates.swift).
typedef struct {
  float gradient_scale, gradient_decay, largest_gradient;
  float mean_kept, mean_gain, square_kept, square_gain;
  float root_scale, epsilon, rate, shrinkage;
} ck_adam_step;

// The parameters of one step of Lion (see Sources/Kernels/LionUpdates.swift).
typedef struct {
  float gradient_scale, sign_kept, sign_gain, mean_kept, mean_gain, rate, shrinkage;
} ck_lion_step;

// The compensation of a delay (see Sources/Kernels/DelayCorrection.swift).
typedef struct {
  float lambda, kept, gain, epsilon, clamp;
} ck_delay_correction;

typedef struct {
  // One-bit codes of a group (layout: Sources/Codecs/OneBit.swift).
  bool (*one_bit_encode)(const float *gradient, float *residual, size_t count, void *code);
  void (*one_bit_decode)(const void *code, size_t count, float *values, bool streaming);
  void (*one_bit_decode_adding)(const void *code, size_t count, float *values);
  void (*one_bit_decode_sum)(const void *_Nonnull const *_Nonnull codes, size_t code_count, size_t count, float *values);

  // Codes of rotated values (layout: Sources/Codecs/Rotated.swift), of 1, 2 or 4 bits; `signs` has a bit for each value.
  bool (*rotated_encode)(
      const float *gradient, float *residual, size_t count, int bits, bool is_unbiased, float feedback,
      const uint32_t *signs, void *code);
  // The sum of codes, set or added.
  void (*rotated_decode)(
      const void *_Nonnull const *_Nonnull codes, size_t code_count, size_t count, int bits, const uint32_t *signs,
      float *values, bool adds);
  // The Hadamard transform of 2^stages values without its factor, in place; at least 16 values.
  void (*hadamard)(float *values, int stages);

  // values = terms[0] + terms[1] + ... in this order.
  void (*sum)(const float *_Nonnull const *_Nonnull terms, size_t term_count, size_t count, float *values, bool streaming);
  // values = source, with stores that bypass the cache.
  void (*copy_streaming)(const float *source, size_t count, float *values);
  // values = values + other.
  void (*add)(const float *other, size_t count, float *values);
  // values = minuends - subtrahends.
  void (*subtract)(const float *minuends, const float *subtrahends, size_t count, float *values);
  // The sum of a[i] b[i] over 32 lanes.
  float (*inner_product)(const float *a, const float *b, size_t count);
  // values = values + factor * other.
  void (*add_scaled)(float factor, const float *other, size_t count, float *values);
  // One step of gradient descent; momenta may be null (see Sources/Kernels/Updates.swift).
  void (*descend)(
      float *weights, const float *gradient, float *_Nullable momenta, size_t count, float rate, float momentum, float gain,
      float decay, bool nesterov);
  // One step of Adam.
  void (*adam)(
      float *weights, const float *gradient, float *means, float *squares, size_t count, const ck_adam_step *step);
  // One step of Lion.
  void (*lion)(float *weights, const float *gradient, float *means, size_t count, const ck_lion_step *step);
  // Corrects a gradient for the change of the weights since; squares may be null.
  void (*correct_delay)(
      float *gradient, const float *now, const float *before, float *_Nullable squares, size_t count,
      const ck_delay_correction *correction);

  // The bit pattern of the largest magnitude; that of a NaN or an infinity is 0x7f800000 or above.
  uint32_t (*largest_magnitude)(const float *values, size_t count);
  // In fp64, over 32 lanes.
  double (*sum_of_squares)(const float *values, size_t count);

  // The signs of blocks: for each of `count` pairs in `keys`, of a seed and a mask, `words` numbers of splitmix64 from the seed, each
  // exclusive-or the mask.
  void (*sketch_signs)(const uint64_t *keys, size_t count, size_t words, uint64_t *signs);
  // Adds whole blocks of `length` values, a multiple of 128, to a table of a Count Sketch. `starts` has the first cell of
  // each block in each row, `signs` a bit for each value there (Sources/Codecs/Sketches/SketchHashes.swift), both block by block.
  void (*sketch_insert)(
      float *table, size_t rows, size_t columns, size_t length, const uint32_t *starts, const uint64_t *signs,
      size_t blocks, const float *values);
  // The medians of whole blocks; at most 21 rows.
  void (*sketch_query)(
      const float *table, size_t rows, size_t columns, size_t length, const uint32_t *starts, const uint64_t *signs,
      size_t blocks, float *estimates);
  // Copies the values whose magnitude, as a pattern of bits, is `key` (at least 1) or more, and their indices, in order; returns
  // how many. There is room for `count` of each and 16 beyond.
  size_t (*select_at_least)(
      const float *values, size_t count, uint32_t key, uint32_t first_index, uint32_t *indices, float *selected);
  // values = (gradient + factor * residual) + 0.
  void (*add_residual)(const float *gradient, const float *residual, float factor, size_t count, float *values);
  // A pattern of bits without the sign that `least` to `most` values reach in magnitude, or the largest that at least `least` do;
  // `reaching` becomes their number. `least` is at most `count`.
  uint32_t (*magnitude_limit)(const float *values, size_t count, size_t least, size_t most, size_t *reaching);

  // The sum over 16 lanes of e^(value - maximum); the terms go to `terms`, which may be the values, or null.
  float (*exponential_sum)(const float *values, size_t count, float maximum, float *_Nullable terms);
  // outputs = the activation GELU of the inputs, which may be the same memory.
  void (*gelu)(const float *inputs, size_t count, float *outputs);
  // deltas = incoming times the derivative of GELU at the inputs; may be the memory of either.
  void (*gelu_backward)(const float *inputs, const float *incoming, size_t count, float *deltas);
} ck_kernels;

enum { CK_PORTABLE = 0, CK_AVX2 = 1, CK_AVX512 = 2 };

// The best path of this processor, one of the numbers above.
int ck_best_path(void);
// The path in use: the best one, or the lower one that the environment variable MORSE_KERNELS names.
int ck_path(void);
// Uses another path; false where this processor has not got it.
bool ck_select_path(int path);

extern const ck_kernels *_Nullable ck_selected;

// The functions in use; null for the portable path.
static inline const ck_kernels *_Nullable ck_table(void) { return __atomic_load_n(&ck_selected, __ATOMIC_RELAXED); }

// Makes streamed values visible before whatever this thread stores next.
static inline void ck_finish_streaming(void) {
#if defined(__x86_64__)
  __builtin_ia32_sfence();
#endif
}

#pragma clang assume_nonnull end

#endif
