public import Buffers

/// A rank that ends the job because memory is missing does so with a status of its own.
extension OutOfMemory: ExitStatusProviding {}
