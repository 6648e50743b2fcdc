internal import Buffers
internal import Codecs
internal import Collectives
internal import Files
internal import Kernels
internal import Optimizers
internal import Reporting
internal import Transport

/// What is saved, and what is told.
///
/// Checkpoints are those of meetings, where every rank's model is the one that is saved. Residuals are conserved by sums on another number
/// of ranks, and the outer momentum moves with its owners; an inner optimizer is found again by its rank, and a rank that did not exist
/// begins with that of rank 0.
extension LocalSteps {
  func contribute(to inventory: inout StateInventory) {
    aggregations.contribute(to: &inventory)
    replicated?.contribute(to: &inventory)
    optimizers.contribute(to: &inventory)
    refused.contribute(to: &inventory)
    inventory.counters["samplesOfClients"] = clients?.counter
  }

  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    aggregations.prepareToLoad(&inventory, savedBy: shareCount)
    optimizers.prepareToLoad(&inventory, savedBy: shareCount)
  }

  func restore(counters: [String: String]) {
    aggregations.restore(counters: counters)
    optimizers.restore(counters: counters)
    refused.restore(counters)
    clients?.restore(counters["samplesOfClients"])
  }

  func place() throws {
    try aggregations.place()
    inherited = aggregations.takeInheritance()
    startFromModel()
  }

  func forget() throws {
    aggregations.forget()
    owners.forget()
    replicated?.forget()
    optimizers.forgetMomentum()
    inherited = nil
    startFromModel()
  }

  func drain() -> Traffic { Traffic() }

  func settle() {}

  func abandon() {
    driver.abandon()
    parts.records.abandon()
  }

  func finish() throws { try aggregations.finish() }

  var report: ExchangeReport {
    var report = aggregations.report
    report.stepsPerExchange = settings.steps
    return report
  }

  var conclusion: StrategyConclusion {
    var conclusion = StrategyConclusion()
    guard roundCount > 0 else { return conclusion }
    let drift = changes.count > 0 ? (changes.squares / Double(changes.count)).squareRoot() : 0
    let whose = clients == nil ? "a rank" : "a client"
    conclusion.lines.append(
      "\(counted(roundCount, "round")) of \(counted(settings.steps, "step")), in which \(whose) moved its model by "
        + "\(decimal(drift, digits: 4)), as a root mean square")
    conclusion.members += [.init("rounds", .integer(roundCount)), .init("drift", .number(drift))]
    return conclusion
  }

  /// What may go wrong with these settings, before the first step.
  var warnings: [String] {
    var warnings: [String] = []
    let isCoded = parts.isCompressed
    let kept = isCoded ? parts.aggregation.codec?.typicalContraction ?? 1 : 1
    // A round in which ranks go 70 % of the way to where they would stay (p).
    let way = 0.7
    if let gain = rule.gain, gain * way / kept > 2 {
      warnings.append(
        "outer-rate=\(decimal(Double(rule.rate), digits: 2)) and outer-momentum=\(decimal(Double(rule.momentum), digits: 2)) move the "
          + "model by \(decimal(gain, digits: 2)) times what ranks change; over the \(decimal(kept, digits: 2)) of it that a code of "
          + "\(parts.aggregation.specification) carries, and with ranks that go \(decimal(100 * way, digits: 0)) % of their way in a round, "
          + "that is \(decimal(gain * way / kept, digits: 1)), and more than 2 may diverge")
    }
    let rounds = parts.plan.steps / settings.steps
    if isCoded, rule.remembers, rule.momentum >= 0.7, rounds < 100 {
      warnings.append(
        "\(counted(rounds, "round")) with an outer momentum of \(decimal(Double(rule.momentum), digits: 3)) and codes with error feedback "
          + "are few: what is sent late counts several times; below 100 use outer-momentum=0, or 0.5")
    }
    if rule.remembers, rule.momentum >= 0.7, settings.inner == .keep, hasInnerMomentum {
      warnings.append(
        "an outer momentum of \(decimal(Double(rule.momentum), digits: 2)) on top of that of --optimizer \(parts.options.optimizer) harms "
          + "short runs; outer-momentum=0.5 or less, or --momentum 0, does not")
    }
    return warnings
  }

  private var hasInnerMomentum: Bool {
    var state = StateInventory()
    parts.optimizer.contribute(to: &state)
    return state.tensor("momentum") != nil
  }
}
