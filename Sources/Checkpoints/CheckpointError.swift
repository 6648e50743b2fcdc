public import MPI

/// Why a run cannot use its checkpoints, in one sentence without a full stop.
public struct CheckpointError: ExitStatusProviding, CustomStringConvertible, Equatable {
  /// What kind of fault it is; decides on the exit status.
  public enum Kind: Sendable {
    /// The checkpoint is not one that this run may use, or is damaged: status 65.
    case configuration
    /// The file system refuses: status 74.
    case inputOutput
  }

  /// What kind of fault it is.
  public let kind: Kind
  /// The sentence.
  public let description: String

  /// The exit status of a rank that ends because of this.
  public var exitStatus: Int32 { kind == .configuration ? 65 : 74 }

  /// An error that says `description`.
  public init(_ kind: Kind, _ description: String) {
    self.kind = kind
    self.description = description
  }
}
