public import Checkpoints
public import MPI

/// An error in an option, described in one sentence without a full stop.
public struct OptionError: Error, ExitStatusProviding, CustomStringConvertible {
  public let description: String
  /// 64 for a command line, 65 for a configuration file.
  public let exitStatus: Int32

  /// Creates an error with this description.
  public init(_ description: String, exitStatus: TrainingError.ExitStatus = .usage) {
    self.description = description
    self.exitStatus = exitStatus.rawValue
  }
}
