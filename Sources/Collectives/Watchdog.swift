#if canImport(Glibc)
  internal import Glibc
#endif

/// Notices that nothing has happened for too long.
///
/// Looking at the clock costs more than an idle turn of a work loop, so it looks at every 64th.
struct Watchdog {
  /// How long nothing may happen.
  let limit: Duration
  private var lastProgress = ContinuousClock.now
  private var idleTurns = 0

  /// A watchdog that barks after `limit`.
  init(limit: Duration) { self.limit = limit }

  /// Something happened.
  mutating func progress() {
    if idleTurns >= 64 { lastProgress = ContinuousClock.now }
    idleTurns = 0
  }

  /// A new activity begins now.
  mutating func restart() {
    lastProgress = ContinuousClock.now
    idleTurns = 0
  }

  /// Nothing happened: gives the core to whoever can use it, and throws `error` once the limit is passed.
  mutating func idle(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    sched_yield()
    idleTurns += 1
    if idleTurns == 1 {
      lastProgress = ContinuousClock.now
    } else if idleTurns & 63 == 0, lastProgress + limit < ContinuousClock.now {
      throw error(limit / .seconds(1))
    }
  }
}
