// Shared by the files of this folder; not part of the module.
#include "CKernels.h"

extern const ck_code_loops ck_portable_codes;
#if defined(__x86_64__)
extern const ck_kernels ck_avx2_kernels;
extern const ck_kernels ck_avx512_kernels;
extern const ck_code_loops ck_avx2_codes;
extern const ck_code_loops ck_avx512_codes;
#endif
