public import Files
public import MPI

/// A rank that ends the job because of a file does so with a status of its own.
extension FileError: ExitStatusProviding {}
extension FileInUse: ExitStatusProviding {}
