public import MPI

/// Why a run cannot use its checkpoints, in one sentence without a full stop.
public struct CheckpointError: ExitStatusProviding, CustomStringConvertible, Equatable {
  /// The kind of fault; determines the exit status.
  public enum Kind: Sendable {
    /// The checkpoint is damaged or not usable by this run: status 65.
    case configuration
    /// The file system reports an error: status 74.
    case inputOutput
  }

  /// The kind of fault.
  public let kind: Kind
  /// The message.
  public let description: String

  /// The exit status of a rank that ends because of this.
  public var exitStatus: Int32 { kind == .configuration ? 65 : 74 }

  /// An error with the message `description`.
  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}
