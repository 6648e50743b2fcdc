internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Collectives
internal import Files
internal import Networks
internal import Optimizers
internal import PointToPoint
internal import Reporting
internal import Transport

/// What is saved, and what is told.
extension GossipDescent {
  func contribute(to inventory: inout StateInventory) {
    for state in exchange.state {
      // One vector of all workers', of which a rank holds those of its own.
      let places = exchange.ids.map { $0 * state.count..<($0 + 1) * state.count }
      inventory.tensors.append(SavedTensor(state.name, .owned(places), of: state.buffer).ofWorkers())
    }
    optimizers.contribute(to: &inventory)
    work.contribute(to: &inventory)
  }

  func restore(counters: [String: String]) {
    work.restore(counters: counters)
    guard !beginsAnew else { return }
    optimizers.restore(counters: counters)
  }

  func place() throws {
    if beginsAnew { startFromModel() } else { try exchange.settleState() }
  }

  /// How far workers are from their mean.
  var conclusion: StrategyConclusion {
    var conclusion = StrategyConclusion()
    guard progress.stepCount > 0 else { return conclusion }
    conclusion.note(distance: progress.distance, workerCount: workerCount)
    return conclusion
  }

  var report: ExchangeReport {
    var report = ExchangeReport()
    let codec = settings.method == .compressed ? parts.aggregation.codec ?? Identity() : Identity()
    report.codec = codec.specification
    report.isCompressed = !codec.isIdentity && workerCount > 1
    report.predictsAtMost = codec.hasVaryingLength
    (report.steps, report.traffic) = (progress.stepCount, exchange.traffic)
    report.predictedTraffic = mean { exchange.predictedTraffic(in: $0) }
    report.floatTraffic = mean(floatTraffic)
    (report.predictedTotal, report.floatTotal) = (predicted.codes, predicted.floats)
    report.agreementTraffic = parts.records.traffic + optimizers.traffic
    report.nonFiniteGroups = exchange.nonFiniteGroups
    report.areHidden = true
    report.comparisonObstacle = "a gossip run hides its exchanges"
    return report
  }

  /// The traffic of this rank in `steps`, if what it sends were floats.
  func floatTraffic(in steps: Range<Int>) -> Traffic {
    guard settings.method != .outerPairs else { return exchange.predictedTraffic(in: steps) }
    return exchange.traffic(in: steps, messageByteCount: 4 * parts.network.layout.count)
  }

  /// The traffic of a step, in the mean over as many exchanges as show whom workers send to.
  private func mean(_ traffic: (Range<Int>) -> Traffic) -> Traffic {
    let (exchanges, every) = (64, settings.method == .outerPairs ? settings.steps : 1)
    return (1...exchanges).map { traffic($0 * every - 1..<$0 * every) }.reduce(Traffic(), +) / (exchanges * every)
  }
}

extension GossipSettings {
  /// Throws if workers that meet in random pairs would move apart, whatever they learn.
  func checkContraction(of workerCount: Int) throws(OptionError) {
    guard method == .outerPairs, workerCount > 1 else { return }
    let contraction = outerStep.contraction(of: workerCount)
    guard contraction >= 1 else { return }
    throw OptionError(
      "--strategy gossip: with outer-momentum=\(outerStep.momentum) and gamma=\(outerStep.gamma), a round multiplies the mean square distance of "
        + "\(workerCount) workers by \(decimal(contraction, digits: 2)), so that they move apart; lower gamma or outer-momentum"
    )
  }
}
