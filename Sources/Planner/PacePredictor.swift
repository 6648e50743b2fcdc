internal import Buffers
public import Codecs
public import Collectives
internal import PointToPoint
public import Strategies

/// How many gradients a second a kind of run applies, each of a worker's share of a step.
public struct PacePrediction: Hashable, Sendable {
  /// What decides how fast it is.
  public enum Limit: String, Hashable, Sendable {
    /// What a worker does from one push to the next, or the worker that others wait for.
    case workers
    /// The link of a host.
    case link
    /// The work of owners, on the cores of the workers.
    case owners
  }

  /// The strategy's specification.
  public var strategy: String
  /// Gradients per second over all ranks.
  public var gradientsPerSecond: Double
  /// The share of their time in which workers wait for slower ones.
  public var waiting: Double
  /// The mean number of pushes between a worker's pull and its push; 0 in step.
  public var staleness: Double
  /// What decides how fast it is.
  public var limit: Limit
}

/// Predicts the pace of runs in step, with a bound and without one, from the measured spread of the times of gradients.
///
/// In step, and with a bound, workers of the measured times are followed through emulated time by the rules of the owners
/// (`EmulatedSpeed`), each gradient with what a push and its answer add. Without a bound the rate is Σ 1/(dₖ + p), dₖ being the mean of
/// worker k and p the push. No rate is above what links carry, or above Σ 1/(dₖ + e) / (1 + o·Σ 1/(dₖ + e)), where e is the work of a
/// worker and o that of an owner for a push: cores do both.
///
/// Source: the closed forms of experiments §2; costs as in ``StepPredictor``.
public struct PacePredictor: Sendable {
  /// The costs of steps, and the model.
  public let steps: StepPredictor
  /// The spread of the times of gradients.
  public let spread: StepSpread

  /// The gradients of a worker that are followed through emulated time.
  private static let length = 200

  /// A predictor.
  public init(_ steps: StepPredictor, spread: StepSpread) { (self.steps, self.spread) = (steps, spread) }

  /// What a push costs with `codec` on `ranks` ranks, for each of its gradients.
  private struct Push {
    /// Seconds from a gradient to the values for the next.
    var latency = 0.0
    /// Seconds in which the worker's core is busy with it, beside the gradient.
    var worker = 0.0
    /// Seconds of each owner's core.
    var owner = 0.0
    /// Seconds of the busiest host's link.
    var link = 0.0

    /// The same for each of `count` gradients.
    func shared(by count: Int) -> Push {
      let count = Double(count)
      return Push(latency: latency / count, worker: worker / count, owner: owner / count, link: link / count)
    }
  }

  /// The pace of a strategy whose workers may be `bound` pushes ahead of the slowest, nil for any number, and push and pull by `pattern`;
  /// nil if the costs of the link are unknown, or there are fewer samples than ranks.
  public func asynchronous(
    _ strategy: String, bound: ClosedRange<Int>?, pattern: PushPattern = PushPattern(), codec: any Codec, ranks: Int
  ) -> PacePrediction? {
    guard ranks >= 1, ranks <= steps.minibatch, let push = push(codec, pattern, ranks: ranks) else { return nil }
    let times = gradientSeconds(ranks: ranks)
    // A pipelined worker waits only for what takes longer than its next gradients.
    let (pace, waiting) = pace(
      times.map { $0.map { pattern.isPipelined ? max($0 + push.worker, push.latency) : $0 + push.latency } }, bound: bound,
      pattern, ranks: ranks)
    let busy = (0..<ranks).reduce(0) { $0 + 1 / (mean(times[$1 % times.count]) + push.worker) }
    let limits: [(PacePrediction.Limit, Double)] = [
      (.workers, pace), (.link, push.link > 0 ? 1 / push.link : .infinity), (.owners, busy / (1 + push.owner * busy)),
    ]
    let (limit, rate) = limits.min { $0.1 < $1.1 } ?? limits[0]
    return PacePrediction(
      strategy: strategy, gradientsPerSecond: rate, waiting: waiting, staleness: Double(ranks - 1), limit: limit)
  }

  /// The pace of workers that average their models with a neighbour's, half of which ask; nil as without a bound.
  ///
  /// A worker that asks sends its model and takes the mean while it computes; one that is asked answers between layers.
  public func pairs(_ strategy: String, ranks: Int) -> PacePrediction? {
    guard ranks >= 1, ranks <= steps.minibatch else { return nil }
    let (costs, bytes) = (steps.costs, 4 * Double(steps.layout.count))
    var (answer, link) = (0.0, 0.0)
    if ranks > 1 {
      let isAcrossHosts = ranks > costs.ranksPerHost
      guard let costs = isAcrossHosts ? costs.network : costs.memory else { return nil }
      answer = 2 * (costs.stageSeconds(peers: 1) + costs.transfer.seconds(for: bytes))
      // Of a pair's two gradients each worker sends one model, which leaves the host in most graphs.
      let sharers = isAcrossHosts ? Double(steps.costs.ranksPerHost) : 1
      link = costs.transfer.seconds(for: bytes * sharers) / Double(ranks)
    }
    let times = gradientSeconds(ranks: ranks)
    let pace = (0..<ranks).reduce(0) { sum, rank in
      let computing = mean(times[rank % times.count])
      return sum + 1 / (costs.updateSeconds + (rank % 2 == 1 ? max(computing, answer) : computing))
    }
    let isBound = link * pace > 1
    return PacePrediction(
      strategy: strategy, gradientsPerSecond: isBound ? 1 / link : pace, waiting: 0, staleness: 0,
      limit: isBound ? .link : .workers)
  }

  /// The pace of a strategy in step.
  ///
  /// - Throws: As ``StepPredictor/predict(_:ranks:topology:strategy:)``.
  public func inStep(
    _ strategy: PlannedStrategy, _ aggregation: AggregationRecipe, ranks: Int, topology: PlanTopology = .flat
  ) throws -> PacePrediction? {
    guard ranks >= 1, ranks <= steps.minibatch else { return nil }
    let times = gradientSeconds(ranks: ranks)
    let (pace, waiting) = pace(times, bound: 0...0, PushPattern(), ranks: ranks)
    // The time of the slowest in each step stands in for the measured one.
    var costs = steps.costs
    let factor = Double(ranks) / pace / costs.compute.seconds(for: samples(ranks))
    costs.compute = CostCurve(costs.compute.points.map { .init($0.amount, $0.seconds * factor) })
    guard
      let prediction = try StepPredictor(
        steps.layout, minibatch: steps.minibatch, costs: costs, sharedChannelCounts: steps.sharedChannelCounts
      ).predict(
        aggregation, ranks: ranks, topology: topology, strategy: strategy)
    else { return nil }
    let schedule = prediction.variant.schedule
    let isBound = prediction.exchangeSeconds > prediction.computeSeconds / Double(schedule.exchangesInStep)
    return PacePrediction(
      strategy: strategy.specification, gradientsPerSecond: Double(ranks) / prediction.seconds,
      waiting: waiting * prediction.computeSeconds / prediction.seconds, staleness: 0, limit: isBound ? .link : .workers)
  }

  /// Workers of these times in emulated time: gradients per second, and the share of time spent waiting.
  private func pace(
    _ times: [[Double]], bound: ClosedRange<Int>?, _ pattern: PushPattern, ranks: Int
  ) -> (gradientsPerSecond: Double, waiting: Double) {
    guard let bound else { return ((0..<ranks).reduce(0) { $0 + 1 / mean(times[$1 % times.count]) }, 0) }
    let count = ranks * max(PacePredictor.length, 4 * pattern.minibatchesPerPush)
    var settings = ParameterServer.Settings(workerCount: ranks)
    (settings.bound, settings.minibatchesPerPush) = (bound, pattern.minibatchesPerPush)
    let course = EmulatedSpeed.measured(times).course(of: 0..<count, settings)
    return (Double(count) / course.duration, course.waiting / (Double(ranks) * course.duration))
  }

  /// The seconds of a gradient by rank and repetition, of a worker's share of a step.
  private func gradientSeconds(ranks: Int) -> [[Double]] {
    spread.scaled(toTypicalMean: steps.costs.compute.seconds(for: samples(ranks))).seconds
  }

  private func samples(_ ranks: Int) -> Double { Double((steps.minibatch - 1) / ranks + 1) }

  private func mean(_ times: [Double]) -> Double { times.reduce(0, +) / Double(times.count) }

  private func push(_ codec: any Codec, _ pattern: PushPattern, ranks: Int) -> Push? {
    let (costs, count) = (steps.costs, Double(steps.layout.count))
    let kernels = costs.kernels[codec.specification] ?? KernelCosts()
    let shard = count / Double(ranks)
    // The answers that bring values, per push.
    let pulls = 1 / Double(pattern.pushesPerPull)
    var push = Push()
    push.worker = count * (kernels.encode + pulls * kernels.decode)
    // Decodes the push, updates, and encodes what has changed, of which it keeps what was sent.
    push.owner = shard * (kernels.decode + pulls * (kernels.encode + kernels.decode)) + costs.updateSeconds / Double(ranks)
    push.latency = push.worker + push.owner
    guard ranks > 1 else { return push.shared(by: pattern.minibatchesPerPush) }
    let hosts = (ranks - 1) / costs.ranksPerHost + 1
    guard let link = hosts > 1 ? costs.network : costs.memory else { return nil }
    let shards = ShardCodes(steps.layout, codec: codec, shardCount: ranks)
    let bytes = Double((0..<ranks).reduce(0) { $0 + shards.byteCount(of: $1) })
    // Of a worker's shards those of its own host stay there; a host of several ranks sends for each.
    let sharers = hosts > 1 ? costs.ranksPerHost : 1
    let leaving = bytes * Double(ranks - sharers) / Double(ranks)
    let peers = ranks - sharers
    let oneWay = link.transfer.seconds(for: leaving)
    // Encoding goes on while the first shards travel, and so does decoding.
    push.latency =
      2 * link.stageSeconds(peers: peers) + push.owner + max(count * kernels.encode, oneWay)
      + pulls * max(count * kernels.decode, oneWay)
    // In a round of one push of each worker a host sends its pushes and the answers to as many.
    push.link = link.transfer.seconds(for: (1 + pulls) * leaving * Double(sharers)) / Double(ranks)
    return push.shared(by: pattern.minibatchesPerPush)
  }
}
