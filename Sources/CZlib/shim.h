// zlib, which reads gzip-compressed data files.
#pragma once

#include <zlib.h>
