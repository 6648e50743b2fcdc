internal import Buffers
internal import Checkpoints
internal import Codecs
internal import Files
internal import Optimizers
internal import PointToPoint
internal import Reporting
internal import Transport

extension Asynchronous {
  func contribute(to inventory: inout StateInventory) {
    if let workerOptimizers {
      workerOptimizers.contribute(to: &inventory)
    } else {
      // Each owner has the state of its shard.
      var state = StateInventory()
      parts.optimizer.contribute(to: &state)
      inventory.tensors += state.tensors.map { $0.owned(server.ownElements) }
      inventory.counters.merge(state.counters) { $1 }
    }
    server.contribute(to: &inventory)
    work.contribute(to: &inventory)
    inventory.counters["emulatedTime"] = parts.options.emulateSpeed.map { _ in String(emulatedTime.bitPattern) }
  }

  /// If the checkpoint has another number of workers, those with a state of their own begin anew, at the centre.
  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    beginsAnew = workerOptimizers != nil && (settings.workerCount ?? shareCount) != workerCount
    if beginsAnew { inventory.tensors.removeAll(where: \.isOfWorkers) }
  }

  func restore(counters: [String: String]) {
    if workerOptimizers == nil { parts.optimizer.restore(counters: counters) }
    if !beginsAnew { workerOptimizers?.restore(counters: counters) }
    server.restore(counters: counters)
    server.setModels(areThere: !beginsAnew)
    work.restore(counters: counters)
    emulatedTime = counters["emulatedTime"].flatMap { UInt64($0) }.map { Double(bitPattern: $0) } ?? 0
  }

  /// How old pushes were when the owner of the first shard applied them, by worker, from the start of the run on, and how far workers
  /// are from the centre.
  var conclusion: StrategyConclusion {
    let histograms = server.staleness
    let all = histograms.reduce(into: [Int: Int]()) { $0.merge($1) { $0 + $1 } }
    let count = all.values.reduce(0, +)
    var conclusion = StrategyConclusion()
    guard count > 0 else { return conclusion }
    let mean = Double(all.reduce(0) { $0 + $1.key * $1.value }) / Double(count)
    let pushes = histograms.map { String($0.values.reduce(0, +)) }.joined(separator: ", ")
    conclusion.lines.append(
      "\(pushed) were \(decimal(mean, digits: 2)) pushes old when they were applied, at most \(all.keys.max()!); pushes by worker: \(pushes)"
    )
    let values = Double(shard.pushes * server.ownElements.count)
    if values > 0 {
      let (up, down) = (Double(shard.pushBytes) / values, Double(shard.answerBytes) / values)
      conclusion.lines.append(
        "a push had \(decimal(up, digits: 3)) bytes a value, and its answer \(decimal(down, digits: 3)), headers among them")
      conclusion.members += [.init("bytesUpPerValue", .number(up)), .init("bytesDownPerValue", .number(down))]
    }
    if let distance {
      conclusion.lines.append("workers are \(decimal(distance, digits: 3)) from the centre, as a root mean square")
      conclusion.members.append(.init("workerDistance", .number(distance)))
    }
    if parts.options.emulateSpeed != nil { conclusion.note(emulatedTime: emulatedTime) }
    conclusion.members.append(
      .init(
        "staleness",
        .array(histograms.map { histogram in .integers((0...(histogram.keys.max() ?? 0)).map { histogram[$0] ?? 0 }) })))
    return conclusion
  }

  /// What workers push.
  private var pushed: String {
    switch settings.method {
    case .gradients: "gradients"
    case .elastic: "models"
    case .localSteps: "changes"
    }
  }

  var times: PhaseTimes {
    var times = PhaseTimes()
    times.compute = work.computation.seconds - secondsBetweenLayers
    times.update = rates.updateSeconds
    times.wait = max(0, seconds - times.compute - rates.updateSeconds)
    return times
  }

  var service: ServiceRecord? { server.service }

  var report: ExchangeReport {
    var report = ExchangeReport()
    report.codec = codec.specification
    report.isCompressed = parts.isCompressed
    (report.warmStartSteps, report.warmStartTraffic) = (steps.floats, traffic.floats)
    (report.steps, report.traffic) = (steps.codes, traffic.codes)
    report.floatTraffic = server.traffic(ofFloats: workerCount)
    report.predictedTraffic = server.predictedTraffic(of: workerCount)
    report.agreementTraffic = parts.records.traffic + recordTraffic + (workerOptimizers?.traffic ?? Traffic())
    report.nonFiniteGroups = server.nonFiniteGroups
    report.areHidden = true
    report.comparisonObstacle = "an asynchronous run hides its exchanges"
    return report
  }
}
