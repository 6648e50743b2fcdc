internal import Buffers
internal import Checkpoints
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Reporting
internal import Strategies
internal import Transport

extension TrainingRun {
  /// Reports what is about to run: the ranks, the model, what a step will send, and every option.
  func tellStart() throws {
    let report = strategy.report
    guard let runLog else { return }
    runLog.tell(
      StartEvent(
        ranks: world.count, hosts: grid.all.hostCount, parameters: model.parameterCount,
        options: TrainerOptions.fields.filter { !$0.isHidden }.map { ($0.key, $0.json(options)) },
        codecChoice: codecChoice.map { ($0.specification, $0.reason) }, resumed: progress.resumed.map { ($0.path, $0.step) }))
    for warning in strategy.warnings { runLog.warn(warning) }
    let summary = StartSummary(
      context, plan: plan, parameterCount: model.parameterCount, clients: loader.clients, codecChoice: codecChoice, report)
    runLog.say(summary.text)
    if isDone { runLog.say(doneSentence) }
    if let advice = timeline?.advice { runLog.say(advice) }
  }

  /// The message if the checkpoint already has all requested steps.
  private var doneSentence: String {
    let done =
      plan.steps == step
      ? "all \(step) steps were done" : "\(step) steps were done, more than the \(plan.steps) that are planned"
    return "nothing is left to do: \(done) when the checkpoint was saved; --steps or --epochs extend the run"
  }

  /// Reports a step: warnings at once, the numbers on logged steps.
  func tell(_ outcome: StepOutcome, rate: Float, isLogged: Bool) throws {
    for warning in [outcome.warning, timeline?.takeWarning()].compactMap(\.self) { runLog?.warn(warning) }
    if let end = outcome.warmStartEnd {
      runLog?.say("the warm start ends after step \(step): \(end.reason)")
      runLog?.tell(WarmStartEvent(step: step, signalShare: end.share, reason: end.reason, seconds: stopwatch.seconds))
    }
    if let events = outcome.events { runLog?.record(events) }
    let loss = outcome.meanLoss
    if isLogged {
      // The slowest and the busiest rank.
      let count = Double(outcome.stepCount)
      let own = [
        stopwatch.seconds, Double(outcome.traffic.bytesSent) / count, Double(outcome.traffic.messagesSent) / count,
        Double(outcome.activationBytes ?? 0) / count,
      ]
      let all = try timeline.span(.report) {
        try records.gather(own.map(\.bitPattern), activity: "the report of step \(step)")
      }
      let most = own.indices.map { word in all.map { Double(bitPattern: $0[word]) }.max() ?? 0 }
      runLog?.tell(
        StepEvent(
          step: step, epoch: epoch, samples: plan.samples(before: step), loss: loss, learningRate: rate, seconds: most[0],
          wireBytes: Int(most[1]), messages: Int(most[2]), residualRatio: outcome.residualRatio,
          activationBytes: outcome.activationBytes.map { _ in Int(most[3]) }, signalShare: outcome.signalShare,
          consensusDistance: outcome.consensusDistance))
    }
    runLog?.show(progressReport(after: step, loss: loss, bytesPerStep: outcome.traffic.bytesSent / outcome.stepCount))
    progress.ownSteps.begin(at: step)
  }

  /// Reports the steps between two meetings, as rank 0 sees them.
  func tell(_ own: Course.OwnSteps) {
    guard let runLog else { return }
    let line = progress.ownSteps.add(own, every: options.logEvery)
    let (done, since) = (own.step, max(1, own.step - step))
    runLog.show(
      progressReport(after: done, loss: line?.loss ?? progress.ownSteps.loss, bytesPerStep: own.traffic.bytesSent / since))
    guard let line else { return }
    runLog.tell(
      StepEvent(
        step: line.step, epoch: plan.epoch(of: line.step - 1) + 1, samples: plan.samples(before: line.step), loss: line.loss,
        learningRate: rate(at: line.step - 1, of: plan, factor: 1), seconds: stopwatch.seconds, wireBytes: line.bytesSent,
        messages: line.messagesSent, residualRatio: nil, rank: world.rank))
  }

  /// Reports an evaluation.
  func tell(_ result: Evaluation) throws {
    let seconds =
      try records.gather([stopwatch.seconds.bitPattern], activity: "the report of an evaluation")
      .map { Double(bitPattern: $0[0]) }.max() ?? 0
    runLog?.tell(
      EpochEvent(epoch: epoch, trainLoss: progress.tally.mean, test: result.figures, seconds: seconds))
    runLog?.accuracy = result.accuracy
    runLog?.show(progressReport(after: step, loss: progress.tally.mean, bytesPerStep: 0), isEvaluation: true)
  }

  /// Reports the outcome, the traffic between ranks, and whether compression paid off.
  ///
  /// Collective.
  func tellEnd(_ outcome: TrainingOutcome) throws {
    var times = strategy.times
    times.data = loader.seconds
    var summary = try EndSummary(
      outcome, since: firstStep, strategy.report, conclusion(), times: times, seconds: stopwatch.seconds, on: grid,
      parameterCount: model.parameterCount,
      activations: activationBytes, tuner: tuner, over: agreement.about("the end of the run"))
    runLog?.tell(summary.event(epochs: plan.epoch(of: step)))
    try timeline.span(.comparison) { try strategy.finish() }
    summary.note(comparison: strategy.report)
    runLog?.say(summary.text)
  }

  /// The bytes that this rank has sent to the other slices of its model so far, and the number predicted; nil if the model is
  /// on one rank.
  var activationBytes: (sent: Int, predicted: Int)? {
    (network as? any SlicedNetwork).map { (blocks?.traffic.bytesSent ?? 0, $0.predictedBytesSent) }
  }

  /// Ends the timeline, if any, and reports where it is.
  ///
  /// Collective.
  func tellTimeline() throws {
    guard let end = try timeline?.finish() else { return }
    if end.isWarning { runLog?.warn(end.text) } else { runLog?.say(end.text) }
  }

  /// Throws if part of the summaries could not be written, once everything else is done.
  ///
  /// Collective.
  func checkSummaries() throws {
    try together(agreement.about("the end of the run"), otherwise: .inputOutput) {
      if let loss = runLog?.loss { throw loss }
    }
  }

  /// The epoch of the last step, from 1.
  private var epoch: Int { plan.epoch(of: max(0, step - 1)) + 1 }

  private func progressReport(after step: Int, loss: Double, bytesPerStep: Int) -> ProgressDisplay.Progress {
    ProgressDisplay.Progress(
      epoch: plan.epoch(of: max(0, step - 1)) + 1, epochs: plan.epoch(of: plan.steps - 1) + 1, step: step, steps: plan.steps,
      samples: plan.samples(before: step) - plan.samples(before: firstStep),
      samplesLeft: plan.samples(before: plan.steps) - plan.samples(before: step), loss: loss, isOfText: dataset.kind == .tokens,
      accuracy: runLog?.accuracy, bytesPerStep: bytesPerStep, seconds: stopwatch.seconds)
  }
}
