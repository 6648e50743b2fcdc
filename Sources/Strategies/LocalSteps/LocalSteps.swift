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
/// Meetings are the ends of rounds, which begin at multiples of H; the last may be shorter. A rank with a gradient or a model that is not
/// finite contributes nothing to its round. Decay beside the gradient (AdamW) is no part of Ψ: every rank takes it from θ itself.
/// Source: Douillard et al. 2023 (DiLoCo); frontier F1.1, F1.2 (owner form), F1.6 (decay); McMahan et al. 2017; algorithms §9.
/// - Cost: an exchange of the model's size, and one record of 64 bytes to each other rank, in H steps.
final class LocalSteps: Strategy {
  let parts: StrategyParts
  let settings: LocalStepsSettings
  let rule: OuterRule
  let aggregations: RunAggregations
  let driver = ExchangeDriver(.off)
  /// A rank's gradient, and at the end of a round its Ψ; with clients the sum of theirs alone.
  let contribution: SharedGradient
  let inner: InnerSteps
  /// The optimizer of each rank.
  let optimizers: WorkerOptimizers
  let owners: OwnerMomentum
  /// The outer step, if every rank takes it by itself; nil if owners do, or the aggregation does.
  let replicated: ReplicatedMomentum?
  /// Where a round begins: the model, unless it looks ahead.
  let start: FloatBuffer
  private let averaging: InnerAverage?
  /// The clients of each round; nil without any.
  var clients: RoundClients?
  /// Whether a rank is the same client in every round.
  let isOneClient: Bool
  var refused: RefusedGradients
  /// The sum of ‖Ψ_i‖² over all changes, and their number; the number of rounds.
  private(set) var changes = (squares: 0.0, count: 0)
  private(set) var roundCount = 0
  private var seconds = (update: 0.0, agreement: 0.0)
  /// What ranks of an earlier job had not sent, until the one rank of this job applies it; nil otherwise.
  var inherited: FloatBuffer?
  /// How long the last round took on this rank, in seconds.
  private var roundSeconds = 0.0

  init(_ parts: StrategyParts, _ settings: LocalStepsSettings) throws {
    (self.parts, self.settings) = (parts, settings)
    let (capabilities, count) = (parts.aggregation.capabilities, parts.network.layout.count)
    rule = try settings.rule(rankCount: parts.grid.shareCount, result: capabilities.result)
    contribution = try SharedGradient(count: count, hosts: parts.hosts, isShared: capabilities.sharesContributions)
    // Between the ranks there is no optimizer but the outer step.
    var outside = parts
    outside.transforms = OptimizerTransforms()
    (outside.options.momentum, outside.options.weightDecay) = (Double(rule.momentum), 0)
    outside.options.clip = nil
    owners = OwnerMomentum(rule)
    let atOwners = capabilities.transformsAtOwners && !settings.isBlockMomentum
    aggregations = try RunAggregations(
      outside, gradients: [contribution], overlap: .off, atOwners: atOwners && !rule.isIdentity ? owners : nil)
    replicated =
      atOwners || capabilities.result == .change
      ? nil : ReplicatedMomentum(rule, count: count, looksAhead: settings.isBlockMomentum)
    start = replicated?.looksAhead == true ? FloatBuffer(count: count) : parts.parameters
    let options = parts.options
    clients = options.clients.map {
      RoundClients(
        clientCount: $0, sampledCount: options.sampled ?? $0, minibatch: parts.plan.minibatch, seed: options.seed)
    }
    isOneClient = clients.map { $0.sampledCount == $0.taken.count && $0.sampledCount == parts.grid.shareCount } ?? true
    inner = InnerSteps(
      parts, proximal: settings.proximal, into: clients == nil ? contribution.values : FloatBuffer(count: count))
    optimizers = WorkerOptimizers(parts, workerCount: parts.grid.shareCount) { parts.optimizer }
    averaging = settings.inner == .average ? InnerAverage(parts) : nil
    refused = RefusedGradients(parts, counting: .rounds)
    startFromModel()
  }

  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome {
    let round = step..<min((step / settings.steps + 1) * settings.steps, meeting)
    guard let exchange = aggregations.aggregation(of: step, in: course.loader.plan) else {
      fatalError("local steps have no replicated start")
    }
    let trafficBefore = exchange.traffic
    let stopwatch = Stopwatch()
    var own = try clients.map { try takeSteps(of: $0, round, on: course) } ?? takeSteps(round, on: course)
    roundSeconds = stopwatch.seconds
    own.isStopRequested = StopSignal.isRequested
    // All ranks use what rank 0 has computed.
    own.rate = decay(over: round, on: course)
    if round.contains(where: course.isMeasured) { own.residualSquares = exchange.residualSquares }
    let agreement = try agree(own, after: round)
    let contributions = clients?.sampledCount ?? parts.grid.shareCount
    let warning = try refused.judge(round, gradientCount: contributions, agreement)
    let samples = agreement.sum(\.weight)
    if samples > 0 {
      var share: Float { course.rate(round.lowerBound) / Float(parts.options.learningRate) }
      owners.share = rule.style == .lion ? share : 1
      weigh(own, among: samples)
      let number = course.drawNumber(round.lowerBound)
      try aggregations.begin(exchange, Contribution(step: number, samples: samples, rate: rule.rate))
      driver.drive(exchange)
      if agreement.rate != 1 { decayModel(by: agreement.rate) }
      try takeOuterStep(exchange)
    }
    clients?.advance(past: round.lowerBound / settings.steps, stepCount: round.count)
    try beginNextRound()
    roundCount += 1
    return outcome(of: round, agreement, warning, exchange, exchange.traffic - trafficBefore)
  }

  // MARK: Between meetings

  /// Takes the steps of a round on this rank's share of their samples, and sets the contribution to Ψ, or to zeros if a value is not
  /// finite.
  private func takeSteps(_ round: Range<Int>, on course: Course) throws -> StepAgreement.Statement {
    var own = StepAgreement.Statement()
    for step in round where own.nonFiniteTensor == nil {
      // The loop of the run has said so of the first.
      if step > round.lowerBound { try FaultInjector.reach(.step, step + 1) }
      let batch = try parts.timeline.span(.data) { course.loader.batch(at: step) }
      guard batch.count > 0 else { continue }
      own.add(try takeStep(step, batch, by: parts.optimizer, on: course))
    }
    let psi = inner.change(from: start, decay: decay(over: round, on: course), by: parts.optimizer)
    (own.gradientSquares, own.weight) = (psi.sumOfSquares, own.sampleCount)
    let tensor = own.nonFiniteTensor ?? (own.gradientSquares.isFinite ? nil : firstNonFinite(in: psi))
    guard let tensor else { return own }
    psi.clear()
    var nothing = StepAgreement.Statement()
    (nothing.nonFiniteTensor, nothing.clearedValues) = (tensor, 1)
    return nothing
  }

  /// Takes a step of the model that trains on this rank.
  func takeStep(
    _ step: Int, _ batch: Minibatch, by optimizer: any Optimizer, on course: Course
  ) throws -> StepAgreement.Statement {
    let found = try inner.take(step, batch, from: start, by: optimizer, rate: course.rate(step))
    course.note(
      Course.OwnSteps(
        step: step, loss: LossTally(lossSum: found.lossSum, sampleCount: found.sampleCount), traffic: Traffic()))
    return found
  }

  /// The first tensor of a change that has a value that is not finite.
  func firstNonFinite(in change: FloatBuffer) -> Int {
    parts.network.layout.tensors.firstIndex { !change.isFinite(in: $0.range) } ?? 0
  }

  /// What decay beside the gradient leaves of a parameter over a round, as this rank computes it.
  func decay(over round: Range<Int>, on course: Course) -> Float {
    guard let beside = parts.optimizer.decayBeside else { return 1 }
    return Float(round.reduce(1.0) { $0 * (1 - Double(beside.shrinkage(at: course.rate($1)))) })
  }

  // MARK: At the meeting

  private func agree(_ own: StepAgreement.Statement, after round: Range<Int>) throws -> StepAgreement {
    let stopwatch = Stopwatch()
    defer { seconds.agreement += stopwatch.seconds }
    return try parts.timeline.span(.agreement) {
      try StepAgreement(own, over: parts.records, step: round.upperBound - 1, patience: patience)
    }
  }

  /// A rank may be as late as a round takes.
  private var patience: Patience {
    let round = Duration.seconds(roundSeconds)
    return parts.hosts.patience.atLeast(round * 3, notice: round)
  }

  /// Weighs Ψ by this rank's share of the samples of the round, and adds what was inherited.
  private func weigh(_ own: StepAgreement.Statement, among samples: Int) {
    let psi = contribution.values
    // Sums over clients are weighed by their samples already.
    let weight = Float(clients == nil ? Double(own.weight) / Double(samples) : 1 / Double(samples))
    if weight != 1 { for i in 0..<psi.count { psi.baseAddress[i] *= weight } }
    guard let inherited else { return }
    for i in 0..<psi.count { psi.baseAddress[i] += inherited.baseAddress[i] }
    self.inherited = nil
  }

  private func decayModel(by factor: Float) {
    let model = parts.parameters.baseAddress
    parts.optimizer.decayBeside?.forEachRange { for i in $0 { model[i] *= factor } }
  }

  /// Moves the model by the outer step of what the exchange brings.
  private func takeOuterStep(_ exchange: any Aggregation) throws {
    let (model, exchanging) = (parts.parameters.baseAddress, Stopwatch())
    try parts.timeline.span(.exchange) {
      if let replicated {
        try aggregations.deliver(exchange, by: driver, into: .buffer(replicated.sum))
      } else if exchange.result == .gradient {
        try aggregations.deliver(
          exchange, by: driver,
          into: .update { range, change in for i in range { model[i] -= change[i - range.lowerBound] } })
      } else {
        try aggregations.deliver(
          exchange, by: driver,
          into: .change { change, shard, shards in
            for (index, value) in zip(change.indices, change.values) { model[shards.place(of: Int(index), in: shard)] -= value }
          })
      }
    }
    let stopwatch = Stopwatch()
    replicated?.step(parts.parameters, share: owners.share)
    seconds.update += stopwatch.seconds
    aggregations.note(exchanging.seconds, of: exchange)
  }

  /// Begins the next round where all begin it; what inner optimizers remember is kept, or not.
  private func beginNextRound() throws {
    startFromModel()
    if settings.inner == .reset { optimizers.forgetMomentum() }
    try averaging?.take(of: parts.optimizer)
    try optimizers.meet()
  }

  func startFromModel() {
    if let replicated, replicated.looksAhead { replicated.lookAhead(from: parts.parameters, to: start) }
    inner.model.copy(from: start)
  }

  private func outcome(
    of round: Range<Int>, _ agreement: StepAgreement, _ warning: String?, _ exchange: any Aggregation, _ traffic: Traffic
  ) -> StepOutcome {
    var outcome = StepOutcome()
    outcome.stepCount = round.count
    outcome.add(agreement)
    outcome.warning = warning
    outcome.traffic = traffic
    // Residuals are in the units of what is contributed.
    let total = Double(agreement.sum(\.weight))
    let contributed = agreement.statements.reduce(0) { sum, own in
      let share = Double(own.weight) / total
      return sum + share * share * own.gradientSquares
    }
    outcome.residualRatio = contributed > 0 ? (agreement.sum(\.residualSquares) / contributed).squareRoot() : 0
    changes.squares += agreement.sum(\.gradientSquares)
    changes.count +=
      clients.map { max(0, $0.sampledCount - (agreement.firstNonFinite == nil ? 0 : agreement.sum(\.clearedValues))) }
      ?? agreement.statements.count { $0.weight > 0 }
    return outcome
  }

  var times: PhaseTimes {
    var times = aggregations.exchangeTimes(isFused: true)
    times.compute = inner.seconds
    times.agreement = seconds.agreement
    times.wait += seconds.agreement
    times.update += seconds.update
    return times
  }
}
