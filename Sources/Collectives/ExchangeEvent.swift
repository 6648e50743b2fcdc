internal import Transport

/// A unit of work of an exchange, or a wait, for timelines.
public struct ExchangeEvent: Sendable {
  /// The kind of work.
  public enum Kind: String, Sendable {
    /// A contribution was encoded and passed on.
    case encode
    /// A code was handed to MPI, as part of ``encode`` or ``sum``.
    case send
    /// Contributions were summed by their owner, and the sum was encoded and passed on.
    case sum
    /// A sum was decoded, including the fused update unless the decoding preceded the delivery.
    case decode
    /// A sum decoded earlier was delivered, including the fused update.
    case deliver
    /// Nothing could be done, and the caller waited for the delivery.
    case wait
  }

  /// The kind of work.
  public let kind: Kind
  /// The range of values in the flat buffer; empty for a wait.
  public let elements: Range<Int>
  /// When it began.
  public let start: ContinuousClock.Instant
  /// When it ended.
  public let end: ContinuousClock.Instant
  /// The rank that a code was sent to; nil if nothing was sent.
  public let receiver: Int?
  /// The bytes sent, header included.
  public let byteCount: Int

  package init(
    kind: Kind, elements: Range<Int>, start: ContinuousClock.Instant, end: ContinuousClock.Instant, receiver: Int? = nil,
    byteCount: Int = 0
  ) {
    (self.kind, self.elements, self.start, self.end) = (kind, elements, start, end)
    (self.receiver, self.byteCount) = (receiver, byteCount)
  }
}
