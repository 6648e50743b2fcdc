/// How long ranks wait for one another: when a wait is reported, and when the ranks give up.
///
/// A ``HostMap`` carries it, and everything that waits takes it from there, so that no wait is without a limit.
public struct Patience: Sendable {
  /// How long nothing may happen before a wait ends with an error.
  public var limit: Duration
  /// How waits are reported earlier; nil if they are not.
  public var notice: WaitNotice?

  /// Sets a limit, one minute by default, and a notice, none by default.
  public init(limit: Duration = .seconds(60), notice: WaitNotice? = nil) {
    self.limit = limit
    self.notice = notice
  }

  /// The limit multiplied by `factor`, with the same notice: disks are slower than messages.
  public func times(_ factor: Double) -> Patience { Patience(limit: limit * factor, notice: notice) }

  /// At least this limit, and a notice, if there is one, after this delay at least: for ranks that may be as late as something takes.
  package func atLeast(_ limit: Duration, notice delay: Duration) -> Patience {
    var patience = Patience(limit: max(self.limit, limit), notice: notice)
    patience.notice?.delay = max(notice?.delay ?? delay, delay)
    return patience
  }

  /// The same limit, without a notice.
  package var silent: Patience { Patience(limit: limit) }
}

/// How a rank's wait for others is reported, and after how long.
///
/// A long wait is not yet a fault: a host may be slow, a disk busy, a link down for a moment. An early report lets people look;
/// the run goes on, or ends when its time limit has passed.
public struct WaitNotice: Sendable {
  /// The rank that waits.
  public struct Witness: Sendable {
    /// Its name for people.
    public let name: String
    /// Whether it is the lowest of the ranks not awaited, and so may report for them.
    public let isFirst: Bool
  }

  /// How long nothing may happen before the wait is reported.
  public var delay: Duration
  /// Called with the error the rank would throw at its time limit, by the waiting thread: once in each wait longer than the
  /// delay, and at most once in six delays.
  public var tell: @Sendable (ExchangeError, Witness) -> Void

  /// Creates a notice by `tell` after `delay`.
  public init(after delay: Duration, tell: @escaping @Sendable (ExchangeError, Witness) -> Void) {
    self.delay = delay
    self.tell = tell
  }
}
