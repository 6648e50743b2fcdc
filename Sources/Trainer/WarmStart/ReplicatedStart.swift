internal import Buffers
internal import Collectives
internal import MPI

/// The steps of a replicated start: every rank computes the gradient of the whole minibatch, and updates with it.
///
/// The same arithmetic on the same samples keeps the models of all ranks equal, although no gradient crosses between them: they are
/// those of one rank alone, bit for bit. What ranks still tell one another is the agreement on the step, 64 bytes to each other. The
/// samples of a step are those that the ranks share otherwise. Residuals stay zero, and no strategy delays anything.
/// Source: Seide et al. 2014, whose first 24 hours are not parallel; algorithms §1.10.
struct ReplicatedStart {
  let parts: StrategyParts
  let computation: GradientComputation
  let update: ModelUpdate

  /// Does a step; collective.
  ///
  /// - Parameters:
  ///   - step: The step, from 0.
  ///   - feed: Gives the samples.
  ///   - rate: The learning rate as this rank computes it; that of rank 0 counts.
  ///   - isMeasured: Whether the norm of the gradient is wanted.
  ///   - gradient: Room for the gradient.
  ///   - guardian: Judges what is not finite.
  ///   - agree: Gathers what every rank says of the step.
  func step(
    _ step: Int, from feed: SampleFeed, rate: Float, isMeasured: Bool, into gradient: FloatBuffer,
    _ guardian: inout NonFiniteGuard, agree: (StepAgreement.Statement, _ step: Int) throws -> StepAgreement
  ) throws -> StepOutcome {
    let batch = try parts.timeline.span(.data) { feed.wholeBatch(at: step) }
    let samples = batch.count
    var own = try computation.compute(step, of: batch, among: samples, into: gradient)
    if isMeasured { own.gradientSquares = gradient.sumOfSquares }
    // All ranks have the same samples, which count once.
    if parts.hosts.world.rank > 0 {
      let tensor = own.nonFiniteTensor
      own = StepAgreement.Statement()
      own.nonFiniteTensor = tensor
    }
    own.isStopRequested = StopSignal.isRequested
    own.rate = rate
    let agreement = try agree(own, step)
    precondition(agreement.sum(\.sampleCount) == samples, "the first model has not seen the whole minibatch")

    let verdict = guardian.judge(step, agreement, parts)
    if let end = verdict.end { throw end }
    if !verdict.isSkipped {
      try update.apply(rate: agreement.rate, samples: samples) { destination in
        switch destination {
        case .buffer(let buffer): buffer.copy(from: gradient)
        case .update(let update): try parts.timeline.span(.update) { unsafe update(0..<gradient.count, gradient.baseAddress) }
        case .inPlace: preconditionFailure("an update is not made in place")
        }
      }
      computation.accept()
    }
    var outcome = StepOutcome()
    outcome.add(agreement, verdict)
    return outcome
  }
}
