internal import Buffers
internal import Codecs
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Optimizers
internal import Reporting
internal import Strategies
import Transport

/// Training steps of the strategies of `train`, whole and in parts, with the time of each part.
///
/// An *exchange* below is one exchange with all that belongs to it: the computation of its gradient, the ranks' agreement, the
/// update. A step with double buffering has two; with local steps one exchange has all the steps before it.
final class StepBenchmark {
  /// What an iteration consists of.
  enum Part: CaseIterable {
    /// A step as if this rank had no others to exchange with: forward, backward, the ranks' agreement, and an update.
    case computation
    /// The agreement, and then the exchange alone, of an existing gradient; the result is discarded.
    case communication
    /// The whole step.
    case whole
  }

  /// Seconds of one iteration, per exchange.
  struct Times {
    /// The whole iteration.
    var total = 0.0
    /// Forward and backward.
    var compute = 0.0
    /// Agreeing with all ranks that the step may be done.
    var agreement = 0.0
    /// What is left of the exchange after the step has computed: waiting for results and decoding them.
    var exposed = 0.0
    /// The waiting time in ``exposed``.
    var waiting = 0.0
    /// Updating the parameters, including decoding if the two are one.
    var update = 0.0
    /// Everything except the agreement.
    var withoutAgreement = 0.0

    static var fields: [WritableKeyPath<Times, Double>] {
      [\.total, \.compute, \.agreement, \.exposed, \.waiting, \.update, \.withoutAgreement]
    }
  }

  let setting: StepSetting
  /// All ranks, and those that exchange the same gradient.
  let grid: RankGrid
  /// What drives exchanges while the model computes.
  let overlap: Overlap
  /// The model, or this rank's slice of it.
  private let network: any Network
  private let parameters: FloatBuffer
  private let samples: RandomSamples
  private let records: RecordExchange
  private let whole: Steps
  /// The same without others to exchange with; nil if there are none anyway.
  private let alone: Steps?
  /// A separate exchange, of a constant gradient.
  private let exchange: any Aggregation
  private var times: [Part: [Times]] = [:]
  /// Seconds of an iteration, for each turn.
  private var turnTimes: [Part: [Double]] = [:]
  private var exchangeCount = 0

  /// Prepares this rank's share of the samples.
  ///
  /// Collective.
  ///
  /// - Throws: Also if the model cannot be split.
  init(_ setting: StepSetting, world: Communicator) throws {
    self.setting = setting
    let options = setting.options
    let (parts, samples) = try setting.parts(on: world)
    (grid, network, parameters, records, self.samples) = (parts.grid, parts.network, parts.parameters, parts.records, samples)
    overlap = setting.strategy.schedule.overlap(for: parts)
    let roundLength = setting.strategy.schedule.stepsPerExchange
    whole = try Steps(setting.strategy(parts), parts, samples, roundLength: roundLength)
    if world.count > 1 {
      var own = parts
      own.grid = try grid.withoutExchange()
      alone = try Steps(setting.strategy(own), own, samples, roundLength: roundLength)
    } else {
      alone = nil
    }
    let gradient = try SharedGradient(
      count: network.layout.count, hosts: grid.dataGroup, isShared: setting.aggregation.capabilities.sharesContributions)
    let random = Philox(seed: 1, purpose: .tests, stream: grid.share)
    for index in 0..<gradient.values.count { gradient.values[index] = random.uniform(index, tensor: 2) - 0.5 }
    var aggregationParts = AggregationParts(hosts: grid.dataGroup, layout: network.layout, gradients: [gradient])
    (aggregationParts.options.topology, aggregationParts.momentum) = (options.topology, 0.9)
    exchange = try setting.aggregation(aggregationParts)
  }

  /// Runs iterations of one part back to back, as in training: ranks wait for one another only in the exchange.
  ///
  /// Collective.
  ///
  /// - Returns: The seconds that the iterations took, without the step before them.
  @discardableResult
  func run(_ part: Part, count: Int) throws -> Double {
    do {
      // Work in flight in a step comes from the previous one.
      try steps(of: part)?.prime()
      try grid.all.meet("a measurement")
      try grid.all.world.barrier()
      let start = ContinuousClock.now
      for _ in 0..<count { times[part, default: []].append(try iteration(part)) }
      let exchanges = part == .communication ? count : count * setting.strategy.schedule.exchangesInStep
      let seconds = (ContinuousClock.now - start) / .seconds(1)
      turnTimes[part, default: []].append(seconds / Double(exchanges))
      try steps(of: part)?.drain()
      return seconds
    } catch {
      whole.abandon()
      alone?.abandon()
      exchange.abandon()
      records.abandon()
      throw error
    }
  }

  private func steps(of part: Part) -> Steps? {
    switch part {
    case .computation: alone
    case .communication: nil
    case .whole: whole
    }
  }

  private func iteration(_ part: Part) throws -> Times {
    guard let steps = steps(of: part) else {
      var own = Times()
      let waitingBefore = exchange.timing.wait
      own.total = try seconds {
        own.agreement = try seconds { try agree() }
        own.exposed = try seconds {
          try exchange.run(
            Contribution(step: exchangeCount, samples: setting.options.minibatch, rate: 0.001), into: exchange.nothing)
          exchangeCount += 1
        }
      }
      own.waiting = (exchange.timing.wait - waitingBefore) / .seconds(1)
      own.withoutAgreement = own.total - own.agreement
      return own
    }
    let exchanges = Double(setting.strategy.schedule.exchangesInStep)
    let before = steps.times
    let total = try seconds { try steps.step() }
    let after = steps.times
    func spent(_ phase: KeyPath<PhaseTimes, Double>) -> Double { (after[keyPath: phase] - before[keyPath: phase]) / exchanges }
    var own = Times()
    own.total = total / exchanges
    (own.compute, own.agreement, own.update) = (spent(\.compute), spent(\.agreement), spent(\.update))
    own.waiting = spent(\.wait) - own.agreement
    own.exposed = own.total - own.compute - own.agreement - own.update - spent(\.data)
    own.withoutAgreement = own.total - own.agreement
    return own
  }

  /// The agreement of all ranks before a training step.
  private func agree() throws { _ = try StepAgreement(.ofNoSamples, over: records, step: exchangeCount) }

  /// Discards the measurements.
  func reset() { (times, turnTimes) = ([:], [:]) }

  /// Seconds of an exchange: the median over turns of the time of the slowest rank in the whole turn.
  ///
  /// Ranks that wait for one another only through exchanges in flight may be late in one iteration and early in the next, so
  /// that the maximum of each iteration would be too large. Collective.
  func secondsPerExchange(_ part: Part) throws -> Double {
    var own = turnTimes[part] ?? []
    try grid.all.enter("a result") { try grid.all.world.allReduce(&own, .max) }
    return own.percentile()
  }

  /// The times of each iteration; each part is that of the slowest rank in it.
  ///
  /// Collective.
  func slowestTimes(_ part: Part) throws -> [Times] {
    let own = times[part] ?? []
    var values = own.flatMap { times in Times.fields.map { times[keyPath: $0] } }
    try grid.all.enter("a result") { try grid.all.world.allReduce(&values, .max) }
    return stride(from: 0, to: values.count, by: Times.fields.count).map { start in
      var times = Times()
      for (offset, field) in Times.fields.enumerated() { times[keyPath: field] = values[start + offset] }
      return times
    }
  }

  /// The median of the seconds of the forward pass alone on this rank, per exchange.
  func forwardSeconds(repetitions: Int) throws -> Double {
    let batch = whole.batch(of: setting.strategy.schedule.exchangesInStep)
    return try (0..<repetitions).map { _ in
      try seconds { _ = try network.evaluate(batch, parameters: parameters, logPosteriors: nil) }
    }.percentile()
  }

  /// The bytes that leave the busiest host in one exchange.
  ///
  /// Collective.
  func bytesLeavingHost() throws -> Int {
    try grid.all.bytesLeavingHost(sentByThisRank: exchange.predictedTraffic.networkBytesSent)
  }
}

extension Aggregation {
  /// A sink that discards results.
  fileprivate var nothing: Sink {
    switch result {
    case .gradient: .update { _, _ in }
    case .change: .change { _, _, _ in }
    }
  }
}
