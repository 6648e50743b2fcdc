#ifndef MORSE_CBLAS_SHIM_H
#define MORSE_CBLAS_SHIM_H

#include <cblas.h>

#endif
