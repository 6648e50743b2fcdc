#include "CPingPong.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

double baselinePingPong(void *buffer, size_t byteCount, int iterations) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank > 1) return 0;
  const int peer = 1 - rank;
  const int count = (int)byteCount;
  MPI_Status status;
  const double start = MPI_Wtime();
  for (int iteration = 0; iteration < iterations; iteration++) {
    int code;
    if (rank == 0) {
      code = MPI_Send(buffer, count, MPI_BYTE, peer, 1, MPI_COMM_WORLD);
      if (code != MPI_SUCCESS) return -code;
      code = MPI_Recv(buffer, count, MPI_BYTE, peer, 1, MPI_COMM_WORLD, &status);
    } else {
      code = MPI_Recv(buffer, count, MPI_BYTE, peer, 1, MPI_COMM_WORLD, &status);
      if (code != MPI_SUCCESS) return -code;
      code = MPI_Send(buffer, count, MPI_BYTE, peer, 1, MPI_COMM_WORLD);
    }
    if (code != MPI_SUCCESS) return -code;
  }
  return (MPI_Wtime() - start) / (2.0 * iterations);
}
