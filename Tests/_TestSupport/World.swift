public import MPI
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// The world of the test process: one for all tests, started at first use when `mpirun` launched the process, ended at exit.
///
/// Tests of several ranks run in the same order on all ranks (`--no-parallel`) and use this world or parts of it.
public enum World {
  /// All ranks that run the tests.
  public static var communicator: Communicator {
    if checksMarks { recordMisuse() }
    return started
  }

  /// Under mpirun, tests of one process are skipped; to look for marks takes longer than much of what tests do.
  private static let checksMarks = !isLaunched

  /// Fails a test that is marked as one that needs no ranks.
  private static func recordMisuse() {
    let traits = Test.current?.traits.compactMap { $0 as? ConditionTrait } ?? []
    if traits.contains(where: { $0.comments.contains(oneProcessReason) }) {
      Issue.record("a test that uses the world belongs on all numbers of ranks: it cannot be .oneProcess")
    }
  }

  private static let started: Communicator = {
    do {
      let world = try Communicator.startWorld(threads: .multiple)
      // Without an end of MPI, mpirun calls the job failed even when all tests passed.
      atexit { try? Runtime.finish() }
      return world
    } catch {
      fatalError("MPI cannot be started: \(error)")
    }
  }()

  /// This rank.
  public static var rank: Int { communicator.rank }

  /// The number of ranks.
  public static var count: Int { communicator.count }

  /// Whether `mpirun` launched this process.
  ///
  /// If so, it must not start processes of its own that use MPI.
  public static var isLaunched: Bool { Runtime.isLaunched }
}
