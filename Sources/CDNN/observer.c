#include "library.h"

static _Thread_local CDNN_Observer observer = NULL;
static _Thread_local void *context = NULL;

void CDNN_observe(CDNN_Observer new_observer, void *new_context) {
  observer = new_observer;
  context = new_context;
}

dnnl_status_t CDNN_make(dnnl_primitive_t *primitive, const_dnnl_primitive_desc_t description, const char *kind) {
  TRY(dnnl_primitive_create(primitive, description));
  if (!observer) return dnnl_success;
  const char *code = "";
  TRY(dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &code));
  observer(kind, code, context);
  return dnnl_success;
}

// The library names the code of primitives alone. It generates that of a product for all instruction sets that it knows, and has
// reference loops where it knows none.
void CDNN_note_product(void) {
  if (observer) observer("product", dnnl_get_effective_cpu_isa() ? "jit" : "ref", context);
}
