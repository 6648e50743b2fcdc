import Collectives
import Synchronization
import Transport

/// What notices told.
final class Told: Sendable {
  private let all = Mutex<[ExchangeError]>([])

  /// The ranks that each notice named.
  var names: [[String]] { all.withLock { $0.map(\.awaited) } }

  /// The patience of ranks that tell it after a tenth of a second.
  func patience(limit: Duration) -> Patience {
    Patience(
      limit: limit, notice: WaitNotice(after: .milliseconds(100)) { waiting, _ in self.all.withLock { $0.append(waiting) } })
  }
}
