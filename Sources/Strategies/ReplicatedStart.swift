internal import Buffers
internal import Collectives
internal import Transport

/// The steps of a replicated start: every rank computes the gradient of the whole minibatch and updates with it.
///
/// The same arithmetic on the same samples keeps the models of all ranks equal although no gradient is exchanged: they are
/// bit-identical to those of a single rank. Ranks still exchange the agreement on the step, 64 bytes to each other rank. The
/// samples of a step are those that the ranks otherwise share. Residuals stay zero, and no strategy delays anything.
/// Source: Seide et al. 2014, whose first 24 hours are not parallel; algorithms §1.10.
struct ReplicatedStart {
  let parts: StrategyParts
  let frame: StepFrame
  let update: ModelUpdate

  /// Does a step.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - step: The step, from 0.
  ///   - course: The samples and the learning rate.
  ///   - gradient: Storage for the gradient.
  func step(_ step: Int, on course: Course, into gradient: FloatBuffer) throws -> StepOutcome {
    let judgement = try frame.run(step, on: course, .everything, into: gradient, needsNorm: course.isMeasured(step))
    if !judgement.verdict.isSkipped {
      try update.apply(gradient, rate: judgement.agreement.rate, samples: course.loader.plan.places(of: step).count)
      frame.computation.accept()
    }
    var outcome = StepOutcome()
    outcome.add(judgement)
    return outcome
  }
}
