internal import Buffers

/// Who has uploaded when: the same on every rank.
struct UploadLedger {
  /// The uploads of each rank so far.
  private(set) var uploads: [Int]
  /// The exchanges so far.
  private(set) var exchangeCount = 0
  /// Those before everything was forgotten last.
  private var forgottenCount = 0
  /// The exchanges in a row to which a rank has not uploaded.
  private(set) var silence: [Int]

  init(rankCount: Int) {
    uploads = Array(repeating: 0, count: rankCount)
    silence = uploads
  }

  /// Whether a rank must upload to the next exchange.
  func mustUpload(_ rank: Int, _ settings: LazySettings) -> Bool {
    exchangeCount - forgottenCount < settings.forcedCount || silence[rank] >= settings.longestSilence
  }

  /// Notes who has uploaded to an exchange.
  mutating func note(_ senders: [Bool]) {
    exchangeCount += 1
    for (rank, isSender) in senders.enumerated() {
      uploads[rank] += isSender ? 1 : 0
      silence[rank] = isSender ? 0 : silence[rank] + 1
    }
  }

  /// All upload to the next exchanges, as at the start.
  mutating func startAnew() { forgottenCount = exchangeCount }

  // MARK: State

  func contribute(to inventory: inout StateInventory) {
    func text(_ numbers: [Int]) -> String { numbers.map(String.init).joined(separator: " ") }
    inventory.counters["lazyUploads"] = text(uploads)
    inventory.counters["lazySilence"] = text(silence)
    inventory.counters["lazyExchanges"] = text([exchangeCount, forgottenCount])
  }

  /// Restores the counts of as many ranks; those of another number of ranks begin anew.
  ///
  /// - Returns: Whether that was possible.
  mutating func restore(_ counters: [String: String]) -> Bool {
    func numbers(_ key: String) -> [Int] { (counters[key] ?? "").split(separator: " ").compactMap { Int($0) } }
    let (saved, silent, exchanges) = (numbers("lazyUploads"), numbers("lazySilence"), numbers("lazyExchanges"))
    guard saved.count == uploads.count, silent.count == saved.count, exchanges.count == 2 else { return false }
    (uploads, silence) = (saved, silent)
    (exchangeCount, forgottenCount) = (exchanges[0], exchanges[1])
    return true
  }
}
