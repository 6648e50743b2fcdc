#include "library.h"

int CDNN_product(
    int is_a_transposed, int is_b_transposed, int64_t rows, int64_t columns, int64_t inner, const float *a, int64_t a_stride,
    const float *b, int64_t b_stride, float *result, int64_t result_stride) {
  CDNN_prepare_thread();
  return dnnl_sgemm(
      is_a_transposed ? 'T' : 'N', is_b_transposed ? 'T' : 'N', rows, columns, inner, 1, a, a_stride, b, b_stride, 0, result,
      result_stride);
}
