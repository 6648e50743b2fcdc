// The loops for codes of a few bits on any processor.
#pragma STDC FP_CONTRACT OFF
#pragma clang diagnostic ignored "-Wpsabi"

#define CODE_LOOPS ck_portable_codes
#include "loops.h"
