/// How long ranks wait for one another: when it is told that one keeps the others waiting, and when they give up.
///
/// A ``HostMap`` carries it, and whatever waits takes it from there, so that nothing can wait without.
public struct Patience: Sendable {
  /// How long nothing may happen before a wait ends with an error.
  public var limit: Duration
  /// Who is told earlier; nil where nobody is.
  public var notice: WaitNotice?

  /// A minute, and nobody is told before, unless something else is said.
  public init(limit: Duration = .seconds(60), notice: WaitNotice? = nil) {
    self.limit = limit
    self.notice = notice
  }

  /// A limit that is `factor` times as long, and the same notice: disks are slower than messages.
  public func times(_ factor: Double) -> Patience { Patience(limit: limit * factor, notice: notice) }

  /// The same limit, and nobody is told.
  package var silent: Patience { Patience(limit: limit) }
}

/// Who is told that a rank waits for others, and after how long.
///
/// A wait that lasts is no fault yet: a host may be slow, a disk busy, a link down for a moment. Told early, people can look;
/// the run goes on, or ends when its time limit has passed.
public struct WaitNotice: Sendable {
  /// The rank that waits.
  public struct Witness: Sendable {
    /// As people know it.
    public let name: String
    /// Whether it is the lowest of those that are not awaited, so that it may speak for them.
    public let isFirst: Bool
  }

  /// How long nothing may happen before it is told.
  public var delay: Duration
  /// Called with what the rank would throw at its time limit, once in each wait that lasts longer and in six such times at most; by
  /// the thread that waits.
  public var tell: @Sendable (ExchangeError, Witness) -> Void

  /// A notice by `tell` after `delay`.
  public init(after delay: Duration, tell: @escaping @Sendable (ExchangeError, Witness) -> Void) {
    self.delay = delay
    self.tell = tell
  }
}
