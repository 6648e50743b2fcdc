internal import Buffers
internal import Checkpoints
internal import Collectives
internal import Kernels
internal import Networks
internal import Optimizers
internal import Reporting
internal import Transport

/// What happens where ranks meet: an agreement, an exchange of what they have changed in a fragment, and the outer step.
extension LocalSteps {
  /// Exchanges what ranks have changed in a fragment since it was exchanged last, after the steps `part`; `own` is what this rank
  /// states of them.
  ///
  /// Collective. With a delay, the exchange goes on, and ``land()`` applies what it brings.
  func exchangeChanges(
    _ fragment: FragmentExchange, _ own: StepAgreement.Statement, after part: Range<Int>, delay: Int, on course: Course,
    telling outcome: inout StepOutcome
  ) throws {
    guard let exchange = fragment.aggregations.aggregation(of: part.lowerBound, in: course.loader.plan) else {
      fatalError("local steps have no replicated start")
    }
    // The steps since the fragment was exchanged last.
    let steps = exchanges.count == 1 ? part : min(fragment.firstStep, part.lowerBound)..<part.upperBound
    var own = own
    // All ranks use what rank 0 has computed.
    own.rate = decay(over: steps, on: course)
    if clients == nil { state(&own, fragment, decay: own.rate, at: part.upperBound, on: course) }
    own.isStopRequested = StopSignal.isRequested
    if part.contains(where: course.isMeasured) { own.residualSquares = exchange.residualSquares }
    let agreement = try agree(own, after: part)
    let warning = try refused.judge(part, gradientCount: clients?.sampledCount ?? parts.grid.shareCount, agreement)
    let samples = agreement.sum(\.weight)
    var isUnderWay = false
    if samples > 0 {
      var share: Float { course.rate(part.lowerBound) / Float(parts.options.learningRate) }
      fragment.owners.share = rule.style == .lion ? share : 1
      // Sums over clients are weighed by their samples already.
      fragment.weigh(by: Float(clients == nil ? Double(own.weight) / Double(samples) : 1 / Double(samples)))
      let trafficBefore = exchange.traffic
      try fragment.aggregations.begin(
        exchange, Contribution(step: course.drawNumber(part.lowerBound), samples: samples, rate: rule.rate))
      driver.drive(exchange)
      if agreement.rate != 1 { decayModel(in: fragment.range, by: agreement.rate) }
      if delay > 0, let flight, let index = exchanges.firstIndex(where: { $0 === fragment }) {
        flight.underWay = FragmentFlight.UnderWay(exchange: exchange, trafficBefore: trafficBefore)
        flight.next = (index, part.upperBound + delay)
        keepSent(of: fragment)
        // What has decayed is where ranks go on from.
        lookAhead(in: fragment)
        isUnderWay = true
      } else {
        try takeOuterStep(fragment, exchange)
        untoldTraffic += exchange.traffic - trafficBefore
      }
    }
    // A rank that was left out begins anew.
    if !isUnderWay { join(fragment, mix: own.nonFiniteTensor == nil ? settings.mix : 1) }
    fragment.firstStep = part.upperBound
    fragment.samples.clear()
    tell(agreement, warning, in: &outcome)
  }

  /// Sets the contribution to Ψ, and says so; to zeros if the model of this rank is not finite, which then begins anew at that of
  /// the run.
  private func state(
    _ own: inout StepAgreement.Statement, _ fragment: FragmentExchange, decay: Float, at step: Int, on course: Course
  ) {
    let psi = fragment.contribution.values
    inner.change(of: fragment.range, from: start, decay: decay, by: parts.optimizer, into: psi)
    (own.gradientSquares, own.weight) = (psi.sumOfSquares, Int(fragment.samples[0]))
    guard let tensor = own.nonFiniteTensor ?? (own.gradientSquares.isFinite ? nil : firstNonFinite()) else { return }
    let rate = own.rate
    own = StepAgreement.Statement()
    (own.nonFiniteTensor, own.clearedValues, own.rate) = (tensor, 1, rate)
    psi.clear()
    inner.model.copy(from: start)
    for other in exchanges {
      other.samples.clear()
      // As far as θ will have decayed when this fragment is exchanged, x has from here on.
      guard other !== fragment, other.firstStep < step else { continue }
      inner.decay(other.range, by: self.decay(over: other.firstStep..<step, on: course), of: parts.optimizer)
    }
  }

  private func agree(_ own: StepAgreement.Statement, after part: Range<Int>) throws -> StepAgreement {
    let stopwatch = Stopwatch()
    defer { seconds.agreement += stopwatch.seconds }
    return try parts.timeline.span(.agreement) {
      try StepAgreement(own, over: parts.records, step: part.upperBound - 1, patience: patience)
    }
  }

  /// A rank may be as late as its steps take.
  private var patience: Patience {
    let round = Duration.seconds(roundSeconds)
    return parts.hosts.patience.atLeast(round * 3, notice: round)
  }

  private func decayModel(in range: Range<Int>, by factor: Float) {
    let model = parts.parameters.baseAddress
    parts.optimizer.decayBeside?.forEachRange { for i in $0.clamped(to: range) { model[i] *= factor } }
  }

  /// Moves the model by the outer step of what the exchange brings.
  private func takeOuterStep(_ fragment: FragmentExchange, _ exchange: any Aggregation) throws {
    let exchanging = Stopwatch()
    try parts.timeline.span(.exchange) {
      try fragment.deliver(exchange, by: driver, from: parts.parameters.baseAddress + fragment.range.lowerBound)
    }
    takeReplicatedStep(fragment)
    fragment.aggregations.note(exchanging.seconds, of: exchange)
  }

  private func takeReplicatedStep(_ fragment: FragmentExchange) {
    guard let replicated = fragment.replicated else { return }
    let stopwatch = Stopwatch()
    replicated.step(parts.parameters.part(fragment.range), share: fragment.owners.share)
    seconds.update += stopwatch.seconds
  }

  /// Sets where the next round begins in a fragment, if that is ahead of the model.
  func lookAhead(in fragment: FragmentExchange) {
    guard let replicated = fragment.replicated, replicated.looksAhead else { return }
    replicated.lookAhead(from: parts.parameters.part(fragment.range), to: start.part(fragment.range))
  }

  /// x ← x + λ(θ − x) in a fragment, on this rank, with λ = `mix`.
  private func join(_ fragment: FragmentExchange, mix: Float) {
    lookAhead(in: fragment)
    let (x, theta) = (inner.model.baseAddress, start.baseAddress)
    if mix == 1 {
      for i in fragment.range { x[i] = theta[i] }
    } else {
      for i in fragment.range { x[i] += mix * (theta[i] - x[i]) }
    }
  }

  // MARK: Exchanges that go on during steps

  /// Keeps what this rank sends of itself.
  func keepSent(of fragment: FragmentExchange) {
    guard let sent = flight?.sent.baseAddress else { return }
    for i in fragment.range { sent[i - fragment.range.lowerBound] = inner.model.baseAddress[i] }
  }

  /// Waits for the exchange that is under way, and keeps what it brings.
  func settle() throws {
    guard let flight, let underWay = flight.underWay, let next = flight.next else { return }
    let (fragment, exchanging) = (exchanges[next.index], Stopwatch())
    flight.arrived.clear()
    try parts.timeline.span(.exchange) {
      try fragment.deliver(underWay.exchange, by: driver, from: flight.arrived.baseAddress)
    }
    if let sum = fragment.replicated?.sum {
      for i in 0..<sum.count { flight.arrived.baseAddress[i] = sum.baseAddress[i] }
    }
    fragment.aggregations.note(exchanging.seconds, of: underWay.exchange)
    untoldTraffic += underWay.exchange.traffic - underWay.trafficBefore
    flight.underWay = nil
  }

  /// Applies what a delayed exchange brings: θ′ ← θ − s, and x ← x + λ(θ′ − x′), x′ being what this rank has sent.
  ///
  /// What it has learnt meanwhile, x − x′, stays, and is part of its next Ψ = θ′ − x: no step is lost, and none counts twice. The
  /// form x ← θ′ would lose the steps of the delay, and a Ψ against a θ that ranks have not begun at would take back the outer
  /// step.
  /// Source: frontier F1.3, F1.4.
  func land() throws {
    try settle()
    guard let flight, let next = flight.next else { return }
    flight.next = nil
    let fragment = exchanges[next.index]
    let (first, arrived) = (fragment.range.lowerBound, flight.arrived.baseAddress)
    if let sum = fragment.replicated?.sum {
      for i in 0..<sum.count { sum.baseAddress[i] = arrived[i] }
      takeReplicatedStep(fragment)
    } else {
      // The step with its sign.
      for i in fragment.range { parts.parameters.baseAddress[i] += arrived[i - first] }
    }
    lookAhead(in: fragment)
    let (x, theta, sent) = (inner.model.baseAddress, start.baseAddress, flight.sent.baseAddress)
    for i in fragment.range { x[i] += settings.mix * (theta[i] - sent[i - first]) }
  }

  func drain() throws -> Traffic {
    try land()
    defer { untoldTraffic = Traffic() }
    return untoldTraffic
  }

  // MARK: Telling

  private func tell(_ agreement: StepAgreement, _ warning: String?, in outcome: inout StepOutcome) {
    let before = outcome.residualRatio
    outcome.add(agreement)
    outcome.warning = outcome.warning ?? warning
    // Residuals are in the units of what is contributed.
    let total = Double(agreement.sum(\.weight))
    let contributed = agreement.statements.reduce(0) { sum, own in
      let share = Double(own.weight) / total
      return sum + share * share * own.gradientSquares
    }
    // Of the fragments of a round, the largest.
    outcome.residualRatio = max(before, contributed > 0 ? (agreement.sum(\.residualSquares) / contributed).squareRoot() : 0)
    changes.squares += agreement.sum(\.gradientSquares)
    let count =
      clients.map { max(0, $0.sampledCount - (agreement.firstNonFinite == nil ? 0 : agreement.sum(\.clearedValues))) }
      ?? agreement.statements.count { $0.weight > 0 }
    changes.count += Double(count) / Double(exchanges.count)
  }
}
