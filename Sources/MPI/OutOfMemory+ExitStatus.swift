public import Buffers

/// A rank that ends the job because it is out of memory does so with a separate exit status.
extension OutOfMemory: ExitStatusProviding {}
