internal import Buffers
internal import Collectives
internal import Transport

/// The times of exchanges, floats against codes: the basis of a run's final verdict.
struct ExchangeComparison {
  /// Enough for a median; a run of a million steps keeps no more.
  private static let capacity = 4096

  private var floats: [Double] = []
  private var codes: [Double] = []
  /// The median seconds of each kind on this rank, and after ``settle(over:)`` on the slowest; nil if none was timed.
  private(set) var floatSeconds: Double?
  private(set) var codedSeconds: Double?

  /// Records the seconds of an exchange with its update.
  mutating func add(_ seconds: Double, isFloat: Bool) {
    if isFloat {
      if floats.count < ExchangeComparison.capacity { floats.append(seconds) }
    } else if codes.count < ExchangeComparison.capacity {
      codes.append(seconds)
    }
  }

  /// Computes the medians, and the slowest rank's of each.
  ///
  /// Collective; one record.
  mutating func settle(over records: RecordExchange) throws {
    let own = [median(of: floats) ?? -1, median(of: codes) ?? -1]
    let all = try records.gather(own.map(\.bitPattern), activity: "the comparison of times")
    func slowest(_ word: Int) -> Double? {
      let seconds = all.map { Double(bitPattern: $0[word]) }.max() ?? -1
      return seconds < 0 ? nil : seconds
    }
    floatSeconds = slowest(0)
    codedSeconds = slowest(1)
  }
}
