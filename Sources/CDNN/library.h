// What the files of this target share, and what differs between oneDNN 2 and 3.
#ifndef CDNN_LIBRARY_H
#define CDNN_LIBRARY_H

#include "CDNN.h"
#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR != 2 && DNNL_VERSION_MAJOR != 3
#error "oneDNN 2 or 3 is needed"
#endif

// The processor, as oneDNN sees it; null if there is none, which no status of a call can say better.
dnnl_engine_t CDNN_engine(void);
// Makes the number of threads hold in the calling thread.
void CDNN_prepare_thread(void);

// Makes a primitive of this kind, and names its code to the observer of this thread.
dnnl_status_t CDNN_make(dnnl_primitive_t *primitive, const_dnnl_primitive_desc_t description, const char *kind);
// Names the code of a product to the observer of this thread.
void CDNN_note_product(void);

#define TRY(call) \
  do { \
    dnnl_status_t status_of_call = (call); \
    if (status_of_call != dnnl_success) return status_of_call; \
  } while (0)

// How a tensor lies in memory: a structure in oneDNN 2, an object in oneDNN 3.
typedef dnnl_memory_desc_t Form;
#if DNNL_VERSION_MAJOR == 2
typedef const dnnl_memory_desc_t *FormReference;
static inline FormReference reference(const Form *form) { return form; }
static inline dnnl_status_t make_form(Form *form, int dimensions, const dnnl_dims_t sizes, dnnl_format_tag_t tag) {
  return dnnl_memory_desc_init_by_tag(form, dimensions, sizes, dnnl_f32, tag);
}
static inline void destroy_form(Form *form) { (void)form; }
#else
typedef const_dnnl_memory_desc_t FormReference;
static inline FormReference reference(const Form *form) { return *form; }
static inline dnnl_status_t make_form(Form *form, int dimensions, const dnnl_dims_t sizes, dnnl_format_tag_t tag) {
  return dnnl_memory_desc_create_with_tag(form, dimensions, sizes, dnnl_f32, tag);
}
static inline void destroy_form(Form *form) {
  if (*form) dnnl_memory_desc_destroy(*form);
}
#endif

// The forms of what a convolution reads and writes.
typedef struct {
  Form inputs, outputs, biases;
  // Filters × channels × height × width, and the layout of a pass's own choice.
  Form plain, weights;
} Forms;

// Describes the primitive of a pass; `hint` is the description of the forward pass, for the others.
dnnl_status_t CDNN_describe(
    dnnl_primitive_desc_t *description, CDNN_Direction direction, const CDNN_Shape *shape, const Forms *forms,
    dnnl_primitive_desc_t hint, dnnl_primitive_attr_t attributes);

#endif
