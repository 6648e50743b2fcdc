#if canImport(Glibc)
  internal import Glibc
#endif

/// How a waiting rank gives its core away between two looks: it yields, and sleeps once it has waited for long.
///
/// A yield answers within a microsecond where the core is free. Where ranks share cores it hands the core from one waiting rank to
/// the next, and the rank that computes gets only its turn among them: there a waiting rank soon sleeps. Which of the two it is,
/// the yields tell by the time that they take. On a free core, too, a long wait ends in sleep, so that a core's other hardware
/// thread gets all of it; a nap is short against the wait by then.
struct Backoff {
  /// How long a nap is, in microseconds; the system adds some fifty.
  private static let nap: UInt32 = 50
  /// The wait after which ranks nap that share a core.
  private static let patience = Duration.microseconds(50)
  /// The wait after which a rank naps that has a core for itself: forty naps.
  private static let patienceOnFreeCore = Duration.milliseconds(2)
  /// A yield that takes longer has let somebody else run.
  private static let freeYield = Duration.microseconds(3)
  /// The longest yield that counts as it is; one that takes a whole slice of the scheduler says no more.
  private static let longestYield = Duration.microseconds(24)

  /// What yields took lately: a mean in which each counts for an eighth.
  private var yieldTime = Duration.zero

  /// Gives the core away for a moment, in a wait that has lasted `idle` so far.
  mutating func giveWay(idle: Duration) {
    let patience = yieldTime > Backoff.freeYield ? Backoff.patience : Backoff.patienceOnFreeCore
    guard idle < patience else {
      usleep(Backoff.nap)
      return
    }
    let start = ContinuousClock.now
    sched_yield()
    yieldTime += (min(.now - start, Backoff.longestYield) - yieldTime) / 8
  }
}
