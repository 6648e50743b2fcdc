internal import Transport

/// A unit of work of an exchange, or a wait, for those who draw time.
public struct ExchangeEvent: Sendable {
  /// What was done.
  public enum Kind: String, Sendable {
    /// A contribution was encoded and handed on.
    case encode
    /// A code was handed to MPI, as a part of ``encode`` or ``sum``.
    case send
    /// Contributions were added as their owner, and the sum was encoded and handed on.
    case sum
    /// A sum was decoded, with the update that is fused into it; without it where that was done before the delivery.
    case decode
    /// A sum that was decoded before was delivered, with the update that is fused into that.
    case deliver
    /// Nothing could be done, and the caller waited for the delivery.
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
  /// The rank that a code was sent to; nil for what is not sent.
  public let receiver: Int?
  /// The bytes that were sent, the header included.
  public let byteCount: Int

  package init(
    kind: Kind, elements: Range<Int>, start: ContinuousClock.Instant, end: ContinuousClock.Instant, receiver: Int? = nil,
    byteCount: Int = 0
  ) {
    (self.kind, self.elements, self.start, self.end) = (kind, elements, start, end)
    (self.receiver, self.byteCount) = (receiver, byteCount)
  }
}
