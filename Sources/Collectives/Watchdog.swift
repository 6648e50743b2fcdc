#if canImport(Glibc)
  internal import Glibc
#endif

/// Notices that nothing has happened for too long.
struct Watchdog {
  /// How long nothing may happen.
  let limit: Duration
  /// Who is told before that.
  let notice: WaitNotice?
  /// When this rank last had something to do, as far as its idle turns tell; nil after a turn that was not idle.
  private var idleSince: ContinuousClock.Instant?
  private var lastTurn = ContinuousClock.now
  private var hasTold = false

  /// A watchdog that barks after `limit`, and growls before that.
  init(limit: Duration, notice: WaitNotice? = nil) {
    self.limit = limit
    self.notice = notice
  }

  /// Something happened, or a new activity begins.
  mutating func progress() { idleSince = nil }

  /// Nothing can happen yet, and nobody is to blame.
  mutating func rest() { idleSince = nil }

  /// Nothing happened: gives the core to whoever can use it, and throws `error` once the limit is passed; tells it
  /// to whoever wants to know earlier.
  mutating func idle(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    Watchdog.giveWay()
    try check(error)
  }

  /// Nothing happened: throws `error` once the limit is passed.
  mutating func check(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    let now = ContinuousClock.now
    // A rank that was stopped itself between two turns has no reason to blame others.
    if lastTurn + min(limit, notice?.delay ?? limit) < now { idleSince = nil }
    lastTurn = now
    guard let idleSince else {
      idleSince = now
      hasTold = false
      return
    }
    if idleSince + limit < now { throw error(limit / .seconds(1)) }
    guard let notice, !hasTold, idleSince + notice.delay < now else { return }
    hasTold = true
    notice.tell(error(notice.delay / .seconds(1)))
  }

  /// Gives the core to whoever can use it.
  static func giveWay() { sched_yield() }
}
