internal import Synchronization

/// The ranks that may keep one another waiting, with their names, and how patient they are.
package struct WaitingRanks: Sendable {
  /// The rank that waits.
  let rank: Int
  /// The names of all ranks.
  let names: [String]
  var patience: Patience
  /// The ranks on this host, as the system sees them; nil before they are known.
  let neighbours: Neighbours?

  /// The names of the awaited ranks, and of those of this host that are stopped or have ended.
  func names(ofAwaited awaited: [Int]) -> [String] {
    Set(awaited + (neighbours?.idle ?? [])).sorted().map { names[$0] }
  }

  /// Reports that this rank has waited longer than the notice's delay.
  func tell(_ waiting: ExchangeError) {
    guard let notice = patience.notice else { return }
    let awaited = waiting.awaited
    let speaker = names.firstIndex { !awaited.contains($0) }
    notice.tell(waiting, WaitNotice.Witness(name: names[rank], isFirst: speaker == rank))
  }
}

/// How long this process has been waiting for other ranks, for observers outside the wait.
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

  /// How long nothing has come from others; zero while this rank has something to do.
  package static var duration: Duration {
    let now = milliseconds(.now - origin)
    let last = lastTurn.load(ordering: .relaxed)
    return now - last < 100 ? .milliseconds(now - start.load(ordering: .relaxed)) : .zero
  }

  private static func milliseconds(_ duration: Duration) -> Int { Int(duration / .milliseconds(1)) }
}

/// Detects that nothing has happened for too long.
package struct Watchdog {
  /// The least number of delays between two notices: a rank that is always slow is not reported in every step.
  private static let delaysBetweenNotices = 6

  private var ranks: WaitingRanks
  private let backOff: BackOff
  /// When this rank last had something to do, as far as its idle turns show; nil after a turn that was not idle.
  private var idleSince: ContinuousClock.Instant?
  private var lastTurn = ContinuousClock.now
  private var hasTold = false
  private var lastTold: ContinuousClock.Instant?

  /// Creates a watchdog of waits for `ranks`, which throws when their patience ends, and reports before that.
  package init(_ ranks: WaitingRanks, backOff: BackOff = .short) { (self.ranks, self.backOff) = (ranks, backOff) }

  /// Creates a watchdog of a rank without others, for tests.
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

  /// Nothing can happen yet, and no rank is to blame.
  package mutating func rest() { idleSince = nil }

  /// Nothing happened: backs off, throws `error` once the limit has passed, and reports it earlier if there is a notice.
  mutating func idle(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    giveWay()
    try check(error)
  }

  /// Nothing happened: throws `error` once the limit has passed.
  package mutating func check(_ error: (_ seconds: Double) -> ExchangeError) throws(ExchangeError) {
    let now = ContinuousClock.now
    let (limit, notice) = (ranks.patience.limit, ranks.patience.notice)
    // A rank that was itself stopped between two turns has no reason to blame others.
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

  /// Backs off, by how long there has been nothing to do.
  package func giveWay() { backOff.giveWay(after: idleSince.map { lastTurn - $0 } ?? .zero) }
}
