/* Sums of arrays over the ranks with one bit per value, from C. Asserts its own result.
 *
 *     scripts/build-library build/morse
 *     mpicc -I build/morse examples/c/all-reduce.c -o all-reduce -L build/morse -lmorse -Wl,-rpath,"$PWD/build/morse"
 *     mpirun -np 2 ./all-reduce
 *
 * Each rank contributes the same array in every step. What a code cannot carry stays in the residuals, so that the sum of all
 * that was delivered, and what is still left behind, is the sum of all that was contributed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "morse.h"

enum { ROWS = 37, COLUMNS = 53, BIASES = 37, COUNT = ROWS * COLUMNS + BIASES, STEPS = 40 };

/* Ends all ranks with the library's sentence if a call failed. */
static void check(int32_t status, const char *what) {
  if (status == MORSE_OK) return;
  fprintf(stderr, "%s: %s\n", what, morse_last_error());
  fflush(stderr);
  morse_abort(status);
}

/* Ends all ranks if what was found is not what must be. */
static void expect(int is_true, const char *what) {
  if (is_true) return;
  fprintf(stderr, "all-reduce: %s\n", what);
  morse_abort(1);
}

/* What rank contributes to each step. */
static void fill(float *values, int rank) {
  for (int i = 0; i < COUNT; i++) values[i] = sinf(0.37f * (float)i + 1.3f * (float)rank) + 0.1f * (float)(rank + 1);
}

/* What is left in the residuals of all ranks, added by a stream that loses nothing. */
static void add_residuals(morse_world *world, morse_stream *stream, const morse_tensor *tensors, double *total) {
  float left[COUNT];
  memset(left, 0, sizeof left);
  float *values;
  int64_t count;
  check(morse_stream_residual(stream, MORSE_RESIDUAL_OWN, &values, &count), "residual");
  for (int64_t i = 0; i < count; i++) left[i] += values[i];
  check(morse_stream_residual(stream, MORSE_RESIDUAL_OWNER, &values, &count), "residual of the owner");
  int64_t bounds[64], ranges = morse_stream_owned_ranges(stream, bounds, 64), place = 0;
  expect(ranges >= 0 && ranges <= 32, "more ranges than there is room for");
  for (int64_t range = 0; range < ranges && count > 0; range++)
    for (int64_t i = bounds[2 * range]; i < bounds[2 * range + 1]; i++) left[i] += values[place++];
  expect(place == count, "the ranges of an owner are not as long as its residual");

  morse_stream *floats;
  check(morse_stream_create(world, "none", tensors, 2, NULL, &floats), "stream of floats");
  morse_piece piece = {left, 0, COUNT};
  check(morse_stream_all_reduce(floats, 0, &piece, 1, 1), "sum of the residuals");
  check(morse_stream_release(floats), "release");
  for (int i = 0; i < COUNT; i++) total[i] += left[i];
}

/* Mistakes that must be told in a sentence, and end nothing. */
static void make_mistakes(morse_world *world, morse_stream *stream, const morse_tensor *tensors) {
  float value = 1;
  morse_stream *none = NULL;
  expect(morse_stream_finish(stream, NULL, 0) == MORSE_ERROR_USAGE, "finish before begin");
  expect(morse_stream_write(stream, &value, 0, 1, 1) == MORSE_ERROR_USAGE, "write before begin");
  expect(morse_stream_begin(stream, -1) == MORSE_ERROR_USAGE, "a negative step");
  expect(morse_stream_residual(stream, 3, NULL, NULL) == MORSE_ERROR_USAGE, "no such residual");
  expect(morse_stream_begin((morse_stream *)&value, 0) == MORSE_ERROR_USAGE, "no stream");
  expect(morse_stream_begin(NULL, 0) == MORSE_ERROR_USAGE && strlen(morse_last_error()) > 0, "no handle");
  expect(morse_stream_create(world, "one-bitt", tensors, 2, NULL, &none) == MORSE_ERROR_USAGE, "an unknown codec");
  expect(strstr(morse_last_error(), "one-bit") != NULL, "the nearest codec is not named");
  expect(morse_codec_result("fetch-sgd") == MORSE_RESULT_CHANGE && morse_codec_result("") == -1, "what a codec brings");
  expect(morse_stream_create(world, "lazy", tensors, 2, NULL, &none) == MORSE_ERROR_USAGE, "a codec that follows a model");
  expect(morse_stream_create(world, "one-bit", tensors, 0, NULL, &none) == MORSE_ERROR_USAGE, "no tensors");
  morse_options options = {.size = sizeof options, .overlap = 9};
  expect(morse_stream_create(world, "one-bit", tensors, 2, &options, &none) == MORSE_ERROR_USAGE, "an unknown overlap");
  expect(none == NULL, "a failed call made a stream");
}

int main(void) {
  expect(morse_abi_version() == MORSE_ABI_VERSION, "the library is not the one of the header");
  morse_world *world;
  check(morse_start(-1, NULL, &world), "start");
  const int rank = morse_rank(world), size = morse_size(world);

  const int64_t weight[] = {ROWS, COLUMNS}, bias[] = {BIASES};
  const morse_tensor tensors[] = {{"weight", weight, 2, MORSE_TENSOR_CODED}, {"bias", bias, 1, MORSE_TENSOR_PLAIN}};
  morse_options options = {.size = sizeof options, .non_finite = MORSE_NON_FINITE_NAN, .seed = 1};
  morse_stream *stream;
  check(morse_stream_create(world, "one-bit", tensors, 2, &options, &stream), "stream");
  make_mistakes(world, stream, tensors);

  static float own[COUNT], sum[COUNT];
  static double delivered[COUNT], contributed[COUNT];
  for (int other = 0; other < size; other++) {
    fill(sum, other);
    for (int i = 0; i < COUNT; i++) contributed[i] += (double)STEPS * sum[i];
  }
  fill(own, rank);
  for (int step = 0; step < STEPS; step++) {
    /* The biases are final first, as in a backward pass; the sums arrive in two pieces. */
    const int64_t split = ROWS * COLUMNS;
    check(morse_stream_begin(stream, step), "begin");
    check(morse_stream_write(stream, own + split, split, BIASES, 1), "write");
    expect(morse_stream_write(stream, own, COUNT - 1, 2, 1) == MORSE_ERROR_USAGE, "a write beyond the end");
    expect(morse_stream_write(stream, own, split, 1, 1) == MORSE_ERROR_USAGE, "a second write");
    check(morse_stream_write(stream, own, 0, split, 1), "write");
    const morse_piece pieces[] = {{sum + split, split, BIASES}, {sum, 0, split}};
    check(morse_stream_finish(stream, pieces, 2), "finish");
    for (int i = 0; i < COUNT; i++) delivered[i] += sum[i];
  }
  check(morse_check_equal(world, "the sum", sum, sizeof sum), "the ranks have different sums");
  add_residuals(world, stream, tensors, delivered);
  for (int i = 0; i < COUNT; i++) expect(fabs(delivered[i] - contributed[i]) <= 1e-4 * STEPS, "something was lost");

  /* NaN on the last rank is seen by all, in the same row and nowhere else; with one rank there is no code. */
  fill(own, rank);
  if (rank == size - 1) own[2 * COLUMNS + 5] = NAN;
  morse_piece piece = {own, 0, COUNT};
  check(morse_stream_all_reduce(stream, STEPS, &piece, 1, 1), "sum with NaN");
  expect(isnan(own[2 * COLUMNS + 5]) && !isnan(own[5]) && !isnan(own[COUNT - 1]), "NaN did not arrive where it was");

  morse_counters counters = {.size = sizeof counters};
  check(morse_stream_counters(stream, &counters), "counters");
  expect(counters.exchanges == STEPS + 1, "the exchanges were not counted");
  if (rank == 0) {
    printf("%d values, %d ranks: %lld bytes a step predicted, %llu sent in %llu exchanges\n", COUNT, size,
           (long long)morse_stream_predicted_bytes(stream), (unsigned long long)(counters.network_sent + counters.host_sent),
           (unsigned long long)counters.exchanges);
  }
  check(morse_stream_release(stream), "release");
  expect(morse_stream_release(stream) == MORSE_ERROR_USAGE, "a stream was released twice");
  check(morse_world_release(world), "release");
  check(morse_finish(), "finish");
  return 0;
}
