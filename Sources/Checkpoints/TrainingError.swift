public import MPI

/// Why a run cannot start or go on, in one sentence, with the exit status of all its ranks.
public struct TrainingError: Error, ExitStatusProviding, CustomStringConvertible {
  public let description: String
  public let exitStatus: Int32

  /// An error with the message `description`.
  public init(_ description: String, exitStatus: ExitStatus) {
    self.description = description
    self.exitStatus = exitStatus.rawValue
  }

  /// The exit statuses; numbers as in `sysexits.h`.
  public enum ExitStatus: Int32, Sendable {
    /// The command line is wrong.
    case usage = 64
    /// The configuration or the data are wrong.
    case configuration = 65
    /// The program has a bug.
    case `internal` = 70
    /// A file could not be read or written.
    case inputOutput = 74
    /// A peer failed or the job was asked to stop; the run can be resumed.
    case peers = 75
  }
}
