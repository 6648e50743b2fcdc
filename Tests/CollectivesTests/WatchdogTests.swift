import Collectives
import Foundation
import Synchronization
import Testing
import Transport
import _TestSupport

/// When a rank that waits complains, and of what: of the others' silence, never of its own.
@Suite struct WatchdogTests {
  private func late(_ seconds: Double) -> ExchangeError {
    .timedOut(activity: "a test", awaited: ["somebody"], seconds: seconds)
  }

  /// Looks every millisecond until it barks, at most for half a minute; what it barks after, and says.
  private func bark(_ watchdog: inout Watchdog) -> (after: Duration, error: ExchangeError)? {
    let start = ContinuousClock.now
    while ContinuousClock.now < start + .seconds(30) {
      do { try watchdog.check(late) } catch { return (.now - start, error) }
      usleep(1000)
    }
    return nil
  }

  @Test(.oneProcess) func silenceIsNoticedAfterTheLimit() throws {
    var watchdog = Watchdog(Patience(limit: .milliseconds(300)))
    let (after, error) = try #require(bark(&watchdog))
    #expect(after >= .milliseconds(300))
    #expect("\(error)" == "\(late(0.3))")
    // Whatever happens is a new beginning.
    watchdog.progress()
    #expect(try #require(bark(&watchdog)).after >= .milliseconds(300))
  }

  @Test(.oneProcess) func aNoticeComesBeforeAndOnce() throws {
    let told = Mutex<[String]>([])
    let notice = WaitNotice(after: .milliseconds(500)) { error, _ in told.withLock { $0.append("\(error)") } }
    // Longer than the time after which another wait would be reported.
    var watchdog = Watchdog(Patience(limit: .milliseconds(4500), notice: notice))
    _ = try #require(bark(&watchdog))
    #expect(told.withLock { $0 } == ["\(late(0.5))"])
  }

  /// Waits yield first, then sleep for a moment; those for answers for longer and longer, up to a limit.
  @Test(.oneProcess, arguments: [(0, 0, 0), (200, 0, 0), (300, 50, 50), (400, 50, 100), (1600, 50, 250), (9_000_000, 50, 450)])
  func napsGrowUpToALimit(_ idle: Int, _ short: Int, _ proportional: Int) {
    let idle = Duration.microseconds(idle)
    #expect(BackOff.short.nap(after: idle) == .microseconds(short))
    #expect(BackOff.proportional.nap(after: idle) == .microseconds(proportional))
    #expect(BackOff.background.nap(after: idle) == .microseconds(100))
  }

  /// A process that was stopped for longer than the limit finds messages that wait for it, and has nobody to blame.
  @Test(.oneProcess) func aRankThatWasStoppedItselfBlamesNobody() throws {
    let told = Mutex(0)
    let notice = WaitNotice(after: .milliseconds(20)) { _, _ in told.withLock { $0 += 1 } }
    var watchdog = Watchdog(Patience(limit: .milliseconds(50), notice: notice))
    for _ in 0..<5 {
      try watchdog.check(late)
      usleep(120_000)
    }
    try watchdog.check(late)
    #expect(told.withLock { $0 } == 0)
  }
}
