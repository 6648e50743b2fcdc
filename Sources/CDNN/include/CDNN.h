// What Morse uses of oneDNN: matrix products, and convolutions of channels-last activations with plain parameters.
//
// Nothing else in the package includes oneDNN's headers, so that a new version of its interface changes this target alone.
#ifndef CDNN_H
#define CDNN_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// The library's version as three numbers.
void CDNN_version(int *major, int *minor, int *patch);
// The instruction set that its kernels use, for example "avx512_core"; "newer" for one that has no name here, "any" for portable code.
const char *CDNN_instruction_set(void);

// The threads of products and convolutions: of this process, from the next call on; at first 1. The library counts threads for each
// thread that calls it, so every function below sets them in its own.
void CDNN_set_threads(int count);
int CDNN_threads(void);

// Hears of a primitive: what it does, and the library's name of the code that does it, for example "jit:avx512_core"; "ref:any" is a
// hundred times slower than any other. Both texts are the library's, or constant.
typedef void (*CDNN_Observer)(const char *kind, const char *code, void *_Nullable context);
// From now on `observer` hears of each primitive that the calling thread makes (a pass of a convolution, a reordering of its weights),
// and of each product that it computes; null for no one.
void CDNN_observe(CDNN_Observer _Nullable observer, void *_Nullable context);

// result = scale · a · b, or with aᵀ or bᵀ, of rows × inner and inner × columns, or added to the result; all row-major, a stride is
// the distance from one row to the next as the matrix lies in memory. 0, or the library's status.
int CDNN_product(
    int is_a_transposed, int is_b_transposed, int64_t rows, int64_t columns, int64_t inner, float scale, const float *a,
    int64_t a_stride, const float *b, int64_t b_stride, int is_adding, float *result, int64_t result_stride);

// A convolution of images of height × width × channels, each padded with `padding` zeros on all four sides.
typedef struct {
  int64_t samples, height, width, channels;
  int64_t filters, kernel_height, kernel_width, stride, padding;
} CDNN_Shape;

typedef enum { CDNN_FORWARD = 0, CDNN_DATA = 1, CDNN_WEIGHTS = 2 } CDNN_Direction;

// The three passes of a convolution of one shape, for any number of calls in one thread at a time.
typedef struct CDNN_Convolution CDNN_Convolution;

// Makes the passes; `needs_data` says whether that to the inputs' gradient is among them. Null if the library refuses, with its status.
CDNN_Convolution *_Nullable CDNN_convolution_create(const CDNN_Shape *shape, int needs_data, int *status);
void CDNN_convolution_destroy(CDNN_Convolution *convolution);
// The scratch memory of a call, aligned to 64 bytes.
size_t CDNN_convolution_scratch(const CDNN_Convolution *convolution);

// outputs = biases + inputs ∗ weights, where no biases are zeros: samples × height × width × channels, weights of filters ×
// channels × kernel height × kernel width.
int CDNN_convolution_forward(
    CDNN_Convolution *convolution, const float *inputs, const float *weights, const float *_Nullable biases, float *outputs,
    void *scratch);
// The gradient of the inputs, from that of the outputs.
int CDNN_convolution_data(
    CDNN_Convolution *convolution, const float *output_gradient, const float *weights, float *input_gradient, void *scratch);
// The gradients of weights and biases, which are set, not added to; that of the biases only if there is a place for it.
int CDNN_convolution_weights(
    CDNN_Convolution *convolution, const float *inputs, const float *output_gradient, float *weight_gradient,
    float *_Nullable bias_gradient, void *scratch);

#pragma clang assume_nonnull end

#endif
