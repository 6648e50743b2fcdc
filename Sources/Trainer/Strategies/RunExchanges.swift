internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
internal import Networks

/// The exchanges of a run, one for each way that gradients take (``Passage``), and what they cost.
///
/// All read the same gradients. Those that encode are one stream: residuals are in the units of gradients, and stay when the number
/// of bits changes. With AdaGrad by owners all have the same owners, so that what these remember goes on through the switch.
/// Source: algorithms §1.10.
final class RunExchanges {
  /// Of the steps after the warm start.
  let coded: GradientExchange
  /// Of the floats of a warm start; nil where there are none.
  let floats: GradientExchange?
  /// Of its phases of several bits.
  private let bits: [Int: GradientExchange]
  private let parts: StrategyParts
  private let options: GradientExchange.Options
  private let gradients: [SharedGradient]
  private let scaling: AggregateScaling?
  private let isOverlapped: Bool
  private var comparison = ExchangeComparison()
  /// Why floats could not be tried at the end of the run.
  private var comparisonObstacle: String?

  /// Prepares the exchanges of what lies in `gradients`, which are carried on as `overlap` says; collective.
  ///
  /// - Parameter isRestorable: Whether an exchange may be discarded.
  init(_ parts: StrategyParts, gradients: [SharedGradient], overlap: Overlap, isRestorable: Bool = false) throws {
    self.parts = parts
    self.gradients = gradients
    isOverlapped = overlap != .off || gradients.count > 1
    let layout = parts.network.layout
    var options = GradientExchange.Options()
    options.topology = parts.options.topology
    // Two half batches have whole gradients to exchange; there buckets gain nothing.
    if overlap != .off && gradients.count == 1 {
      options.linkSpeed = try LinkSpeed.measured(between: parts.hosts)
    }
    options.isRestorable = isRestorable
    // A thread has the time to decode while the model computes; between layers nothing is gained.
    options.decodesAhead = overlap == .thread
    options.observer = parts.timeline.map { timeline in
      let isFused = parts.options.clip == nil
      let decoding: StaticString = !isFused ? "decode" : parts.hosts.world.count > 1 ? "decode and update" : "update"
      return { timeline.note($0, decoding: decoding) }
    }
    self.options = options
    let owner = ScalingOwner()
    let rule = parts.scaling.flatMap { $0.place == .aggregate ? $0 : nil }
    if rule != nil {
      options.ownership = parts.codec
      options.ownerTransform = { unsafe owner.scaling?.scale($0, $1) }
    }
    coded = try GradientExchange(parts.codec, layout: layout, gradients: gradients, options: options)
    floats =
      parts.isCompressed && parts.plan.passages.contains(.floats)
      ? try GradientExchange(codecs.make("none"), layout: layout, gradients: gradients, options: options) : nil
    let coded = coded
    bits = try Dictionary(
      uniqueKeysWithValues: (parts.isCompressed ? parts.plan.passages.bitCounts : []).map { count in
        let codec = MultiBit(bits: count, grouping: parts.codec.grouping)
        return (
          count,
          try GradientExchange(codec, layout: layout, gradients: gradients, options: options, continuing: coded)
        )
      })
    let owned = coded.ownedRanges
    scaling = try rule.map {
      try AggregateScaling(
        $0, layout: layout, ownedRanges: owned, isRestorable: isRestorable, hosts: parts.grid.all)
    }
    owner.scaling = scaling
  }

  /// Starts an exchange; see `GradientExchange.begin(step:samples:of:isReady:)`.
  func begin(_ exchange: GradientExchange, step: Int, samples: Int, of index: Int = 0, isReady: Bool = true) throws {
    scaling?.begin()
    try exchange.begin(step: step, samples: samples, of: index, isReady: isReady)
  }

  /// Delivers what `driver` has driven, as it is meant for the update.
  func deliver(_ exchange: GradientExchange, by driver: ExchangeDriver, into destination: GradientExchange.Destination) throws {
    guard let scaling else { return try driver.deliver(exchange, into: destination) }
    try scaling.deliver(into: destination) { try driver.deliver(exchange, into: $0) }
  }

  /// The exchange of a step, counted from 0; nil where every rank computes the whole gradient for itself.
  func exchange(of step: Int, in plan: RunPlan) -> GradientExchange? {
    switch plan.passage(of: step) {
    case .replicated: return nil
    case .floats: return floats ?? coded
    case .bits(let count): return bits[count] ?? coded
    case .codec: return coded
    }
  }

  /// All of them.
  private var all: [GradientExchange] { [coded, floats].compactMap { $0 } + bits.values }

  /// Those of the warm start.
  private var ofWarmStart: [GradientExchange] { [floats].compactMap { $0 } + bits.values }

  /// Notes how long an exchange took with its update.
  func note(_ seconds: Double, of exchange: GradientExchange) {
    if exchange === coded || exchange === floats { comparison.add(seconds, isFloat: exchange === floats) }
  }

  /// Adds the residuals to the list of everything.
  func contribute(to inventory: inout StateInventory) {
    inventory.ownedRanges = coded.ownedRanges
    if let scaling { inventory.own.append(SavedTensor("ownerAdaGrad", of: scaling.squares)) }
    guard coded.residual.count > 0 else { return }
    inventory.own.append(SavedTensor("residual", of: coded.residual))
    inventory.own.append(SavedTensor("ownerResidual", of: coded.ownerResidual))
  }

  /// Gives residuals that were loaded to the ranks that encode them; collective.
  func place() throws { try coded.placeResidual() }

  /// Sets the residuals to zero; no exchange is under way.
  func forget() {
    coded.residual.clear()
    coded.ownerResidual.clear()
  }

  /// Makes one vector, in units of a gradient, of what ranks and owners had left behind: it is added to `contributions`.
  func merge(_ sums: FloatBuffer, into contributions: FloatBuffer) {
    scaling?.unscale(sums)
    for index in 0..<contributions.count { contributions[index] += sums[index] }
  }

  /// Adds the seconds of encoding, decoding and waiting; the update is fused into the decoding where `isFused`.
  func add(to times: inout PhaseTimes, isFused: Bool) {
    for exchange in all {
      times.encode += exchange.timing.encode / .seconds(1)
      times.wait += exchange.timing.wait / .seconds(1)
      // The owner's part is decoding for the most part.
      times.decode += exchange.timing.sum / .seconds(1)
      let decode = exchange.timing.decode / .seconds(1)
      if isFused && scaling == nil { times.update += decode } else { times.decode += decode }
    }
    times.update += scaling?.seconds ?? 0
  }

  /// What this rank sent and received so far, and how that compares with floats.
  var report: ExchangeReport {
    let hosts = parts.hosts
    var report = ExchangeReport()
    report.codec = coded.codec.specification
    report.isCompressed = parts.isCompressed
    for exchange in ofWarmStart {
      report.warmStartSteps += exchange.exchangeCount
      report.warmStartTraffic += exchange.traffic
    }
    report.steps = coded.exchangeCount
    report.traffic = coded.traffic
    report.predictedTraffic = coded.predictedTraffic
    if let none = try? codecs.make("none") {
      let rule = hosts.remoteRanks.isEmpty ? ExchangeGeometry.SegmentRule.sharedWindow : .messages
      report.floatTraffic = ExchangeGeometry(
        parts.network.layout, codec: none, ownership: scaling.map { _ in parts.codec }, rankCount: hosts.world.count,
        rule: rule,
        leastBucket: options.linkSpeed?.leastBucketByteCount
      ).predictedTraffic(of: hosts.world.rank, over: coded.routes)
    }
    report.nonFiniteGroups = all.reduce(0) { $0 + $1.nonFiniteGroups }
    report.agreementTraffic = parts.records.traffic + (scaling?.traffic ?? Traffic())
    report.areHidden = isOverlapped
    report.floatSeconds = comparison.floatSeconds
    report.codedSeconds = comparison.codedSeconds
    report.comparisonObstacle = comparisonObstacle
    return report
  }

  /// Measures what the report still lacks, unless there is no memory for that; collective.
  func finish() throws {
    guard parts.isCompressed else { return }
    // What is hidden says nothing of what is not. Inside one host trial exchanges take no time worth mentioning; over a slow network they might.
    if !isOverlapped && floats == nil && coded.exchangeCount > 0 && parts.grid.all.hostCount == 1 {
      do {
        try parts.hosts.releasingMemory { try tryFloats() }
      } catch ExchangeError.noSharedMemory {
        comparisonObstacle = "no shared memory is left for it (/dev/shm)"
      }
    }
    try comparison.settle(over: parts.records)
  }

  /// Exchanges the last gradient a few times as floats, with an update of scratch memory that costs what the real one does.
  private func tryFloats() throws {
    let count = gradients[0].values.count
    // Scratch memory, and some for the exchange.
    let isPossible = MemoryLimit.allows(byteCount: 4 * 4 * count + 1 << 24)
    let votes = try parts.records.gather([isPossible ? 1 : 0], activity: "a trial exchange of floats")
    guard votes.allSatisfy({ $0[0] == 1 }) else {
      comparisonObstacle = "a limit leaves no memory for it"
      return
    }
    let (weights, momenta) = (FloatBuffer(count: count), FloatBuffer(count: count))
    var options = options
    options.observer = nil
    let trial = try GradientExchange(
      codecs.make("none"), layout: parts.network.layout, gradient: gradients[0], options: options)
    for step in 0..<7 {
      _ = try parts.records.gather([UInt64(step)], activity: "a trial exchange of floats")
      let stopwatch = Stopwatch()
      try trial.run(
        step: step,
        into: .update { range, values in
          unsafe sgdUpdate(
            weights: weights.values(in: range).baseAddress!, gradient: values,
            momenta: momenta.values(in: range).baseAddress!, count: range.count, step: DescentStep(rate: 0, momentum: 0.5))
        })
      if step > 1 { comparison.add(stopwatch.seconds, isFloat: true) }
    }
  }
}

extension StrategyParts {
  /// Whether gradients cross between ranks by a code that leaves something behind.
  var isCompressed: Bool { !codec.isIdentity && hosts.world.count > 1 }
}

/// What the exchanges call, made before it is known what this rank owns.
private final class ScalingOwner {
  var scaling: AggregateScaling?
}
