internal import Transport

/// Keeps the time of an exchange: its units of work and its waits, which are reported to the observer, and which the watchdog ends.
final class ExchangeClock {
  private let observer: ((ExchangeEvent) -> Void)?
  private var watchdog: Watchdog
  private var waitingSince: ContinuousClock.Instant?
  private(set) var timing = ExchangeTiming()

  init(_ hosts: HostMap, observer: ((ExchangeEvent) -> Void)?) {
    self.observer = observer
    watchdog = Watchdog(hosts.waitingRanks)
  }

  /// An exchange begins.
  func begin() { watchdog.progress() }

  /// A unit of work, which began at `start`, is done.
  func note(_ kind: ExchangeEvent.Kind, _ elements: Range<Int>, since start: ContinuousClock.Instant) {
    let end = ContinuousClock.now
    switch kind {
    case .encode, .send: timing.encode += end - start
    case .sum: timing.sum += end - start
    case .decode, .deliver, .wait: timing.decode += end - start
    }
    if let observer {
      endWait(at: start)
      observer(ExchangeEvent(kind: kind, elements: elements, start: start, end: end))
    }
    watchdog.progress()
  }

  /// Nothing can be done, as was found from `start` on.
  ///
  /// - Parameters:
  ///   - isWanted: Whether the caller waits for the end; before that, a turn without work costs nothing.
  ///   - isForOthers: Whether other ranks are to blame.
  ///   - error: What is thrown when their patience ends.
  func wait(
    since start: ContinuousClock.Instant, isWanted: Bool, isForOthers: Bool, _ error: (_ seconds: Double) -> ExchangeError
  ) throws {
    if observer != nil && waitingSince == nil && isWanted { waitingSince = start }
    guard isForOthers else { return watchdog.rest() }
    try watchdog.check(error)
  }

  /// A wait, if there is one, ended at `end`.
  func endWait(at end: ContinuousClock.Instant) {
    guard let start = waitingSince else { return }
    observer?(ExchangeEvent(kind: .wait, elements: 0..<0, start: start, end: end))
    waitingSince = nil
  }

  /// Calls `advance` until the exchange has ended, and gives way to others while there is nothing to do.
  func finish(_ advance: () throws -> ExchangeTurn) throws {
    var idleSince: ContinuousClock.Instant?
    while true {
      // The wait ends where the next turn with work begins, which is counted by `note`.
      let start = idleSince == nil ? nil : ContinuousClock.now
      let turn = try advance()
      if turn == .idle {
        if idleSince == nil { idleSince = .now }
        watchdog.giveWay()
        continue
      }
      if let idleSince, let start { timing.wait += start - idleSince }
      idleSince = nil
      if turn == .done { return }
    }
  }
}
