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
/// Checkpoints are those of meetings, where every rank's model is the one that is saved. Residuals are conserved by sums on
/// another number of ranks, and the outer momentum moves with its owners; an inner optimizer is found again by its rank, and a
/// rank that did not exist begins with that of rank 0. Where the models of ranks differ from it, because only a fragment was
/// exchanged or what was is still to be applied, they are saved, too; on another number of ranks they begin at the model of the
/// run, and at most a round of steps is lost.
extension LocalSteps {
  func contribute(to inventory: inout StateInventory) {
    for exchange in exchanges { exchange.contribute(to: &inventory) }
    optimizers.contribute(to: &inventory)
    refused.contribute(to: &inventory)
    inventory.counters["samplesOfClients"] = clients?.counter
    if settings.keepsModels { inventory.tensors.append(SavedTensor("ownModel", .local, of: inner.model)) }
    flight?.contribute(to: &inventory)
  }

  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    hasOtherRanks = shareCount != parts.grid.shareCount
    for exchange in exchanges { exchange.prepareToLoad(&inventory, savedBy: shareCount) }
    optimizers.prepareToLoad(&inventory, savedBy: shareCount)
  }

  func restore(counters: [String: String]) {
    for exchange in exchanges { exchange.restore(counters: counters) }
    optimizers.restore(counters: counters)
    refused.restore(counters)
    clients?.restore(counters["samplesOfClients"])
    flight?.restore(counters)
  }

  func place() throws {
    for exchange in exchanges { try exchange.place() }
    guard settings.keepsModels, !hasOtherRanks else { return startFromModel() }
    for exchange in exchanges { lookAhead(in: exchange) }
  }

  func forget() throws {
    try land()
    for exchange in exchanges { exchange.forget() }
    optimizers.forgetMomentum()
    startFromModel()
  }

  func abandon() {
    driver.abandon()
    parts.records.abandon()
  }

  func finish() throws { for exchange in exchanges { try exchange.aggregations.finish() } }

  /// The exchanges of all fragments, and the averages of optimizers: what is predicted of one exchange is that of a round.
  var report: ExchangeReport {
    var report = reportOfFragments
    averaging?.count(in: &report)
    report.agreementTraffic += optimizers.traffic
    return report
  }

  /// The exchanges of all fragments: each counts, and what is predicted of one is of all fragments once.
  private var reportOfFragments: ExchangeReport {
    let reports = exchanges.map(\.aggregations.report)
    var report = reports[0]
    (report.shape.stepsPerExchange, report.shape.fragments) = (settings.steps, exchanges.count)
    guard exchanges.count > 1 else { return report }
    func sum(_ path: KeyPath<ExchangeReport, Traffic>) -> Traffic { reports.reduce(Traffic()) { $0 + $1[keyPath: path] } }
    report.warmStartSteps = reports.reduce(0) { $0 + $1.warmStartSteps }
    report.steps = reports.reduce(0) { $0 + $1.steps }
    report.nonFiniteGroups = reports.reduce(0) { $0 + $1.nonFiniteGroups }
    (report.warmStartTraffic, report.traffic) = (sum(\.warmStartTraffic), sum(\.traffic))
    (report.predictedTraffic, report.floatTraffic) = (sum(\.predictedTraffic), sum(\.floatTraffic))
    (report.predictedTotal, report.floatTotal) = (sum(\.predictedInAll), sum(\.floatsInAll))
    report.settledTraffic = reports[0].settledTraffic.map { _ in
      reports.reduce(Traffic()) { $0 + ($1.settledTraffic ?? Traffic()) }
    }
    report.shape.largestTraffic = reports.map(\.predictedTraffic).max { $0.bytesSent < $1.bytesSent }
    func total(_ path: KeyPath<ExchangeReport, Double?>) -> Double? {
      reports.reduce(0.0) { sum, own in sum.flatMap { sum in own[keyPath: path].map { sum + $0 } } }
    }
    (report.floatSeconds, report.codedSeconds) = (total(\.floatSeconds), total(\.codedSeconds))
    return report
  }

  var conclusion: StrategyConclusion {
    var conclusion = StrategyConclusion()
    guard roundCount > 0 else { return conclusion }
    let drift = changes.count > 0 ? (changes.squares / changes.count).squareRoot() : 0
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
    let options = parts.options
    return (try? Optimizers.optimizers.make(options.optimizer))?.remembersDirection(options.momentum) ?? false
  }
}
