#include "library.h"

// The places of a filter in each direction.
static int64_t places(int64_t size, int64_t kernel, const CDNN_Shape *shape) {
  return (size + 2 * shape->padding - kernel) / shape->stride + 1;
}

// Rows and columns at the far edges that no whole stride reaches are not read: the padding there is less, or negative.
static int64_t far_padding(int64_t size, int64_t kernel, const CDNN_Shape *shape) {
  return (places(size, kernel, shape) - 1) * shape->stride + kernel - size - shape->padding;
}

#if DNNL_VERSION_MAJOR == 2

dnnl_status_t CDNN_describe(
    dnnl_primitive_desc_t *description, CDNN_Direction direction, const CDNN_Shape *shape, const Forms *forms,
    dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attributes) {
  dnnl_dims_t strides = {shape->stride, shape->stride};
  dnnl_dims_t padding = {shape->padding, shape->padding};
  dnnl_dims_t end = {
      far_padding(shape->height, shape->kernel_height, shape), far_padding(shape->width, shape->kernel_width, shape)};
  dnnl_convolution_desc_t operation;
  switch (direction) {
    case CDNN_FORWARD:
      TRY(dnnl_convolution_forward_desc_init(
          &operation, dnnl_forward_training, dnnl_convolution_direct, &forms->inputs, &forms->weights, &forms->biases,
          &forms->outputs, strides, padding, end));
      break;
    case CDNN_DATA:
      TRY(dnnl_convolution_backward_data_desc_init(
          &operation, dnnl_convolution_direct, &forms->inputs, &forms->weights, &forms->outputs, strides, padding, end));
      break;
    default:
      TRY(dnnl_convolution_backward_weights_desc_init(
          &operation, dnnl_convolution_direct, &forms->inputs, &forms->weights, &forms->biases, &forms->outputs, strides, padding,
          end));
  }
  return dnnl_primitive_desc_create(description, &operation, attributes, CDNN_engine(), hint);
}

#else

dnnl_status_t CDNN_describe(
    dnnl_primitive_desc_t *description, CDNN_Direction direction, const CDNN_Shape *shape, const Forms *forms,
    dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attributes) {
  dnnl_dims_t strides = {shape->stride, shape->stride};
  dnnl_dims_t dilation = {0, 0};
  dnnl_dims_t padding = {shape->padding, shape->padding};
  dnnl_dims_t end = {
      far_padding(shape->height, shape->kernel_height, shape), far_padding(shape->width, shape->kernel_width, shape)};
  switch (direction) {
    case CDNN_FORWARD:
      return dnnl_convolution_forward_primitive_desc_create(
          description, CDNN_engine(), dnnl_forward_training, dnnl_convolution_direct, forms->inputs, forms->weights, forms->biases,
          forms->outputs, strides, dilation, padding, end, attributes);
    case CDNN_DATA:
      return dnnl_convolution_backward_data_primitive_desc_create(
          description, CDNN_engine(), dnnl_convolution_direct, forms->inputs, forms->weights, forms->outputs, strides, dilation,
          padding, end, hint, attributes);
    default:
      return dnnl_convolution_backward_weights_primitive_desc_create(
          description, CDNN_engine(), dnnl_convolution_direct, forms->inputs, forms->weights, forms->biases, forms->outputs, strides,
          dilation, padding, end, hint, attributes);
  }
}

#endif
