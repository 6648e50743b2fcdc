internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Datasets
internal import Kernels
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// Local steps: each rank takes H steps of `--optimizer` alone, and then all follow the mean of what these have changed.
///
/// In a round, a rank goes from θ to x_i by its own samples; nothing crosses between ranks. Where the round ends they agree on it, and
/// exchange the pseudo-gradients Ψ_i = θ − x_i, weighted by samples, by any aggregation, with error feedback: Ψ̄ = Σ(n_i/N)Ψ_i. The owners of
/// shards turn their part of Ψ̄ into an outer step s (``OuterRule``), encode it with residuals of their own, and every rank decodes the same
/// bytes: θ ← θ − s, x_i ← θ. Models are equal bit for bit after each round, and traffic does not grow with the number of ranks.
///
/// With P fragments, one of them is exchanged after every H/P steps, in turn. With a delay of D steps, ranks go on for D steps
/// before they apply what an exchange brings, and x_i ← x_i + λ(θ′ − x_i′), x_i′ being what they have sent and θ′ the new θ: the
/// D steps stay, and are part of the next Ψ_i. θ is the same on every rank at any time, and is the model of the run; x_i then
/// differs from it at meetings, and is state. What is not exchanged when the run ends is exchanged then, without a delay.
///
/// Meetings are the ends of rounds, which begin at multiples of H; the last may be shorter. A rank with a gradient or a model that is not
/// finite contributes nothing to its round. Decay beside the gradient (AdamW) is no part of Ψ: every rank takes it from θ itself.
/// Source: Douillard et al. 2023 (DiLoCo) and 2025 (Streaming DiLoCo: fragments, delay, λ); frontier F1.1, F1.2 (owner form),
/// F1.3, F1.4, F1.6 (decay); McMahan et al. 2017; algorithms §9.
/// - Cost: an exchange of the model's size, and P records of 64 bytes to each other rank, in H steps; 1/P of the bytes at a time.
final class LocalSteps: Strategy {
  let parts: StrategyParts
  let settings: LocalStepsSettings
  let rule: OuterRule
  /// The exchanges of the fragments, in their order in the flat buffer; one without fragments.
  let exchanges: [FragmentExchange]
  let driver: ExchangeDriver
  let inner: InnerSteps
  /// The optimizer of each rank.
  let optimizers: WorkerOptimizers
  /// Where a round begins: the model, unless it looks ahead.
  let start: FloatBuffer
  /// What is exchanged while ranks go on; nil without a delay.
  let flight: FragmentFlight?
  let averaging: InnerAverage?
  /// The clients of each round; nil without any.
  var clients: RoundClients?
  /// Whether a rank is the same client in every round.
  let isOneClient: Bool
  var refused: RefusedGradients
  /// The sum of ‖Ψ_i‖² over all changes, and their number; the number of rounds.
  var changes = (squares: 0.0, count: 0.0)
  private(set) var roundCount = 0
  var seconds = (update: 0.0, agreement: 0.0)
  /// The traffic of exchanges that have ended since it was told last.
  var untoldTraffic = Traffic()
  /// Whether a checkpoint of other ranks is loaded.
  var hasOtherRanks = false
  /// How long the last steps before an exchange took on this rank, in seconds.
  var roundSeconds = 0.0

  init(_ parts: StrategyParts, _ settings: LocalStepsSettings) throws {
    (self.parts, self.settings) = (parts, settings)
    let (options, count) = (parts.options, parts.network.layout.count)
    try settings.check(options)
    let rule = try settings.rule(rankCount: parts.grid.shareCount, result: parts.aggregation.capabilities.result)
    self.rule = rule
    // Between the ranks there is no optimizer but the outer step.
    var outside = parts
    outside.transforms = OptimizerTransforms()
    (outside.options.momentum, outside.options.weightDecay) = (Double(rule.momentum), 0)
    outside.options.clip = nil
    guard let fragments = ModelFragment.cut(parts.network.layout, into: settings.fragments) else {
      throw OptionError("--strategy: fragments=\(settings.fragments) are more than the model has rows; use fewer")
    }
    let overlap = settings.schedule.overlap(for: parts)
    driver = ExchangeDriver(overlap)
    exchanges = try fragments.enumerated().map { index, fragment in
      try FragmentExchange(
        outside, fragment, index, of: fragments.count, rule, isBlockMomentum: settings.isBlockMomentum, overlap: overlap)
    }
    flight = settings.delay > 0 ? FragmentFlight(count: fragments.map(\.range.count).max() ?? 0) : nil
    start = exchanges[0].replicated?.looksAhead == true ? FloatBuffer(count: count) : parts.parameters
    clients = options.clients.map {
      RoundClients(
        clientCount: $0, sampledCount: options.sampled ?? $0, minibatch: parts.plan.minibatch, seed: options.seed)
    }
    isOneClient = clients.map { $0.sampledCount == $0.taken.count && $0.sampledCount == parts.grid.shareCount } ?? true
    // A change takes the place of the last gradient, unless gradients are computed while it crosses, or before others do.
    let isShared = clients == nil && !settings.keepsModels
    inner = InnerSteps(
      parts, proximal: settings.proximal, into: isShared ? exchanges[0].contribution.values : FloatBuffer(count: count))
    inner.betweenLayers = driver.betweenLayers
    optimizers = WorkerOptimizers(parts, workerCount: parts.grid.shareCount) { parts.optimizer }
    averaging = settings.inner == .average ? InnerAverage(parts) : nil
    refused = RefusedGradients(parts, counting: .rounds)
    startFromModel()
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let first = step / settings.steps * settings.steps
    let round = step..<min(first + settings.steps, meeting)
    // What would be exchanged later is exchanged at the end.
    let isLast = round.upperBound < first + settings.steps || round.upperBound == course.loader.plan.steps
    var outcome = StepOutcome()
    outcome.stepCount = round.count
    for (index, offsets) in settings.partsOfRound.enumerated() {
      let part = (first + offsets.lowerBound..<first + offsets.upperBound).clamped(to: round)
      guard !part.isEmpty else { continue }
      let stopwatch = Stopwatch()
      var own = try clients.map { try takeSteps(of: $0, part, on: course) } ?? takeSteps(part, of: round, on: course)
      roundSeconds = stopwatch.seconds
      let endsAll = isLast && part.upperBound == round.upperBound
      for exchange in endsAll ? exchanges : [exchanges[index]] {
        try exchangeChanges(exchange, own, after: part, delay: endsAll ? 0 : settings.delay, on: course, telling: &outcome)
        own = .ofNoSamples
      }
    }
    advanceClients(past: round, on: course)
    try beginNextRound(after: round, of: course.loader.plan)
    roundCount += 1
    outcome.traffic = untoldTraffic
    untoldTraffic = Traffic()
    return outcome
  }

  // MARK: Between meetings

  /// Takes the steps of a part of a round on this rank's share of their samples, up to one whose gradient is not finite.
  private func takeSteps(_ part: Range<Int>, of round: Range<Int>, on course: Course) throws -> StepAgreement.Statement {
    var own = StepAgreement.Statement()
    for step in part.prefix(pace(in: part, on: course)) where own.nonFiniteTensor == nil {
      if let next = flight?.next, next.step <= step { try land() }
      // The loop of the run has said so of the first.
      if step > round.lowerBound { try FaultInjector.reach(.step, step + 1) }
      if flight?.underWay != nil { try FaultInjector.reach(.delay) }
      let found = try inner.take(step, on: course, from: start, by: parts.optimizer) { course.loader.batch(at: step) }
      own.add(found)
      for exchange in exchanges where own.nonFiniteTensor == nil { exchange.samples[0] += Float(found.sampleCount) }
    }
    // One exchange is under way at a time.
    if flight?.next != nil { try land() }
    return own
  }

  /// The steps of a part of a round that this rank takes: fewer if it is slower, so that all take as long.
  ///
  /// Source: Liu et al. 2024 (dynamic local updates, at least 5 steps); frontier F1.4.
  private func pace(in part: Range<Int>, on course: Course) -> Int {
    let shares = course.loader.plan.shares(in: part.lowerBound, of: parts.grid.shareCount)
    guard settings.pacesByTime, let shares, let most = shares.max() else { return part.count }
    return max(min(5, part.count), part.count * shares[parts.grid.share] / most)
  }

  /// The first tensor that has a value that is not finite, in the model that trains on this rank.
  func firstNonFinite() -> Int {
    parts.network.layout.tensors.firstIndex { !inner.model.isFinite(in: $0.range) } ?? 0
  }

  /// What decay beside the gradient leaves of a parameter over some steps, as this rank computes it.
  func decay(over steps: Range<Int>, on course: Course) -> Float {
    guard let beside = parts.optimizer.decayBeside else { return 1 }
    return Float(steps.reduce(1.0) { $0 * (1 - Double(beside.shrinkage(at: course.rate($1)))) })
  }

  /// Begins the next round; what inner optimizers remember is kept, or not.
  private func beginNextRound(after round: Range<Int>, of plan: RunPlan) throws {
    if settings.inner == .reset { optimizers.forgetMomentum() }
    if let averaging {
      let aggregations = exchanges[0].aggregations
      let isMain = aggregations.aggregation(of: round.lowerBound, in: plan) === aggregations.main
      untoldTraffic += try averaging.take(isWarmStart: !isMain)
    }
    try optimizers.meet()
  }

  func startFromModel() {
    for exchange in exchanges {
      lookAhead(in: exchange)
      exchange.samples.clear()
    }
    inner.model.copy(from: start)
    if let next = flight?.next { keepSent(of: exchanges[next.index]) }
  }

  var times: PhaseTimes {
    var times = PhaseTimes()
    for exchange in exchanges {
      let own = exchange.aggregations.exchangeTimes(isFused: true)
      times.encode += own.encode
      times.decode += own.decode
      times.wait += own.wait
      times.update += own.update
    }
    times.compute = inner.seconds
    times.agreement = seconds.agreement
    times.wait += seconds.agreement
    times.update += seconds.update
    return times
  }
}
