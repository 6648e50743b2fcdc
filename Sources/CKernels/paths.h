// Shared by the files of this folder; not part of the module.
#include "CKernels.h"

#if defined(__x86_64__)
extern const ck_kernels ck_avx2_kernels;
extern const ck_kernels ck_avx512_kernels;
#endif
