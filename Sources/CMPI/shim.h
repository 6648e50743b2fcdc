// MPI for Swift. Handles in mpi.h are macros with casts, which Swift cannot import: each function below but the last returns one
// of them and does nothing else.
#ifndef CMPI_SHIM_H
#define CMPI_SHIM_H

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <malloc.h>
#include <mpi.h>

#define CMPI_CONSTANT static inline __attribute__((always_inline))

CMPI_CONSTANT MPI_Comm CMPI_COMM_WORLD(void) { return MPI_COMM_WORLD; }
CMPI_CONSTANT MPI_Comm CMPI_COMM_SELF(void) { return MPI_COMM_SELF; }
CMPI_CONSTANT MPI_Comm CMPI_COMM_NULL(void) { return MPI_COMM_NULL; }
CMPI_CONSTANT MPI_Comm CMPI_COMM_FROM_FORTRAN(int handle) { return MPI_Comm_f2c((MPI_Fint)handle); }
CMPI_CONSTANT MPI_Request CMPI_REQUEST_NULL(void) { return MPI_REQUEST_NULL; }
CMPI_CONSTANT MPI_Info CMPI_INFO_NULL(void) { return MPI_INFO_NULL; }
CMPI_CONSTANT MPI_Errhandler CMPI_ERRORS_RETURN(void) { return MPI_ERRORS_RETURN; }
CMPI_CONSTANT MPI_Status *CMPI_STATUS_IGNORE(void) { return MPI_STATUS_IGNORE; }
CMPI_CONSTANT MPI_Status *CMPI_STATUSES_IGNORE(void) { return MPI_STATUSES_IGNORE; }
CMPI_CONSTANT void *CMPI_IN_PLACE(void) { return MPI_IN_PLACE; }

// From here on all threads share one heap.
CMPI_CONSTANT void CMPI_SHARE_HEAP(void) { mallopt(M_ARENA_MAX, 1); }

CMPI_CONSTANT MPI_Datatype CMPI_BYTE(void) { return MPI_BYTE; }
CMPI_CONSTANT MPI_Datatype CMPI_INT8(void) { return MPI_INT8_T; }
CMPI_CONSTANT MPI_Datatype CMPI_UINT8(void) { return MPI_UINT8_T; }
CMPI_CONSTANT MPI_Datatype CMPI_INT16(void) { return MPI_INT16_T; }
CMPI_CONSTANT MPI_Datatype CMPI_UINT16(void) { return MPI_UINT16_T; }
CMPI_CONSTANT MPI_Datatype CMPI_INT32(void) { return MPI_INT32_T; }
CMPI_CONSTANT MPI_Datatype CMPI_UINT32(void) { return MPI_UINT32_T; }
CMPI_CONSTANT MPI_Datatype CMPI_INT64(void) { return MPI_INT64_T; }
CMPI_CONSTANT MPI_Datatype CMPI_UINT64(void) { return MPI_UINT64_T; }
CMPI_CONSTANT MPI_Datatype CMPI_FLOAT(void) { return MPI_FLOAT; }
CMPI_CONSTANT MPI_Datatype CMPI_DOUBLE(void) { return MPI_DOUBLE; }

CMPI_CONSTANT MPI_Op CMPI_SUM(void) { return MPI_SUM; }
CMPI_CONSTANT MPI_Op CMPI_PROD(void) { return MPI_PROD; }
CMPI_CONSTANT MPI_Op CMPI_MAX(void) { return MPI_MAX; }
CMPI_CONSTANT MPI_Op CMPI_MIN(void) { return MPI_MIN; }
CMPI_CONSTANT MPI_Op CMPI_BAND(void) { return MPI_BAND; }
CMPI_CONSTANT MPI_Op CMPI_BOR(void) { return MPI_BOR; }
CMPI_CONSTANT MPI_Op CMPI_BXOR(void) { return MPI_BXOR; }
CMPI_CONSTANT MPI_Op CMPI_LAND(void) { return MPI_LAND; }
CMPI_CONSTANT MPI_Op CMPI_LOR(void) { return MPI_LOR; }

// The length in bytes of the message that a status describes. Open MPI keeps it in the status itself, which costs a receive nothing.
CMPI_CONSTANT long long CMPI_byte_count(const MPI_Status *status) {
#ifdef OPEN_MPI
  return (long long)status->_ucount;
#else
  MPI_Count count = 0;
  return MPI_Get_elements_x(status, MPI_BYTE, &count) == MPI_SUCCESS ? (long long)count : 0;
#endif
}

#endif
