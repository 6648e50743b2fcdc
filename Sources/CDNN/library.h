// What the files of this target share.
#ifndef CDNN_LIBRARY_H
#define CDNN_LIBRARY_H

#include "CDNN.h"
#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR != 2
#error "oneDNN 3 is not supported yet: its descriptors of operations and memory are others than those of oneDNN 2"
#endif

// The processor, as oneDNN sees it; null if there is none, which no status of a call can say better.
dnnl_engine_t CDNN_engine(void);
// Makes the number of threads hold in the calling thread.
void CDNN_prepare_thread(void);

#endif
