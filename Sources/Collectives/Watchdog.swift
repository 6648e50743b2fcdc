#if canImport(Glibc)
  internal import Glibc
#endif

/// Notices that nothing has happened for too long.
struct Watchdog {
  /// How long nothing may happen.
  let limit: Duration
  /// When this rank last had something to do, as far as its idle turns tell; nil after a turn that was not idle.
  private var idleSince: ContinuousClock.Instant?
  private var lastTurn = ContinuousClock.now

  /// A watchdog that barks after `limit`.
  init(limit: Duration) { self.limit = limit }

  /// Something happened, or a new activity begins.
  mutating func progress() { idleSince = nil }

  /// Nothing can happen yet, and nobody is to blame: gives the core to whoever can use it.
  mutating func rest() {
    sched_yield()
    idleSince = nil
  }

  /// Nothing happened: gives the core to whoever can use it, and throws `error` once the limit is passed.
  mutating func idle(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    sched_yield()
    let now = ContinuousClock.now
    // A rank that was stopped itself between two turns has no reason to blame others.
    if lastTurn + limit < now { idleSince = nil }
    lastTurn = now
    guard let idleSince else {
      idleSince = now
      return
    }
    if idleSince + limit < now { throw error(limit / .seconds(1)) }
  }
}
