package import Buffers
package import Codecs
package import Collectives
internal import MPI
internal import Networks
package import Optimizers
internal import Reporting
package import Transport

/// The aggregations of a run, one for each ``WarmStartPhase``, and their costs.
///
/// All read the same gradients. Those of a warm start and the one after it are one stream: residuals are in the units of
/// gradients, and stay when the number of bits changes. Where owners transform sums, all have the same owners, so that their
/// state carries over.
/// Source: algorithms §1.10.
package final class RunAggregations {
  /// The aggregation after the warm start.
  package let main: any Aggregation
  /// The aggregation of a warm start's floats, and of later ones that the optimizer asks for; nil if there are none.
  private let floats: CodedAllReduce?
  /// The aggregations of its phases of several bits, by number of bits.
  private let bits: [Int: CodedAllReduce]
  /// ``main``, if it is a coded all-reduce.
  private let coded: CodedAllReduce?
  private let parts: StrategyParts
  private let layout: TensorLayout
  private let options: CodedAllReduce.Options
  private let gradients: [SharedGradient]
  private let transform: (any OwnerTransform)?
  private let isOverlapped: Bool
  /// Residuals of the ranks of a checkpoint, until they are placed.
  private var inheritance: (contributions: FloatBuffer, sums: FloatBuffer)?
  private var comparison = ExchangeComparison()
  /// Why floats could not be tried at the end of the run.
  private var comparisonObstacle: String?

  /// Prepares the exchanges of `gradients`, advanced according to `overlap`.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - isRestorable: Whether an exchange may be discarded.
  ///   - atOwners: What owners do with sums; what belongs to the optimizer if nil.
  ///   - fragment: The tensors of a part of the model, if that is what crosses; of the whole model if nil.
  ///   - streams: The streams of its codes; those of this slice of the model if nil.
  ///   - isWhole: Whether a contribution is complete when its exchange begins, so that there is nothing to send early.
  package init(
    _ parts: StrategyParts, gradients: [SharedGradient], overlap: Overlap, isRestorable: Bool = false,
    atOwners: (any OwnerTransform)? = nil, of fragment: TensorLayout? = nil, streams: CodeStreams? = nil,
    isWhole: Bool = false
  ) throws {
    self.parts = parts
    self.gradients = gradients
    isOverlapped = overlap != .off || gradients.count > 1
    let layout = fragment ?? parts.network.layout
    self.layout = layout
    var options = CodedAllReduce.Options()
    options.topology = parts.options.topology
    let capabilities = parts.aggregation.capabilities
    // Two half batches exchange whole gradients; buckets gain nothing there.
    if overlap != .off && gradients.count == 1 && capabilities.discards && !isWhole {
      options.linkSpeed = try LinkSpeed.measured(between: parts.hosts)
    }
    options.isRestorable = isRestorable
    options.seed = parts.options.seed
    options.streams = streams ?? CodeStreams(slice: parts.grid.slice, of: parts.grid.sliceCount)
    // A thread has time to decode while the model computes; between layers nothing is gained.
    options.decodesAhead = overlap == .thread
    options.observer = parts.timeline.map { timeline in
      let isFused = GradientTransforms.atUpdate(parts.transformParts).isEmpty
      let decoding: StaticString = !isFused ? "decode" : parts.hosts.world.count > 1 ? "decode and update" : "update"
      return { timeline.note($0, decoding: decoding) }
    }
    self.options = options
    transform = atOwners ?? GradientTransforms.atOwner(parts.transformParts)
    if let transform {
      options.ownership = parts.aggregation.codec
      options.ownerTransform = { transform.transform($0, $1) }
    }
    var aggregationParts = AggregationParts(hosts: parts.hosts, layout: layout, gradients: gradients)
    aggregationParts.options = options
    aggregationParts.model = parts.parameters
    aggregationParts.momentum = parts.options.momentum
    aggregationParts.clip = parts.options.clip
    aggregationParts.normRanks = parts.grid.all
    aggregationParts.seed = parts.options.seed
    let main = try parts.aggregation(aggregationParts)
    let coded = main as? CodedAllReduce
    (self.main, self.coded) = (main, coded)
    floats =
      parts.isCompressed && parts.plan.warmStartPhases.contains(.floats)
      ? try CodedAllReduce(codecs.make("none"), layout: layout, gradients: gradients, options: options) : nil
    bits = try Dictionary(
      uniqueKeysWithValues: (parts.isCompressed ? parts.plan.warmStartPhases.bitCounts : []).compactMap { count in
        guard let coded else { return nil }
        let codec = MultiBit(bits: count, grouping: coded.codec.grouping)
        return (
          count,
          try CodedAllReduce(codec, layout: layout, gradients: gradients, options: options, continuing: coded)
        )
      })
    try transform?.attach(ownedRanges: coded?.ownedRanges ?? [], isRestorable: isRestorable, hosts: parts.grid.all)
  }

  /// Starts an exchange.
  package func begin(_ exchange: any Aggregation, _ contribution: Contribution) throws {
    transform?.begin()
    try exchange.begin(contribution)
  }

  /// Delivers the exchange that `driver` has driven, in the form that the update needs.
  package func deliver(_ exchange: any Aggregation, by driver: ExchangeDriver, into sink: Sink) throws {
    guard let transform else { return try driver.deliver(exchange, into: sink) }
    try transform.deliver(into: sink) { try driver.deliver(exchange, into: $0) }
  }

  /// The aggregation of a step, counted from 0; nil if every rank computes the whole gradient by itself.
  func aggregation(of step: Int, in plan: RunPlan) -> (any Aggregation)? {
    switch plan.phase(of: step) {
    case .replicated: return nil
    case .floats: return floats ?? main
    case .bits(let count): return bits[count] ?? main
    case .codec: return parts.optimizer.exchangesFloats(at: step) ? floats ?? main : main
    }
  }

  /// All aggregations.
  private var all: [any Aggregation] { [main] + ofWarmStart }

  /// Those of the warm start.
  private var ofWarmStart: [any Aggregation] { [floats].compactMap { $0 } + bits.values }

  /// Records how long an exchange took with its update.
  func note(_ seconds: Double, of exchange: any Aggregation) {
    if exchange === main || exchange === floats { comparison.add(seconds, isFloat: exchange === floats) }
  }

  /// Adds the residuals to the inventory.
  func contribute(to inventory: inout StateInventory) {
    transform?.contribute(to: &inventory)
    main.contribute(to: &inventory)
  }

  /// Restores the counters.
  func restore(counters: [String: String]) {
    transform?.restore(counters: counters)
    main.restore(counters: counters)
  }

  /// Moves loaded residuals to the ranks that encode them.
  ///
  /// Collective.
  func place() throws { try main.place() }

  /// Sets the residuals to zero; no exchange may be in flight.
  func forget() { main.forget() }

  /// Adjusts the inventory to what `shareCount` ranks have saved.
  ///
  /// One rank has no residuals: those of several are loaded to go into its first gradient, so that nothing is lost, and several
  /// ranks begin without any after one.
  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    guard let codec = parts.aggregation.codec, !codec.isIdentity else { return }
    if shareCount == 1 { inventory.tensors.removeAll { $0.isShareOfMean } }
    guard shareCount > 1, parts.hosts.world.count == 1 else { return }
    let count = layout.count
    let inheritance = (contributions: FloatBuffer(count: count), sums: FloatBuffer(count: count))
    self.inheritance = inheritance
    inventory.tensors += CodedAllReduce.savedResiduals(inheritance.contributions, ofOwner: inheritance.sums, [0..<count])
  }

  /// What ranks and owners had not sent, in gradient units, if this run has loaded it and has no residuals; nil otherwise.
  func takeInheritance() -> FloatBuffer? {
    guard let (contributions, sums) = inheritance else { return nil }
    inheritance = nil
    transform?.restoreUnits(of: sums)
    for index in 0..<contributions.count { contributions[index] += sums[index] }
    return contributions
  }

  /// The seconds of steps in `frame`, updated by `update`.
  func times(_ frame: StepFrame, _ update: ModelUpdate) -> PhaseTimes {
    var times = exchangeTimes(isFused: update.isFused && transform == nil)
    times.compute = frame.computation.seconds
    times.agreement = frame.agreementSeconds
    times.wait += times.agreement + frame.computation.waitingSeconds
    times.update += update.seconds
    return times
  }

  /// The seconds of all exchanges, whose updates are a part of decoding if `isFused`.
  func exchangeTimes(isFused: Bool) -> PhaseTimes {
    var times = PhaseTimes()
    for exchange in all {
      times.encode += exchange.timing.encode / .seconds(1)
      times.wait += exchange.timing.wait / .seconds(1)
      // The owner's part is mostly decoding.
      times.decode += exchange.timing.sum / .seconds(1)
      let decode = exchange.timing.decode / .seconds(1)
      if isFused { times.update += decode } else { times.decode += decode }
    }
    times.update += transform?.seconds ?? 0
    return times
  }

  /// This rank's traffic so far, compared with that of floats.
  var report: ExchangeReport {
    let hosts = parts.hosts
    var report = ExchangeReport()
    report.codec = main.specification
    report.isCompressed = parts.isCompressed
    for exchange in ofWarmStart {
      report.warmStartSteps += exchange.exchangeCount
      report.warmStartTraffic += exchange.traffic
    }
    report.steps = main.exchangeCount
    report.traffic = main.traffic
    report.predictedTraffic = main.predictedTraffic
    report.predictsAtMost = main.predictsAtMost
    (report.predictedTotal, report.settledTraffic) = (main.rampTraffic?.total, main.rampTraffic?.settled)
    if let none = try? codecs.make("none") {
      let rule = hosts.remoteRanks.isEmpty ? ExchangeGeometry.SegmentRule.sharedWindow : .messages
      report.floatTraffic = ExchangeGeometry(
        layout, codec: none, ownership: transform.flatMap { _ in parts.aggregation.codec },
        rankCount: hosts.world.count,
        rule: rule,
        leastBucket: options.linkSpeed?.leastBucketByteCount
      ).predictedTraffic(of: hosts.world.rank, over: coded?.routes ?? hosts.routes(.flat))
    }
    report.nonFiniteGroups = all.reduce(0) { $0 + $1.nonFiniteGroups }
    report.agreementTraffic =
      parts.records.traffic + (transform?.traffic ?? Traffic()) + (parts.statistics?.traffic ?? Traffic())
    report.areHidden = isOverlapped
    report.floatSeconds = comparison.floatSeconds
    report.codedSeconds = comparison.codedSeconds
    report.comparisonObstacle = comparisonObstacle
    return report
  }

  /// Measures what the report still lacks, unless there is no memory for it.
  ///
  /// Collective.
  func finish() throws {
    guard parts.isCompressed, let coded else { return }
    // Hidden exchanges cannot be compared with others. Within one host, sample exchanges take no time worth mentioning; over a
    // slow network they might.
    if !isOverlapped && floats == nil && coded.exchangeCount > 0 && parts.grid.all.hostCount == 1 {
      do {
        try parts.hosts.releasingMemory { try tryFloats() }
      } catch ExchangeError.noSharedMemory {
        comparisonObstacle = "no shared memory is left (/dev/shm)"
      }
    }
    try comparison.settle(over: parts.records)
  }

  /// Exchanges the last gradient a few times as floats, with an update of scratch memory that costs as much as the real one.
  private func tryFloats() throws {
    let count = gradients[0].values.count
    // Scratch memory, and some for the exchange.
    let isPossible = MemoryLimit.allows(byteCount: 4 * 4 * count + 1 << 24)
    let votes = try parts.records.gather([isPossible ? 1 : 0], activity: "a sample exchange of floats")
    guard votes.allSatisfy({ $0[0] == 1 }) else {
      comparisonObstacle = "a limit leaves too little memory"
      return
    }
    let (weights, optimizer) = (FloatBuffer(count: count), parts.optimizer.fresh())
    var options = options
    options.observer = nil
    let sample = try CodedAllReduce(
      codecs.make("none"), layout: layout, gradient: gradients[0], options: options)
    for step in 0..<7 {
      _ = try parts.records.gather([UInt64(step)], activity: "a sample exchange of floats")
      let stopwatch = Stopwatch()
      optimizer.prepare(samples: parts.plan.minibatch, share: 1)
      try sample.run(step: step, into: .update { optimizer.update($0, of: weights, with: $1, rate: 0) })
      optimizer.finish(weights, rate: 0)
      if step > 1 { comparison.add(stopwatch.seconds, isFloat: true) }
    }
  }
}

extension StrategyParts {
  /// Whether contributions are exchanged between ranks in a form other than floats.
  var isCompressed: Bool { aggregation.codec?.isIdentity != true && hosts.world.count > 1 }
}
