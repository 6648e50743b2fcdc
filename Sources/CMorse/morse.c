// The functions are in Swift (Sources/SharedLibrary); the compiler checks them against the header.
#include "morse.h"
