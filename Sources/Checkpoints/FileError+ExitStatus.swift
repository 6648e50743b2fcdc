public import Files
public import MPI

/// File errors have their own exit status when they end the job.
extension FileError: ExitStatusProviding {}
extension FileInUse: ExitStatusProviding {}
