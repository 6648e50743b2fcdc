internal import Buffers
internal import Collectives
internal import Optimizers
internal import Reporting
internal import Strategies
internal import Transport

extension TrainingRun {
  /// The learning rate of a step of `plan`; per sample it does not depend on the minibatch.
  func rate(at step: Int, of plan: RunPlan, factor: Double) -> Float {
    let growth = Double(plan.minibatch(of: plan.epoch(of: step))) / Double(plan.minibatch)
    let share = schedule.factor(at: plan.position(of: step), of: plan.horizon)
    return Float(options.learningRate * share * factor * growth)
  }

  /// Decides the learning rate and the minibatch if an epoch begins and tuning was requested.
  ///
  /// Collective.
  ///
  /// Trials leave no trace but the decision.
  ///
  /// - Returns: Whether a stop was requested meanwhile; the run can be resumed from this step.
  func tune() throws -> Bool {
    guard let tuner, plan.beginsEpoch(step) else { return false }
    let epoch = plan.epoch(of: step)
    if tuner.decidedEpoch < epoch {
      switch tuner.control {
      // Right after the labels have changed there is no loss to compare.
      case .afterEpoch(let control) where epoch % control.interval == 0 && tuner.tally.sampleCount > 0:
        try timeline.span(.tuning) { try adjustRate(by: control, tuner) }
      case .search(let search) where epoch % search.interval == 0:
        if try !tuner.searching({ try searchRate(by: search, tuner) }) { return true }
      default: break
      }
      tuner.decidedEpoch = epoch
      tuner.note(rate: try agree(options.learningRate * scheduleShare() * tuner.factor))
    }
    guard let search = tuner.search, search.isDue(before: epoch), step < plan.steps else { return false }
    return try !tuner.searching { try searchMinibatch(by: search, tuner) }
  }

  /// The schedule's learning rate at the next step as a share of the full one; 1 during warmup.
  private func scheduleShare() -> Double {
    let position = plan.position(of: step)
    return position < Double(schedule.warmup) ? 1 : schedule.factor(at: position, of: plan.horizon)
  }

  /// Rank 0's number; other ranks' may differ if their machines round a cosine differently.
  private func agree(_ number: Double) throws -> Double {
    let all = try records.gather([number.bitPattern], activity: "the tuning before step \(step + 1)")
    return Double(bitPattern: all[0][0])
  }
}

// MARK: - Changes after epochs

extension TrainingRun {
  private func adjustRate(by control: AfterEpoch, _ tuner: Tuner) throws {
    let loss = control.samples == .train ? tuner.tally.mean : try evaluator.evaluate(parameters).loss
    let before = tuner.factor
    var event = tuningEvent(.learningRate, before: options.learningRate * scheduleShare() * before)
    event.trials = [.init(loss: loss, isAccepted: true)]
    event.previousLoss = tuner.memory.previous
    let decision = control.decide(loss, &tuner.memory)
    if tuner.best != nil { try keepBest(loss, goesBack: decision.goesBack, tuner) }
    tuner.factor *= decision.factor
    tuner.tally = LossTally()
    if decision.ends {
      _ = try strategy.drain()
      loader.plan.end(after: step)
    }
    event.after = options.learningRate * scheduleShare() * tuner.factor
    (event.goesBack, event.endsRun) = (decision.goesBack, decision.ends)
    tell(event)
  }

  /// Goes back to the best state, or records the current state as the best.
  private func keepBest(_ loss: Double, goesBack: Bool, _ tuner: Tuner) throws {
    guard let best = tuner.best else { return }
    try strategy.settle()
    let minibatch = plan.minibatch(of: plan.epoch(of: step))
    if goesBack {
      put(back: best.state)
      stateInventory.rescaleResiduals(from: best.minibatch, to: minibatch)
    } else if loss.isFinite {
      best.take(stateInventory, minibatch: minibatch)
    }
  }

  private func put(back snapshot: StateSnapshot) {
    stateInventory.copyTensors(from: snapshot.inventory)
    strategy.restore(counters: snapshot.inventory.counters)
  }
}

// MARK: - Searches

extension TrainingRun {
  /// Returns whether a rate was chosen; false if a stop was requested.
  private func searchRate(by search: RateSearch, _ tuner: Tuner) throws -> Bool {
    let epoch = plan.epoch(of: step)
    let minibatch = plan.minibatch(of: epoch)
    let full = try agree(options.learningRate * scheduleShare())
    guard full > 0 else { return true }
    let sampleCount = search.sampleCount(of: plan.sampleCount, minibatch: minibatch)
    let situation = RateSearch.Situation(
      initial: options.learningRate, current: full * tuner.factor, recent: tuner.recentRates,
      previous: tuner.tally.sampleCount > 0 ? tuner.tally.mean : nil, share: Double(sampleCount) / Double(plan.sampleCount))
    var event = tuningEvent(.learningRate, before: situation.current)
    let choice = try search.choose(in: situation, isFirst: epoch == 0) { rate in
      try measure(minibatch: minibatch, factor: rate / full, sampleCount: sampleCount, tuner)?.loss
    }
    guard let choice else { return false }
    tuner.factor = try agree(choice.rate / full)
    tuner.tally = LossTally()
    event.after = full * tuner.factor
    event.trials = choice.trials.map { .init(learningRate: $0.rate, loss: $0.criterion, isAccepted: $0.rate == choice.rate) }
    tell(event)
    return true
  }

  /// Returns whether a minibatch was chosen; false if a stop was requested.
  private func searchMinibatch(by search: MinibatchSearch, _ tuner: Tuner) throws -> Bool {
    let epoch = plan.epoch(of: step)
    let current = plan.minibatch(of: epoch)
    let situation = MinibatchSearch.Situation(
      epoch: epoch, initial: plan.minibatch, current: current, rateShare: try agree(scheduleShare() * tuner.factor),
      sampleCount: plan.sampleCount)
    let sampleCount = search.sampleCount(in: situation)
    var event = tuningEvent(.minibatch, before: Double(current))
    let choice = try search.choose(among: search.sizes(in: situation), current: current) { minibatch in
      let outcome = try measure(minibatch: minibatch, factor: tuner.factor, sampleCount: sampleCount, tuner)
      return search.criterion == .loss ? outcome?.loss : outcome?.accuracy
    }
    guard let choice else { return false }
    let minibatch = Int(try agree(Double(choice.minibatch)))
    try strategy.settle()
    stateInventory.rescaleResiduals(from: current, to: minibatch)
    optimizer.setMinibatch(minibatch)
    loader.plan.use(minibatch: minibatch, from: epoch)
    event.after = Double(minibatch)
    event.trials = choice.trials.map {
      .init(
        minibatch: $0.minibatch, loss: search.criterion == .loss ? $0.criterion : nil,
        accuracy: search.criterion == .accuracy ? $0.criterion : nil, isAccepted: $0.isAccepted)
    }
    tell(event)
    return true
  }

  /// Trains a copy on the first samples of the epoch; nil if a stop was requested.
  private func measure(minibatch: Int, factor: Double, sampleCount: Int, _ tuner: Tuner) throws -> Trial.Outcome? {
    guard let trial = tuner.trial else { fatalError("a search has nothing to train") }
    let (stopwatch, activationsBefore) = (Stopwatch(), activationBytes ?? (sent: 0, predicted: 0))
    defer {
      tuner.seconds += stopwatch.seconds
      let activations = activationBytes ?? (sent: 0, predicted: 0)
      tuner.activations.sent += activations.sent - activationsBefore.sent
      tuner.activations.predicted += activations.predicted - activationsBefore.predicted
    }
    let epoch = plan.epoch(of: step)
    let (course, steps) = plan.trial(of: epoch, minibatch: minibatch, sampleCount: sampleCount)
    // What is still in flight belongs to the state: it is applied for the trial and undone after it.
    try strategy.settle()
    let snapshot = StateSnapshot(of: stateInventory)
    progress.uncountedTraffic += try strategy.drain()
    defer { put(back: snapshot) }
    return try timeline.span(.tuning) {
      try trial.run(from: stateInventory, currentMinibatch: plan.minibatch(of: epoch), plan: course, steps: steps) {
        rate(at: $0, of: course, factor: factor)
      }
    }
  }
}

// MARK: - Reporting

extension TrainingRun {
  private func tuningEvent(_ quantity: TuningEvent.Quantity, before: Double) -> TuningEvent {
    TuningEvent(step: step, epoch: plan.epoch(of: step) + 1, quantity: quantity, before: before)
  }

  private func tell(_ event: TuningEvent) {
    guard let runLog else { return }
    var event = event
    event.seconds = stopwatch.seconds
    runLog.tell(event)
    runLog.say(event.text)
  }
}
