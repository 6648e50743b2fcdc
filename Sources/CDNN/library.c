#define _GNU_SOURCE
#include "library.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>

void CDNN_version(int *major, int *minor, int *patch) {
  const dnnl_version_t *version = dnnl_version();
  *major = version->major;
  *minor = version->minor;
  *patch = version->patch;
}

const char *CDNN_instruction_set(void) {
  switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41: return "sse41";
    case dnnl_cpu_isa_avx: return "avx";
    case dnnl_cpu_isa_avx2: return "avx2";
    case dnnl_cpu_isa_avx2_vnni: return "avx2_vnni";
    case dnnl_cpu_isa_avx512_core: return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni: return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16: return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx: return "avx512_core_amx";
    case 0: return "any";
    default: return "newer";
  }
}

static dnnl_engine_t engine;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_engine(void) {
  if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
}

dnnl_engine_t CDNN_engine(void) {
  pthread_once(&once, make_engine);
  return engine;
}

static atomic_int wanted = 1;
static _Thread_local int current = 0;

void CDNN_set_threads(int count) { atomic_store(&wanted, count); }
int CDNN_threads(void) { return atomic_load(&wanted); }

// OMP_NUM_THREADS is read when the OpenMP library is loaded, before any code of ours runs; the call counts for its thread alone.
void CDNN_prepare_thread(void) {
  int count = atomic_load(&wanted);
  if (count == current) return;
  void (*set)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  if (set) set(count);
  current = count;
}
