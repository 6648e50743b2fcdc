// Plain C beside the Swift binding, to compare with. MPI must run; all calls are over MPI_COMM_WORLD.
#ifndef CMPI_BASELINE_H
#define CMPI_BASELINE_H

#include <stddef.h>

/// Ranks 0 and 1 send `byteCount` bytes there and back `iterations` times; other ranks return at once.
/// Returns the seconds that one way took on average, or a negative MPI error code.
double baselinePingPong(void *buffer, size_t byteCount, int iterations);

#endif
