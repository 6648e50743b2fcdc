/// Who is told that a rank waits for others, and after how long.
///
/// A wait that lasts is no fault yet: a host may be slow, a disk busy, a link down for a moment. Told early, people can look;
/// the run goes on, or ends when its time limit has passed.
public struct WaitNotice: Sendable {
  /// How long nothing may happen before it is told.
  public var delay: Duration
  /// Called once in each wait that lasts longer, with what the rank would throw at its time limit; by the thread that waits.
  public var tell: @Sendable (ExchangeError) -> Void

  /// A notice by `tell` after `delay`.
  public init(after delay: Duration, tell: @escaping @Sendable (ExchangeError) -> Void) {
    self.delay = delay
    self.tell = tell
  }
}
