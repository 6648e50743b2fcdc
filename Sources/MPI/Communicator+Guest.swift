internal import CMPI

extension Communicator {
  /// A communicator for a library in the process of another program, which may have started MPI before.
  ///
  /// It is a duplicate, so that no message mixes with those of the program, and reports errors instead of ending the job. MPI is
  /// asked for ``ThreadLevel/multiple``; if the program has started it with less, that is what there is (`Runtime.threadLevel`).
  /// Without a launcher and without a handle, the world has one rank and needs no MPI.
  ///
  /// Collective. The corresponding C functions are `MPI_Init_thread`, `MPI_Comm_f2c` and `MPI_Comm_dup`.
  ///
  /// - Parameter fortranHandle: The number by which Fortran knows the program's communicator (`MPI_Comm_c2f`); nil for the world.
  /// - Throws: `MPIError` if there is no such communicator or MPI has ended, and an error if this task is alone in its world
  ///   although a launcher started others with it.
  package static func joined(fortranHandle: Int32? = nil) throws -> Communicator {
    var hasEnded: CInt = 0
    try check(MPI_Finalized(&hasEnded), "MPI_Finalized")
    guard hasEnded == 0 else {
      throw MPIError(operation: "MPI_Init_thread", text: "MPI has ended in this process and cannot be started again")
    }
    Runtime.request(threads: .multiple)
    guard fortranHandle != nil || Runtime.isLaunched else {
      try Launcher.check(rankCount: 1)
      return Communicator()
    }
    var isStarted: CInt = 0
    try check(MPI_Initialized(&isStarted), "MPI_Initialized")
    guard fortranHandle == nil || isStarted != 0 else {
      throw MPIError(operation: "MPI_Comm_f2c", text: "a communicator was given, but MPI has not been started")
    }
    try Runtime.start(isGuest: true)
    let parent = fortranHandle.map { CMPI_COMM_FROM_FORTRAN($0) } ?? CMPI_COMM_WORLD()
    guard let parent, parent != CMPI_COMM_NULL() else {
      throw MPIError(
        MPI_ERR_COMM, operation: "MPI_Comm_f2c", text: "there is no communicator with the handle \(fortranHandle ?? 0)")
    }
    var made: MPI_Comm?
    try check(MPI_Comm_dup(parent, &made), "MPI_Comm_dup")
    try check(MPI_Comm_set_errhandler(made, CMPI_ERRORS_RETURN()), "MPI_Comm_set_errhandler")
    let world = try Communicator(owning: made!)
    // A communicator that was given may have one rank; the world has only if the launcher is one that MPI does not know.
    if fortranHandle == nil { try Launcher.check(rankCount: world.count) }
    return world
  }
}
