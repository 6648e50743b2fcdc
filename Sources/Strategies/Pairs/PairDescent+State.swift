internal import Buffers
internal import Codecs
internal import Collectives
internal import Files
internal import Networks
internal import Optimizers
internal import PointToPoint
internal import Reporting
internal import Transport

/// What is saved, and what is told.
extension PairDescent {
  func contribute(to inventory: inout StateInventory) {
    let count = parts.network.layout.count
    // One vector of all models, of which a rank holds those of its workers.
    let places = exchange.placement.ids.map { $0 * count..<($0 + 1) * count }
    inventory.tensors.append(SavedTensor("models", .owned(places), of: exchange.models).ofWorkers())
    optimizers.contribute(to: &inventory)
    work.contribute(to: &inventory)
    inventory.counters["gradientsOfWorkers"] = gradientCounts.map(String.init).joined(separator: " ")
    inventory.counters["emulatedTime"] = parts.options.emulateSpeed.map { _ in String(emulatedTime.bitPattern) }
  }

  func restore(counters: [String: String]) {
    work.restore(counters: counters)
    emulatedTime = counters["emulatedTime"].flatMap { UInt64($0) }.map { Double(bitPattern: $0) } ?? 0
    guard !beginsAnew else { return }
    optimizers.restore(counters: counters)
    let counts = (counters["gradientsOfWorkers"] ?? "").split(separator: " ").compactMap { Int($0) }
    if counts.count == workerCount { gradientCounts = counts }
  }

  func place() {
    if beginsAnew { startFromModel() }
  }

  /// How far workers are from their mean, and how much each did.
  var conclusion: StrategyConclusion {
    var conclusion = StrategyConclusion()
    guard progress.stepCount > 0 else { return conclusion }
    conclusion.note(distance: progress.distance, workerCount: workerCount)
    if workerCount > 1 {
      conclusion.lines.append("gradients by worker: \(gradientCounts.map(String.init).joined(separator: ", "))")
    }
    conclusion.members.append(.init("gradients", .integers(gradientCounts)))
    if parts.options.emulateSpeed != nil { conclusion.note(emulatedTime: emulatedTime) }
    return conclusion
  }

  var report: ExchangeReport {
    var report = ExchangeReport()
    report.codec = "none"
    (report.steps, report.traffic) = (progress.stepCount, exchange.traffic)
    report.predictedTraffic = exchange.predictedTraffic
    report.floatTraffic = exchange.predictedTraffic
    (report.predictedTotal, report.floatTotal) = (predicted, predicted)
    report.agreementTraffic = parts.records.traffic + recordTraffic + optimizers.traffic
    report.areHidden = true
    report.comparisonObstacle = "an asynchronous run hides its exchanges"
    return report
  }
}
