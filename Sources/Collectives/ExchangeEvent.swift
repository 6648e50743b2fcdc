/// A unit of work of an exchange, or a wait, for those who draw time.
public struct ExchangeEvent: Sendable {
  /// What was done.
  public enum Kind: String, Sendable {
    /// A contribution was encoded and handed on.
    case encode
    /// Contributions were added as their owner, and the sum was encoded and handed on.
    case sum
    /// A sum was decoded, with the update that is fused into it.
    case decode
    /// Nothing could be done.
    case wait
  }

  /// What was done.
  public let kind: Kind
  /// The values it was done with, in the flat buffer; empty for a wait.
  public let elements: Range<Int>
  /// When it began.
  public let start: ContinuousClock.Instant
  /// When it ended.
  public let end: ContinuousClock.Instant
}
