#if canImport(Glibc)
  internal import Glibc
#endif

/// What the launcher of this process tells of the job in the environment, known before MPI starts.
package enum Launcher {
  /// Where launchers write the number of a task and how many tasks they started together.
  ///
  /// The first pair that is set counts: a launcher may itself run inside a step of the next one, whose variables it hands on.
  private static let variables = [
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  // mpirun
    ("PMI_RANK", "PMI_SIZE"),  // mpiexec of MPICH and Intel MPI, srun --mpi=pmi2
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),  // mpirun_rsh of MVAPICH
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),  // srun; not SLURM_NTASKS, which batch scripts have, too
    ("MPI_LOCALRANKID", "MPI_LOCALNRANKS"),  // mpiexec of MPICH: those of this host
  ]

  /// The number of this task, from 0, and how many were started together; nil if no launcher says so.
  static let task: (number: Int, count: Int)? = {
    for (rank, size) in variables {
      if let number = integer(rank), let count = integer(size) { return (number, count) }
    }
    return nil
  }()

  /// The rank that the launcher gave this process; 0 without one.
  package static let rank = integer("OMPI_COMM_WORLD_RANK") ?? integer("PMIX_RANK") ?? task?.number ?? 0

  /// Whether all ranks have the command line of this one, so that rank 0 can say what is wrong with it.
  ///
  /// `mpirun` counts the programs that it was given. `srun` starts one, except in jobs of several components.
  package static var hasOneCommandLine: Bool {
    if let count = integer("OMPI_NUM_APP_CTX") { return count == 1 }
    return integer("SLURM_STEP_NUM_TASKS") != nil && integer("SLURM_HET_SIZE") == nil
  }

  /// Waits a second, except on rank 0: launchers may end all ranks as soon as one has failed, and rank 0 is to say why.
  package static func letRankZeroSpeak() {
    if rank != 0 { sleep(1) }
  }

  /// Whether Open MPI finds the other ranks: `mpirun` started this process, or a launcher that speaks PMIx.
  static var isKnownToMPI: Bool {
    ["OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "FLUX_TASK_RANK"].contains { (name: String) in getenv(name) != nil }
  }

  /// Throws where the launcher started several tasks and MPI sees a world of `rankCount` = 1 in each.
  static func check(rankCount: Int) throws {
    guard rankCount == 1, let task, task.count > 1 else { return }
    throw LoneTask(description: "this is task \(task.number) of \(task.count), but MPI sees one rank: \(LoneTask.advice)")
  }

  /// Ends this task, one of several that would each run alone, in the words of task 0.
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

/// Several tasks were started, each of which is alone in its world: N runs of one rank in place of one of N ranks.
struct LoneTask: ExitStatusProviding, CustomStringConvertible {
  static let advice = "start with mpirun, or srun --mpi=pmix"
  let description: String
  /// Wrong usage.
  var exitStatus: Int32 { 64 }
}
