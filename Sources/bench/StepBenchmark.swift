internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
internal import Networks
internal import Trainer

/// How `bench step` works on a step, as the strategies of the same names do in `train`.
enum StepStrategy: String, CaseIterable {
  /// Every rank exchanges every step's gradient.
  case allReduce = "all-reduce"
  /// Half a minibatch is computed while the gradient of the half before is exchanged.
  case doubleBuffer = "double-buffer"
}

/// Training steps of one rank on samples that stay the same, whole and in parts, with the time of each part.
///
/// An *exchange* below is one exchange with what belongs to it: the computation of its gradient, the ranks' agreement, the update. With
/// double buffering a step has two.
final class StepBenchmark {
  /// What is measured.
  struct Setting {
    var network: any Network
    var codec: any Codec
    /// The samples of a step over all ranks.
    var minibatch: Int
    var overlap = Overlap.auto
    var topology = Topology.auto
    var strategy = StepStrategy.allReduce
    /// The ranks that the model is split over.
    var modelParallel = 1
    /// The threads with which a rank computes.
    var threads = 1
    /// Seconds of a step that each rank sleeps instead of computing; nil where it computes.
    var emulatedCompute: Double?
  }

  /// What an iteration consists of.
  enum Part: CaseIterable {
    /// A step without its exchange: forward, backward, the ranks' agreement, and an update.
    case computation
    /// The agreement, and then the exchange alone, of a gradient that is there already, into nothing.
    case communication
    /// All of it.
    case whole
  }

  /// Seconds of one iteration.
  struct Times {
    /// All of it.
    var total = 0.0
    /// Forward and backward.
    var compute = 0.0
    /// Asking all ranks whether the step may be done.
    var agreement = 0.0
    /// What is left of the exchange when the step has computed: waiting for sums and decoding them.
    var exposed = 0.0
    /// The waiting in ``exposed``.
    var waiting = 0.0
    /// Moving the parameters.
    var update = 0.0
    /// All but the agreement.
    var withoutAgreement = 0.0

    static var fields: [WritableKeyPath<Times, Double>] {
      [\.total, \.compute, \.agreement, \.exposed, \.waiting, \.update, \.withoutAgreement]
    }
  }

  let setting: Setting
  /// All ranks, and those that exchange the same gradient.
  let grid: RankGrid
  /// Who carries exchanges on while the model computes.
  let driver: ExchangeDriver
  private var isDoubleBuffered: Bool { setting.strategy == .doubleBuffer }
  /// The model, or this rank's stripe of it.
  private let network: any Network
  private let batch: Minibatch
  private let emulation: EmulatedCompute?
  private let parameters: FloatBuffer
  private let momenta: FloatBuffer
  private let gradients: [SharedGradient]
  private let exchange: CodedAllReduce
  private let records: RecordExchange
  private let descent = DescentStep(rate: 0.001, momentum: 0.9)
  private var times: [Part: [Times]] = [:]
  /// Seconds of an iteration, of each turn.
  private var turnTimes: [Part: [Double]] = [:]
  private var exchangeCount = 0
  /// The gradient that is computed next.
  private var turn = 0
  private var updateSeconds = 0.0

  /// Prepares this rank's share of the samples; collective.
  ///
  /// - Throws: Where such a model cannot be split, too.
  init(_ setting: Setting, world: Communicator) throws {
    self.setting = setting
    let isDoubleBuffered = setting.strategy == .doubleBuffer
    let grid = try RankGrid(HostMap(world, patience: benchPatience), stripeCount: setting.modelParallel)
    let blocks = try grid.modelGroup.map { try BlockExchange($0) }
    let stripe = blocks.flatMap { setting.network.striped(over: $0) }
    if blocks != nil && stripe == nil {
      throw SpecificationError("--model-parallel: such a model cannot be split; softmax and mlp can")
    }
    let network = stripe ?? setting.network
    (self.grid, self.network) = (grid, network)
    parameters = FloatBuffer(count: network.layout.count)
    momenta = FloatBuffer(count: network.layout.count)
    network.initialize(parameters, seed: 1)
    driver = ExchangeDriver(
      setting.overlap.resolved(for: grid.dataGroup, among: grid.all, threads: setting.threads))
    gradients = try (0..<(isDoubleBuffered ? 2 : 1)).map { _ in
      try SharedGradient(count: network.layout.count, hosts: grid.dataGroup)
    }
    var options = CodedAllReduce.Options()
    options.topology = setting.topology
    // As in training: what begins before all ranks have agreed must be able to be discarded.
    options.isRestorable = driver.overlap != .off && !isDoubleBuffered
    options.decodesAhead = driver.overlap == .thread
    if driver.overlap != .off && !isDoubleBuffered { options.linkSpeed = try LinkSpeed.measured(between: grid.dataGroup) }
    exchange = try CodedAllReduce(setting.codec, layout: network.layout, gradients: gradients, options: options)
    records = try RecordExchange(grid.all)
    let samples = isDoubleBuffered ? (setting.minibatch + 1) / 2 : setting.minibatch
    let share = Partition(count: samples, into: grid.shareCount)[grid.share]
    batch = Minibatch(capacity: share.count, featureCount: network.inputCount)
    batch.count = share.count
    emulation = try setting.emulatedCompute.map {
      EmulatedCompute(
        network.layout, seconds: $0 / (isDoubleBuffered ? 2 : 1),
        blocks: try blocks.flatMap { blocks in try stripe.map { try .init($0, sampleCount: share.count, over: blocks) } })
    }
    let random = Philox(seed: 1, purpose: .tests, stream: grid.share)
    // Uniform in ±√3: mean 0 and variance 1, as standardised inputs have.
    for index in 0..<batch.inputs.count { batch.inputs[index] = (2 * random.uniform(index) - 1) * Float(3).squareRoot() }
    for row in 0..<share.count { batch.labels[row] = Int32(random.word(row, tensor: 1) % UInt32(network.classCount)) }
    // Where the computation is emulated, this is what is exchanged.
    for (number, gradient) in gradients.enumerated() {
      for index in 0..<gradient.values.count { gradient.values[index] = random.uniform(index, tensor: 2 + number) - 0.5 }
    }
  }

  /// The sizes of the layers, from the inputs to the classes.
  var sizes: [Int] {
    [setting.network.inputCount]
      + setting.network.layout.tensors.reversed().filter { $0.shape.count == 2 }.map { $0.shape[0] }
  }

  /// Runs iterations of one kind after one another, as in training: no rank waits for others but by the exchange.
  ///
  /// Collective.
  func run(_ part: Part, count: Int) throws {
    do {
      try grid.all.meet("a measurement")
      try grid.all.world.barrier()
      if part == .whole && isDoubleBuffered { try begin(of: nextTurn()) }
      let start = ContinuousClock.now
      for _ in 0..<count {
        var own = Times()
        updateSeconds = 0
        let waitingBefore = exchange.timing.wait
        own.total = try seconds {
          switch part {
          case .computation: try stepWithoutExchange(&own)
          case .communication:
            own.agreement = try seconds { try agree() }
            own.exposed = try seconds {
              try exchange.begin(Contribution(step: exchangeCount))
              try exchange.deliver(into: .update { _, _ in })
              exchangeCount += 1
            }
          case .whole: if isDoubleBuffered { try doubleBufferedStep(&own) } else { try step(&own) }
          }
        }
        own.update = updateSeconds
        if part == .whole { own.exposed -= updateSeconds }
        own.waiting = (exchange.timing.wait - waitingBefore) / .seconds(1)
        own.withoutAgreement = own.total - own.agreement
        times[part, default: []].append(own)
      }
      turnTimes[part, default: []].append((ContinuousClock.now - start) / .seconds(Double(count)))
      if part == .whole && isDoubleBuffered { try driver.deliver(exchange, into: .update(update)) }
    } catch {
      driver.abandon()
      records.abandon()
      throw error
    }
  }

  /// Forgets what was measured.
  func reset() { (times, turnTimes) = ([:], [:]) }

  /// Seconds of an iteration, from turn to turn: those of the rank that took longest for the whole turn.
  ///
  /// Ranks that wait for one another only by exchanges under way may be late in one iteration and early in the next, so that
  /// the longest time of each says too much. Collective.
  func secondsPerIteration(_ part: Part) throws -> Double {
    var own = turnTimes[part] ?? []
    try grid.all.enter("a result") { try grid.all.world.allReduce(&own, .max) }
    return own.percentile()
  }

  /// The times of each iteration, every part that of the rank which took longest for it.
  ///
  /// Collective.
  func slowestTimes(_ part: Part) throws -> [Times] {
    let own = times[part] ?? []
    var values = own.flatMap { times in Times.fields.map { times[keyPath: $0] } }
    try grid.all.enter("a result") { try grid.all.world.allReduce(&values, .max) }
    return stride(from: 0, to: values.count, by: Times.fields.count).map { start in
      var times = Times()
      for (offset, field) in Times.fields.enumerated() { times[keyPath: field] = values[start + offset] }
      return times
    }
  }

  /// The median of the seconds that the forward pass alone takes on this rank.
  func forwardSeconds(repetitions: Int) throws -> Double {
    try (0..<repetitions).map { _ in
      try seconds { _ = try network.evaluate(batch, parameters: parameters, logPosteriors: nil) }
    }.percentile()
  }

  /// The bytes that leave the busiest host in one exchange.
  ///
  /// Collective.
  func bytesLeavingHost() throws -> Int {
    try grid.all.bytesLeavingHost(sentByThisRank: exchange.predictedTraffic.networkBytesSent)
  }

  // MARK: Steps

  private var record: [UInt64] { Array(repeating: 0, count: RecordExchange.usualCapacity) }
  private var agreement: String { "the agreement on a step" }

  private func stepWithoutExchange(_ own: inout Times) throws {
    own.compute = try seconds { try compute(into: gradients[0]) }
    own.agreement = try seconds { try agree() }
    update(0..<parameters.count, gradients[0].values.baseAddress)
  }

  /// A synchronous step: its own gradient is under way from the moment that its first tensor is final.
  private func step(_ own: inout Times) throws {
    let isOverlapped = driver.overlap != .off
    if isOverlapped { try begin(of: 0, isReady: false) }
    own.compute = try seconds {
      try compute(into: gradients[0], interlude: driver.interlude) { [exchange] in exchange.markReady(upTo: $0) }
    }
    own.agreement = try seconds { try agree() }
    if !isOverlapped { try begin(of: 0) }
    own.exposed = try seconds { try driver.deliver(exchange, into: .update(update)) }
  }

  /// Half a step of double buffering: the gradient of the half before is under way.
  private func doubleBufferedStep(_ own: inout Times) throws {
    let index = nextTurn()
    own.compute = try seconds { try compute(into: gradients[index], interlude: driver.interlude) }
    try records.begin(record)
    own.exposed = try seconds { try driver.deliver(exchange, into: .update(update)) }
    own.agreement = try seconds { _ = try records.finish(activity: agreement, meanwhile: driver.turn) }
    try begin(of: index)
  }

  private func nextTurn() -> Int {
    defer { turn = 1 - turn }
    return turn
  }

  private func compute(
    into gradient: SharedGradient, interlude: (() -> Void)? = nil, ready: (_ end: Int) -> Void = { _ in }
  ) throws {
    let tensors = network.layout.tensors
    if let emulation { return try emulation.run(interlude: interlude) { ready(tensors[$0].range.upperBound) } }
    network.interlude = interlude
    defer { network.interlude = nil }
    _ = try network.gradient(
      of: batch, parameters: parameters, scale: 1 / Float(setting.minibatch), into: gradient.values
    ) { ready(tensors[$0].range.upperBound) }
  }

  /// What a training step asks of all ranks before it may be done, in as many words.
  private func agree() throws {
    _ = try records.gather(record, activity: agreement, meanwhile: driver.turn)
  }

  private func begin(of index: Int, isReady: Bool = true) throws {
    try exchange.begin(Contribution(step: exchangeCount, buffer: index, isReady: isReady))
    exchangeCount += 1
    driver.drive(exchange)
  }

  private func update(_ range: Range<Int>, _ sum: UnsafePointer<Float>) {
    let start = ContinuousClock.now
    sgdUpdate(
      weights: parameters.baseAddress + range.lowerBound, gradient: sum, momenta: momenta.baseAddress + range.lowerBound,
      count: range.count, step: descent)
    updateSeconds += (ContinuousClock.now - start) / .seconds(1)
  }
}
