internal import Buffers
internal import MPI
internal import Strategies
internal import Transport

/// Measures how much the times of gradients differ: from rank to rank, and from one to the next.
struct SpreadProbe {
  let repetitions: Repetitions
  let parts: StrategyParts
  /// Computes a gradient on this rank without the others.
  let gradient: () throws -> Void

  /// The fewest and the most gradients of a rank.
  private static let counts = 8...64

  /// The times of gradients, the same on all ranks, of which none waits for another: as many as fit in the seconds.
  ///
  /// Collective.
  func measure(_ effort: Repetitions.Effort) throws -> StepSpread {
    func timed() throws -> Double {
      let stopwatch = Stopwatch()
      try gradient()
      return stopwatch.seconds
    }
    let slowest = try repetitions.largest(try timed())
    let counts = SpreadProbe.counts
    let count = min(counts.upperBound, max(counts.lowerBound, Int(min(effort.seconds / max(slowest, 1e-9), 1e6))))
    try repetitions.meet()
    let own = try (0..<count).map { _ in try timed() }
    let all = try parts.hosts.enter("the measuring of a plan") { try parts.hosts.world.allGather(own) }
    return StepSpread((0..<parts.hosts.world.count).map { Array(all[$0 * count..<($0 + 1) * count]) })
  }
}
