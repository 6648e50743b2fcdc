#if canImport(Glibc)
  internal import Glibc
#endif

/// What the launcher of this process puts into the environment about the job, known before MPI starts.
package enum Launcher {
  /// The variables in which launchers store the number of a task and the number of tasks started together.
  ///
  /// The first pair that is set counts: a launcher may run inside a step of the next one, whose variables it passes on.
  private static let variables = [
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  // mpirun
    ("PMI_RANK", "PMI_SIZE"),  // mpiexec of MPICH and Intel MPI, srun --mpi=pmi2
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),  // mpirun_rsh of MVAPICH
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  // srun; not SLURM_NTASKS, which batch scripts also have
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  // mpiexec of MPICH: ranks of this host only
  ]

  /// The number of this task, from 0, and the number of tasks started together; nil if no launcher gives them.
  static let task: (number: Int, count: Int)? = {
    for (rank, size) in variables {
      if let number = integer(rank), let count = integer(size) { return (number, count) }
    }
    return nil
  }()

  /// The rank that the launcher gave this process; 0 without a launcher.
  package static let rank = integer("OMPI_COMM_WORLD_RANK") ?? integer("PMIX_RANK") ?? task?.number ?? 0

  /// Whether all ranks have the same command line, so that rank 0 can report what is wrong with it.
  ///
  /// `mpirun` counts the programs it was given. `srun` starts one, except in heterogeneous jobs.
  package static var hasOneCommandLine: Bool {
    if let count = integer("OMPI_NUM_APP_CTX") { return count == 1 }
    return integer("SLURM_STEP_NUM_TASKS") != nil && integer("SLURM_HET_SIZE") == nil
  }

  /// Waits 1 s, except on rank 0: launchers may end all ranks as soon as one has failed, and rank 0 is to report why.
  package static func letRankZeroSpeak() {
    if rank != 0 { sleep(1) }
  }

  /// Whether Open MPI finds the other ranks: this process was started by `mpirun` or by a launcher that supports PMIx.
  static var isKnownToMPI: Bool {
    ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "FLUX_TASK_RANK"].contains { (name: String) in getenv(name) != nil }
  }

  /// Throws if the launcher started several tasks and MPI sees a world of `rankCount` = 1 in each.
  static func check(rankCount: Int) throws {
    guard rankCount == 1, let task, task.count > 1 else { return }
    throw LoneTask(description: "this is task \(task.number) of \(task.count), but MPI sees one rank: \(LoneTask.advice)")
  }

  /// Ends this task, one of several that would each run alone; task 0 prints the error.
  static func end(with error: LoneTask) -> Never {
    letRankZeroSpeak()
    if rank == 0 {
      let program = CommandLine.arguments.first?.split(separator: "/").last ?? "morse"
      let line = "\(program): \(error)\n"
      _ = line.utf8CString.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count - 1) }
    }
    try? Runtime.finish()
    exit(error.exitStatus)
  }

  private static func integer(_ variable: String) -> Int? { getenv(variable).flatMap { Int(String(cString: $0)) } }
}

/// Several tasks were started, each alone in its world: N runs of one rank instead of one run of N ranks.
struct LoneTask: ExitStatusProviding, CustomStringConvertible {
  static let advice = "start with mpirun, or srun --mpi=pmix"
  let description: String
  /// Wrong usage.
  var exitStatus: Int32 { 64 }
}
