internal import Synchronization

#if canImport(Glibc)
  internal import Glibc
#endif

/// The ranks that may keep one another waiting, as people know them, and how patient they are.
package struct WaitingRanks: Sendable {
  /// The rank that waits.
  let rank: Int
  /// The names of all.
  let names: [String]
  var patience: Patience
  /// Those on this host, as the system sees them; nil before they are known.
  let neighbours: Neighbours?

  /// Says that this rank has waited for longer than the notice's delay.
  func tell(_ waiting: ExchangeError) {
    guard let notice = patience.notice else { return }
    let awaited = waiting.awaited
    let speaker = names.firstIndex { !awaited.contains($0) }
    notice.tell(waiting, WaitNotice.Witness(name: names[rank], isFirst: speaker == rank))
  }
}

/// How long this process has been waiting for other ranks, for whoever wants to know from outside.
package enum CurrentWait {
  private static let origin = ContinuousClock.now
  /// In milliseconds since the origin: when a rank last found nothing to do, and since when.
  private static let lastTurn = Atomic<Int>(.min / 2)
  private static let start = Atomic<Int>(0)

  static func note(_ duration: Duration, at now: ContinuousClock.Instant) {
    let time = milliseconds(now - origin)
    lastTurn.store(time, ordering: .relaxed)
    start.store(time - milliseconds(duration), ordering: .relaxed)
  }

  /// Since when nothing has come from others; zero while this rank has something to do.
  package static var duration: Duration {
    let now = milliseconds(.now - origin)
    let last = lastTurn.load(ordering: .relaxed)
    return now - last < 100 ? .milliseconds(now - start.load(ordering: .relaxed)) : .zero
  }

  private static func milliseconds(_ duration: Duration) -> Int { Int(duration / .milliseconds(1)) }
}

/// Notices that nothing has happened for too long.
package struct Watchdog {
  /// So many delays pass at least between two notices: a rank that is always slow is not told of in every step.
  private static let delaysBetweenNotices = 6
  /// For so long a rank only yields between its looks; then it sleeps for so many microseconds, which the system rounds up.
  private static let timeOfYields = Duration.microseconds(200)
  private static let nap: UInt32 = 50

  private var ranks: WaitingRanks
  /// When this rank last had something to do, as far as its idle turns tell; nil after a turn that was not idle.
  private var idleSince: ContinuousClock.Instant?
  private var lastTurn = ContinuousClock.now
  private var hasTold = false
  private var lastTold: ContinuousClock.Instant?

  /// A watchdog of waits for `ranks`, which barks when their patience ends, and growls before that.
  package init(_ ranks: WaitingRanks) { self.ranks = ranks }

  /// A watchdog of a rank without others, for tests.
  package init(_ patience: Patience) {
    self.init(WaitingRanks(rank: 0, names: ["rank 0"], patience: patience, neighbours: nil))
  }

  /// Something happened, or a new activity begins.
  package mutating func progress() { idleSince = nil }

  /// A new activity begins, for which ranks have this patience.
  mutating func begin(_ patience: Patience) {
    ranks.patience = patience
    progress()
  }

  /// Nothing can happen yet, and nobody is to blame.
  package mutating func rest() { idleSince = nil }

  /// Nothing happened: gives the core to whoever can use it, and throws `error` once the limit is passed; tells it
  /// to whoever wants to know earlier.
  mutating func idle(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    giveWay()
    try check(error)
  }

  /// Nothing happened: throws `error` once the limit is passed.
  package mutating func check(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    let now = ContinuousClock.now
    let (limit, notice) = (ranks.patience.limit, ranks.patience.notice)
    // A rank that was stopped itself between two turns has no reason to blame others.
    if lastTurn + min(limit, notice?.delay ?? limit) < now { idleSince = nil }
    lastTurn = now
    guard let idleSince else {
      idleSince = now
      hasTold = false
      return
    }
    CurrentWait.note(now - idleSince, at: now)
    if idleSince + limit < now { throw error(limit / .seconds(1)) }
    guard let notice, !hasTold, idleSince + notice.delay < now else { return }
    hasTold = true
    if let lastTold, lastTold + notice.delay * Watchdog.delaysBetweenNotices > now { return }
    lastTold = now
    ranks.tell(error(notice.delay / .seconds(1)))
  }

  /// Gives the core to whoever can use it: to all that are ready to run, and after a while without anything to do for a moment of
  /// sleep.
  ///
  /// A look for messages costs the time of some system calls. Ranks that have waited for a fifth of a millisecond mostly wait for a
  /// network or for a computation, to which such looks leave less of a core that is shared, and to them fifty microseconds are little. An
  /// exchange of a few values between ranks that have a core each ends long before.
  package func giveWay() {
    guard let idleSince, idleSince + Watchdog.timeOfYields < lastTurn else {
      sched_yield()
      return
    }
    usleep(Watchdog.nap)
  }
}
