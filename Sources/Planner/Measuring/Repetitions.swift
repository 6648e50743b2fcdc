internal import Buffers
internal import Collectives
internal import Trainer
package import Transport

/// Times what all ranks do at once, as in a step.
package struct Repetitions {
  /// How the ranks meet: by the agreement of a step.
  let records: RecordExchange

  /// Repetitions on the ranks of `records`.
  package init(records: RecordExchange) { self.records = records }

  /// How long to measure.
  package struct Effort {
    /// The seconds for which it is repeated.
    var seconds: Double
    /// The minimum number of turns; a turn is as many repetitions as fit in an eighth of the seconds.
    var turns = 3

    /// For about this time.
    package init(seconds: Double, turns: Int = 3) { (self.seconds, self.turns) = (seconds, turns) }
  }

  /// Whose clock counts.
  enum Clock {
    /// Rank 0's, for what ends on all ranks together.
    case first
    /// That of the slowest rank, for what each does by itself.
    case slowest
  }

  /// Seconds of a round, the same on all ranks.
  ///
  /// This is the median over turns of the mean in a turn, because the parts of a step add up in the mean.
  ///
  /// Collective. A first turn, which warms caches and connections, does not count.
  func seconds(_ effort: Effort, by clock: Clock = .first, _ body: () throws -> Void) throws -> Double {
    var means: [Double] = []
    var (total, count) = (0.0, 1)
    try meet()
    while means.count <= effort.turns || total < effort.seconds {
      let stopwatch = Stopwatch()
      for _ in 0..<count { try body() }
      let meansOfRanks = try meet(saying: stopwatch.seconds / Double(count))
      let mean = clock == .first ? meansOfRanks[0] : meansOfRanks.max() ?? 0
      means.append(mean)
      if means.count > 1 { total += mean * Double(count) }
      count = max(1, min(1000, Int(effort.seconds / (8 * max(mean, 1e-9)))))
    }
    return median(of: Array(means.dropFirst())) ?? 0
  }

  /// Seconds that `body` adds to a round of `work`, the same on all ranks, on rank 0's clock; not below 0.
  ///
  /// Turns with and without it alternate, so that disturbances of the machine affect both. What ranks do together is measured
  /// among the work of a step, because the system treats processes that have just worked differently from those that only wait.
  /// Collective.
  func secondsAdded(to work: () throws -> Void, _ effort: Effort, _ body: () throws -> Void) throws -> Double {
    var (with, without): ([Double], [Double]) = ([], [])
    var (total, count) = (0.0, 1)
    try meet()
    while with.count <= effort.turns || total < effort.seconds {
      for hasBody in [true, false] {
        let stopwatch = Stopwatch()
        for _ in 0..<count {
          try work()
          if hasBody { try body() }
        }
        let mean = try meet(saying: stopwatch.seconds / Double(count))[0]
        if hasBody { with.append(mean) } else { without.append(mean) }
      }
      if with.count > 1 { total += with[with.count - 1] * Double(count) }
      count = max(1, min(1000, Int(effort.seconds / (8 * max(with[with.count - 1], 1e-9)))))
    }
    guard let longer = median(of: Array(with.dropFirst())), let shorter = median(of: Array(without.dropFirst())) else {
      return 0
    }
    return max(0, longer - shorter)
  }

  /// Waits for all ranks; returns the value of each.
  @discardableResult
  func meet(saying value: Double = 0) throws -> [Double] {
    try records.gather([value.bitPattern], activity: "the measuring of a plan").map { Double(bitPattern: $0[0]) }
  }

  /// The largest of the ranks' values.
  func largest(_ value: Double) throws -> Double { try meet(saying: value).max() ?? value }
}
