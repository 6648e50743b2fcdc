#include "library.h"

int CDNN_product(
    int is_a_transposed, int is_b_transposed, int64_t rows, int64_t columns, int64_t inner, float scale, const float *a,
    int64_t a_stride, const float *b, int64_t b_stride, int is_adding, float *result, int64_t result_stride) {
  CDNN_prepare_thread();
  CDNN_note_product();
  return dnnl_sgemm(
      is_a_transposed ? 'T' : 'N', is_b_transposed ? 'T' : 'N', rows, columns, inner, scale, a, a_stride, b, b_stride,
      is_adding ? 1 : 0, result, result_stride);
}
