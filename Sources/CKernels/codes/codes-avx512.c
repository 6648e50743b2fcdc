// The loops for codes of a few bits with AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,popcnt,bmi2"))), apply_to = function)

#define CODE_LOOPS ck_avx512_codes
#define HAS_AVX512
#include "loops.h"

#pragma clang attribute pop
#endif
