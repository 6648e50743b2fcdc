// The loops for codes of a few bits with AVX2.
#if defined(__x86_64__)
#include <immintrin.h>

#pragma STDC FP_CONTRACT OFF
#pragma clang diagnostic ignored "-Wpsabi"
#pragma clang attribute push(__attribute__((target("avx2,popcnt,bmi2"))), apply_to = function)

#define CODE_LOOPS ck_avx2_codes
#define HAS_AVX2
#include "loops.h"

#pragma clang attribute pop
#endif
