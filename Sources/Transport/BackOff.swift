#if canImport(Glibc)
  internal import Glibc
#endif

/// How a thread backs off while it waits: what it does after a turn in which nothing happened.
package enum BackOff: Sendable {
  /// Yields the core for 0.2 ms to threads that are ready to run, and then sleeps for 50 µs at a time, which the system rounds up.
  ///
  /// A poll costs the time of a few system calls. Ranks that have waited for 0.2 ms mostly wait for a network or for a
  /// computation: polls take time of a shared core from it, and 50 µs of sleep matter little. An exchange of a few values
  /// between ranks with a core each ends long before that.
  case short
  /// The same, and sleeps an eighth of the wait so far besides, up to 0.4 ms.
  ///
  /// For a rank that waits for answers while others compute on its core: if several poll every 0.1 ms, each takes a tenth of the core
  /// from those. A wait becomes an eighth longer at most, and one that ends within 0.4 ms no longer at all.
  case proportional
  /// Sleeps for 0.1 ms from the first turn on: a thread beside the computation, which would take the core from it.
  case background

  /// Gives way after nothing has happened for `idle`.
  package func giveWay(after idle: Duration) {
    let nap = nap(after: idle)
    if nap > .zero { usleep(UInt32(nap / .microseconds(1))) } else { sched_yield() }
  }

  /// How long to sleep; zero for no more than to yield.
  package func nap(after idle: Duration) -> Duration {
    switch self {
    case .short: idle > .microseconds(200) ? .microseconds(50) : .zero
    case .proportional:
      BackOff.short.nap(after: idle) + (idle < .microseconds(400) ? .zero : min(idle / 8, .microseconds(400)))
    case .background: .microseconds(100)
    }
  }
}
