internal import Buffers
internal import Checkpoints
internal import Collectives
internal import Kernels
internal import Transport

/// Which ranks own shards.
///
/// Every push waits for the slowest owner's answer, so that a slow rank slows all workers down by what it owns, however seldom it pushes.
package enum OwnerChoice: String, CaseIterable, Sendable {
  /// All of them.
  case all
  /// Those that are at least half as fast as the median, measured at the start of a live run; a replay has the owners of the recorded run.
  case fast

  /// The key of a specification.
  static let key = (
    name: "owners",
    meaning:
      "the ranks that own shards: all, or fast, those that compute at least half as fast as the median at the start (all)"
  )

  /// The seconds of the measurement: many times those for which a system lets a process run, or wait.
  private static let seconds = 0.3

  /// The share of each rank; nil if all own as much.
  ///
  /// Collective.
  func shares(_ parts: StrategyParts) throws -> [Int]? {
    let rankCount = parts.grid.shareCount
    if let replayed = parts.replayed {
      let shares = replayed.owners.map { owners in (0..<rankCount).map { owners.contains($0) ? 1 : 0 } }
      // A record of more ranks is refused when it is followed.
      return shares?.contains(1) == true ? shares : nil
    }
    guard self == .fast, rankCount > 1 else { return nil }
    guard parts.options.emulateSpeed == nil else {
      throw OptionError(
        "--strategy: owners=fast measures this machine, and --emulate-speed gives the speeds: leave one of them out")
    }
    return Self.shares(ofSpeeds: try Self.speeds(of: parts))
  }

  /// The shares of ranks that are as fast as these numbers say.
  package static func shares(ofSpeeds speeds: [Double]) -> [Int]? {
    let half = (median(of: speeds) ?? 0) / 2
    let shares = speeds.map { $0 >= half ? 1 : 0 }
    return shares.contains(0) ? shares : nil
  }

  /// What each rank computes in the same time, while the others do.
  private static func speeds(of parts: StrategyParts) throws -> [Double] {
    // In the cache, as what owners work on.
    let values = FloatBuffer(count: 4096)
    for index in 0..<values.count { values[index] = Float(index) }
    _ = try parts.records.gather([0], activity: "the measurement of speeds")
    let stopwatch = Stopwatch()
    var (count, sum) = (0, 0.0)
    while stopwatch.seconds < seconds {
      for _ in 0..<16 { sum += values.sumOfSquares }
      count += 1
    }
    require(sum > 0, "the measurement of speeds computes nothing")
    return try parts.records.gather([UInt64(count)], activity: "the measurement of speeds").map { Double($0[0]) }
  }
}
