// The choice of the instruction set, made once before main().
#include "paths.h"

#include <stdlib.h>
#include <string.h>

const ck_kernels *ck_selected = NULL;
const ck_code_loops *ck_selected_codes = &ck_portable_codes;

int ck_best_path(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("popcnt") || !__builtin_cpu_supports("bmi2")) return CK_PORTABLE;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return CK_AVX512;
  return CK_AVX2;
#else
  return CK_PORTABLE;
#endif
}

int ck_path(void) {
#if defined(__x86_64__)
  const ck_kernels *table = ck_table();
  if (table == &ck_avx512_kernels) return CK_AVX512;
  if (table == &ck_avx2_kernels) return CK_AVX2;
#endif
  return CK_PORTABLE;
}

bool ck_select_path(int path) {
  if (path < CK_PORTABLE || path > ck_best_path()) return false;
  const ck_kernels *table = NULL;
  const ck_code_loops *codes = &ck_portable_codes;
#if defined(__x86_64__)
  if (path == CK_AVX512) table = &ck_avx512_kernels, codes = &ck_avx512_codes;
  if (path == CK_AVX2) table = &ck_avx2_kernels, codes = &ck_avx2_codes;
#endif
  __atomic_store_n(&ck_selected, table, __ATOMIC_RELAXED);
  __atomic_store_n(&ck_selected_codes, codes, __ATOMIC_RELAXED);
  return true;
}

__attribute__((constructor)) static void select_at_start(void) {
  int path = ck_best_path();
  const char *wish = getenv("MORSE_KERNELS");
  if (wish != NULL) {
    int limit = !strcmp(wish, "portable") ? CK_PORTABLE : !strcmp(wish, "avx2") ? CK_AVX2 : path;
    if (limit < path) path = limit;
  }
  ck_select_path(path);
}
