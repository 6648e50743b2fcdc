#include "library.h"
#include <stdlib.h>
#include <string.h>

// One pass. Its primitive has weights in a layout of its own choice; `reorder` turns the plain ones into it, or its gradient into plain
// ones, by way of scratch memory; null if both are the same.
typedef struct {
  dnnl_primitive_t primitive, reorder;
  dnnl_memory_t weights, pad;
  size_t weight_bytes, pad_bytes;
} Pass;

// Memory objects hold addresses: each call sets them.
//
// Biases and their gradient go by way of scratch memory. Code that reads twenty of them reads thirty-two with the last lanes masked, at
// every place of a filter; if those lanes lie on a page that is not mapped, as they may at the end of a flat buffer, the processor
// takes an assist each time, and the convolution ten times as long.
struct CDNN_Convolution {
  size_t bias_count;
  dnnl_stream_t stream;
  dnnl_memory_t inputs, outputs, plain, biases;
  Pass passes[3];
};

static size_t aligned(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

static dnnl_status_t make_reorder(
    dnnl_primitive_t *reorder, FormReference from, FormReference to, dnnl_engine_t engine) {
  dnnl_primitive_desc_t description;
  TRY(dnnl_reorder_primitive_desc_create(&description, from, engine, to, engine, NULL));
  dnnl_status_t result = CDNN_make(reorder, description, "reorder");
  dnnl_primitive_desc_destroy(description);
  return result;
}

static const char *const names[] = {"convolution forward", "convolution data", "convolution weights"};

static dnnl_status_t make_pass_of(
    Pass *pass, CDNN_Direction direction, dnnl_primitive_desc_t description, FormReference plain, dnnl_engine_t engine) {
  TRY(CDNN_make(&pass->primitive, description, names[direction]));
  FormReference weights = dnnl_primitive_desc_query_md(
      description, direction == CDNN_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
  TRY(dnnl_memory_create(&pass->weights, weights, engine, DNNL_MEMORY_NONE));
  if (!dnnl_memory_desc_equal(weights, plain)) {
    pass->weight_bytes = dnnl_memory_desc_get_size(weights);
    TRY(direction == CDNN_WEIGHTS ? make_reorder(&pass->reorder, weights, plain, engine)
                                  : make_reorder(&pass->reorder, plain, weights, engine));
  }
  FormReference pad = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
  pass->pad_bytes = dnnl_memory_desc_get_size(pad);
  return dnnl_memory_create(&pass->pad, pad, engine, DNNL_MEMORY_NONE);
}

static dnnl_status_t make_pass(
    Pass *pass, CDNN_Direction direction, const CDNN_Shape *shape, const Forms *forms, dnnl_primitive_desc_t *forward) {
  dnnl_primitive_attr_t attributes;
  TRY(dnnl_primitive_attr_create(&attributes));
  dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user);
  dnnl_primitive_desc_t description = NULL;
  dnnl_status_t result = CDNN_describe(&description, direction, shape, forms, *forward, attributes);
  dnnl_primitive_attr_destroy(attributes);
  TRY(result);
  result = make_pass_of(pass, direction, description, reference(&forms->plain), CDNN_engine());
  if (direction == CDNN_FORWARD)
    *forward = description;
  else
    dnnl_primitive_desc_destroy(description);
  return result;
}

static dnnl_status_t make_forms(Forms *forms, const CDNN_Shape *shape) {
  dnnl_dims_t in = {shape->samples, shape->channels, shape->height, shape->width};
  dnnl_dims_t out = {
      shape->samples, shape->filters, (shape->height + 2 * shape->padding - shape->kernel_height) / shape->stride + 1,
      (shape->width + 2 * shape->padding - shape->kernel_width) / shape->stride + 1};
  dnnl_dims_t kernel = {shape->filters, shape->channels, shape->kernel_height, shape->kernel_width};
  dnnl_dims_t bias = {shape->filters};
  TRY(make_form(&forms->inputs, 4, in, dnnl_nhwc));
  TRY(make_form(&forms->outputs, 4, out, dnnl_nhwc));
  TRY(make_form(&forms->plain, 4, kernel, dnnl_oihw));
  TRY(make_form(&forms->weights, 4, kernel, dnnl_format_tag_any));
  return make_form(&forms->biases, 1, bias, dnnl_x);
}

static dnnl_status_t make_of(CDNN_Convolution *convolution, const CDNN_Shape *shape, const Forms *forms, int needs_data) {
  dnnl_engine_t engine = CDNN_engine();
  TRY(dnnl_memory_create(&convolution->inputs, reference(&forms->inputs), engine, DNNL_MEMORY_NONE));
  TRY(dnnl_memory_create(&convolution->outputs, reference(&forms->outputs), engine, DNNL_MEMORY_NONE));
  TRY(dnnl_memory_create(&convolution->plain, reference(&forms->plain), engine, DNNL_MEMORY_NONE));
  TRY(dnnl_memory_create(&convolution->biases, reference(&forms->biases), engine, DNNL_MEMORY_NONE));
  dnnl_primitive_desc_t forward = NULL;
  dnnl_status_t result = dnnl_success;
  for (CDNN_Direction direction = CDNN_FORWARD; direction <= CDNN_WEIGHTS && result == dnnl_success; direction++) {
    if (direction == CDNN_DATA && !needs_data) continue;
    result = make_pass(&convolution->passes[direction], direction, shape, forms, &forward);
  }
  if (forward) dnnl_primitive_desc_destroy(forward);
  return result;
}

static dnnl_status_t make(CDNN_Convolution *convolution, const CDNN_Shape *shape, int needs_data) {
  if (!CDNN_engine()) return dnnl_unimplemented;
  TRY(dnnl_stream_create(&convolution->stream, CDNN_engine(), dnnl_stream_default_flags));
  convolution->bias_count = shape->filters;
  Forms forms;
  memset(&forms, 0, sizeof forms);
  dnnl_status_t result = make_forms(&forms, shape);
  if (result == dnnl_success) result = make_of(convolution, shape, &forms, needs_data);
  Form *all[] = {&forms.inputs, &forms.outputs, &forms.biases, &forms.plain, &forms.weights};
  for (int index = 0; index < 5; index++) destroy_form(all[index]);
  return result;
}

CDNN_Convolution *CDNN_convolution_create(const CDNN_Shape *shape, int needs_data, int *status) {
  CDNN_prepare_thread();
  CDNN_Convolution *convolution = calloc(1, sizeof *convolution);
  *status = convolution ? make(convolution, shape, needs_data) : dnnl_out_of_memory;
  if (*status == dnnl_success || !convolution) return convolution;
  CDNN_convolution_destroy(convolution);
  return NULL;
}

void CDNN_convolution_destroy(CDNN_Convolution *convolution) {
  for (int direction = 0; direction < 3; direction++) {
    Pass *pass = &convolution->passes[direction];
    if (pass->primitive) dnnl_primitive_destroy(pass->primitive);
    if (pass->reorder) dnnl_primitive_destroy(pass->reorder);
    if (pass->weights) dnnl_memory_destroy(pass->weights);
    if (pass->pad) dnnl_memory_destroy(pass->pad);
  }
  dnnl_memory_t memories[] = {convolution->inputs, convolution->outputs, convolution->plain, convolution->biases};
  for (int index = 0; index < 4; index++)
    if (memories[index]) dnnl_memory_destroy(memories[index]);
  if (convolution->stream) dnnl_stream_destroy(convolution->stream);
  free(convolution);
}

// With room for the masked lanes.
static size_t bias_bytes(const CDNN_Convolution *convolution) { return aligned(convolution->bias_count * sizeof(float)) + 64; }

size_t CDNN_convolution_scratch(const CDNN_Convolution *convolution) {
  size_t most = 0;
  for (int direction = 0; direction < 3; direction++) {
    const Pass *pass = &convolution->passes[direction];
    size_t bytes = aligned(pass->weight_bytes) + aligned(pass->pad_bytes);
    if (bytes > most) most = bytes;
  }
  return most + bias_bytes(convolution);
}

static dnnl_status_t reorder(CDNN_Convolution *convolution, Pass *pass, int is_from_plain) {
  dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_FROM, is_from_plain ? convolution->plain : pass->weights},
      {DNNL_ARG_TO, is_from_plain ? pass->weights : convolution->plain}};
  return dnnl_primitive_execute(pass->reorder, convolution->stream, 2, arguments);
}

// Points the memory objects of a pass at the caller's memory and at scratch.
static dnnl_status_t point(
    CDNN_Convolution *convolution, Pass *pass, const float *inputs, const float *outputs, const float *weights, void *scratch) {
  if (!pass->primitive) return dnnl_invalid_arguments;
  CDNN_prepare_thread();
  TRY(dnnl_memory_set_data_handle(convolution->inputs, (void *)inputs));
  TRY(dnnl_memory_set_data_handle(convolution->outputs, (void *)outputs));
  TRY(dnnl_memory_set_data_handle(convolution->plain, (void *)weights));
  // In scratch memory: biases, weights in the layout of the primitive, what the primitive needs.
  char *rest = (char *)scratch + bias_bytes(convolution);
  TRY(dnnl_memory_set_data_handle(convolution->biases, scratch));
  TRY(dnnl_memory_set_data_handle(pass->weights, pass->reorder ? rest : (void *)weights));
  return dnnl_memory_set_data_handle(pass->pad, rest + aligned(pass->weight_bytes));
}

int CDNN_convolution_forward(
    CDNN_Convolution *convolution, const float *inputs, const float *weights, const float *biases, float *outputs,
    void *scratch) {
  Pass *pass = &convolution->passes[CDNN_FORWARD];
  TRY(point(convolution, pass, inputs, outputs, weights, scratch));
  if (biases)
    memcpy(scratch, biases, convolution->bias_count * sizeof(float));
  else
    memset(scratch, 0, convolution->bias_count * sizeof(float));
  if (pass->reorder) TRY(reorder(convolution, pass, 1));
  dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_SRC, convolution->inputs}, {DNNL_ARG_WEIGHTS, pass->weights}, {DNNL_ARG_BIAS, convolution->biases},
      {DNNL_ARG_DST, convolution->outputs}, {DNNL_ARG_SCRATCHPAD, pass->pad}};
  TRY(dnnl_primitive_execute(pass->primitive, convolution->stream, 5, arguments));
  return dnnl_stream_wait(convolution->stream);
}

int CDNN_convolution_data(
    CDNN_Convolution *convolution, const float *output_gradient, const float *weights, float *input_gradient, void *scratch) {
  Pass *pass = &convolution->passes[CDNN_DATA];
  TRY(point(convolution, pass, input_gradient, output_gradient, weights, scratch));
  if (pass->reorder) TRY(reorder(convolution, pass, 1));
  dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_DIFF_SRC, convolution->inputs}, {DNNL_ARG_WEIGHTS, pass->weights}, {DNNL_ARG_DIFF_DST, convolution->outputs},
      {DNNL_ARG_SCRATCHPAD, pass->pad}};
  TRY(dnnl_primitive_execute(pass->primitive, convolution->stream, 4, arguments));
  return dnnl_stream_wait(convolution->stream);
}

int CDNN_convolution_weights(
    CDNN_Convolution *convolution, const float *inputs, const float *output_gradient, float *weight_gradient,
    float *bias_gradient, void *scratch) {
  Pass *pass = &convolution->passes[CDNN_WEIGHTS];
  TRY(point(convolution, pass, inputs, output_gradient, weight_gradient, scratch));
  dnnl_exec_arg_t arguments[] = {
      {DNNL_ARG_SRC, convolution->inputs}, {DNNL_ARG_DIFF_WEIGHTS, pass->weights}, {DNNL_ARG_DIFF_BIAS, convolution->biases},
      {DNNL_ARG_DIFF_DST, convolution->outputs}, {DNNL_ARG_SCRATCHPAD, pass->pad}};
  TRY(dnnl_primitive_execute(pass->primitive, convolution->stream, 5, arguments));
  if (pass->reorder) TRY(reorder(convolution, pass, 0));
  TRY(dnnl_stream_wait(convolution->stream));
  if (bias_gradient) memcpy(bias_gradient, scratch, convolution->bias_count * sizeof(float));
  return dnnl_success;
}
