internal import Buffers

/// How long gradients took: repeated measurements of the same number of samples on each rank.
///
/// In step, all ranks wait for the slowest; how much there is to win without waiting is in the spread alone.
public struct StepSpread: Hashable, Sendable {
  /// The seconds of each gradient, by rank, in the order of measuring.
  public let seconds: [[Double]]

  /// A spread of at least one gradient on each of at least one rank.
  public init(_ seconds: [[Double]]) {
    require(!seconds.isEmpty && seconds.allSatisfy { !$0.isEmpty }, "a spread needs a gradient of each rank")
    self.seconds = seconds
  }

  /// The mean of a rank.
  public func mean(of rank: Int) -> Double { seconds[rank].reduce(0, +) / Double(seconds[rank].count) }

  /// The standard deviation of a rank's gradients.
  public func deviation(of rank: Int) -> Double {
    let mean = mean(of: rank)
    return (seconds[rank].reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(seconds[rank].count)).squareRoot()
  }

  /// The median of the ranks' means.
  public var typicalMean: Double { median(of: seconds.indices.map(mean)) ?? 0 }

  /// The rank with the largest mean, and how many times the typical one it is.
  public var slowest: (rank: Int, factor: Double) {
    let rank = seconds.indices.max { mean(of: $0) < mean(of: $1) } ?? 0
    return (rank, typicalMean > 0 ? mean(of: rank) / typicalMean : 1)
  }

  /// The median over ranks of deviation over mean: how much gradients vary that should take the same time.
  public var variation: Double {
    median(of: seconds.indices.map { mean(of: $0) > 0 ? deviation(of: $0) / mean(of: $0) : 0 }) ?? 0
  }

  /// The same with other units, so that the typical mean is `seconds`.
  public func scaled(toTypicalMean target: Double) -> StepSpread {
    let factor = typicalMean > 0 ? target / typicalMean : 1
    return StepSpread(seconds.map { $0.map { $0 * factor } })
  }
}
