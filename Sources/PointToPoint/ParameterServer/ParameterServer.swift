public import Buffers
public import Codecs
public import Transport

/// A parameter server whose shards are owned by the ranks that also work for it.
///
/// A worker computes the gradients of a block of minibatches at the values that it holds, and pushes shard by shard what its
/// `WorkerRule` makes of them. The owner of a shard does with it what its `OwnerRule` says, and answers: in the usual case it
/// applies a gradient, and answers with what has changed, as floats or as a code of the difference to what the worker holds.
/// Blocks come from one counter, which the first owner keeps (`BlockCounter`): a fast worker does more of them. Between two meetings
/// no worker waits for another, unless a bound says so; at a meeting all pushes are applied, and every rank gets the whole model.
/// A worker that is asked to stop says so in its next push: then the counter ends with the step that it has begun, and all meet early.
///
/// A rank may be several workers. Owners apply pushes as they arrive or in a listed order, and then the result has the same bits
/// on any number of ranks.
///
/// - Cost: per block a worker sends the codes of the model and 32 bytes to each owner, and receives as much or 4 bytes a value.
public final class ParameterServer {
  let settings: Settings
  let forms: ShardForms
  private let parameters: FloatBuffer
  /// The gradient of the minibatch that is being computed.
  private let gradient: FloatBuffer
  let workers: [Worker]
  let server: ShardServer
  let messages: ServerMessages
  /// Which workers this rank has.
  let placement: RankWorkers
  /// The ranks with a shard; the others apply nothing, and no worker waits for them.
  let owners: [Int]
  /// The blocks of minibatches; those after the first are handed out by the first owner.
  var blocks: BlockCounter
  private var isStopRequested: () -> Bool = { false }
  /// Whether all pushes are applied, and the ranks send one another their shards.
  package private(set) var isMeeting = false
  /// What this rank did as an owner in the last segment.
  public internal(set) var service = ServiceRecord()
  var stopwatch = Stopwatch()
  /// The first rank of each rank's host.
  private let leaders: [Int]

  /// Prepares servers and workers.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks.
  ///   - layout: The layout of the model.
  ///   - parameters: The model, or the centre, the same on all ranks.
  ///   - codec: The codec of pushes and answers.
  ///   - settings: How the servers work.
  ///   - rate: The learning rate of a minibatch, for the steps of workers that push gradients.
  ///   - step: Takes a step of a worker that does not.
  ///   - update: Updates a part of the parameters with gradients, by the owner.
  ///   - finishUpdate: Ends an update.
  public convenience init(
    _ hosts: HostMap, layout: TensorLayout, parameters: FloatBuffer, codec: any Codec, settings: Settings,
    rate: @escaping (_ minibatch: Int) -> Float = { _ in 0 }, step: @escaping Step = { _, _, _, _, _ in },
    update: @escaping Update, finishUpdate: @escaping FinishUpdate = { _, _ in }
  ) throws {
    try self.init(
      among: ServerRanks(hosts), layout: layout, parameters: parameters, codec: codec, settings: settings, rate: rate,
      step: step, update: update, finishUpdate: finishUpdate)
  }

  /// The same among ranks on any network.
  package init(
    among ranks: ServerRanks, layout: TensorLayout, parameters: FloatBuffer, codec: any Codec, settings: Settings,
    rate: @escaping (_ minibatch: Int) -> Float = { _ in 0 }, step: @escaping Step = { _, _, _, _, _ in },
    update: @escaping Update, finishUpdate: @escaping FinishUpdate = { _, _ in }
  ) throws {
    (self.settings, self.parameters, leaders) = (settings, parameters, ranks.leaders)
    let (rank, rankCount) = (ranks.rank, ranks.count)
    blocks = BlockCounter(settings)
    if case .elastic(_, together: true) = settings.method {
      require(settings.bound == 0...0, "differences are taken together of workers that wait for each other")
    }
    placement = RankWorkers(of: settings.workerCount, rank: rank, rankCount: rankCount)
    let shares = settings.shares ?? Array(repeating: 1, count: rankCount)
    require(shares.count == rankCount, "\(shares.count) shares for \(rankCount) ranks")
    owners = shares.indices.filter { shares[$0] > 0 }
    let forms = ShardForms(layout, codec: codec, shares: shares, pullsFloats: settings.pullsFloats)
    self.forms = forms
    let shard = OwnedShard(
      index: rank, elements: forms.codes.elements(of: rank), parameters: parameters, forms: forms,
      workerCount: settings.workerCount)
    let ownerRule: any OwnerRule =
      switch settings.method {
      case .gradients: GradientOwner(shard, settings, update: update, finishUpdate: finishUpdate)
      case .elastic(let alpha, let together): ElasticOwner(shard, alpha: alpha, together: together)
      case .localSteps(let outer): LocalStepsOwner(shard, outer)
      }
    server = ShardServer(settings, rule: ownerRule)
    workers = placement.ids.map { id in
      let rule: any WorkerRule =
        switch settings.method {
        case .gradients: GradientWorker(settings, count: layout.count, forms: forms, rate: rate)
        case .elastic: ElasticWorker(id, count: layout.count, forms: forms, step: step)
        case .localSteps: LocalStepsWorker(id, count: layout.count, forms: forms, step: step)
        }
      return Worker(id, rule)
    }
    gradient = FloatBuffer(count: layout.count)
    messages = try ServerMessages(
      ranks, placement, owners: owners, capacities: (0..<rankCount).map { forms.capacity(of: $0) })
  }

  var rank: Int { placement.rank }
  var rankCount: Int { placement.rankCount }

  /// How often pushes to this rank's shard had which staleness, by worker, from the start of the run on.
  public var staleness: [[Int: Int]] { server.staleness }

  /// The order in which this rank applied pushes since the last meeting, by worker; −1 − w for the news that worker w was done.
  public var history: [Int] { server.history }

  /// The values of this rank's shard in the flat buffer.
  public var ownElements: Range<Int> { forms.codes.elements(of: rank) }

  /// The values at which this rank's workers compute, with the number of each worker.
  public var workerValues: [(worker: Int, values: FloatBuffer)] { workers.map { ($0.id, $0.rule.values) } }

  /// The minibatches that each worker has pushed since the last meeting.
  public var minibatchCounts: [Int] { server.minibatchCounts }

  /// Trains on `minibatches` and meets; if a stop is requested, on those up to the end of the step that has begun, of which each worker
  /// has one on average.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - minibatches: Their numbers.
  ///   - planned: The minibatches up to the planned meeting, if these are those up to the stop of a run that is repeated.
  ///   - usesFloats: Whether pushes and answers are floats, as in a warm start.
  ///   - order: The order in which this rank applies pushes.
  ///   - isStopRequested: Whether this rank was asked to stop; asked at each push.
  ///   - waiting: Called with each wait for other ranks, which it must do.
  ///   - work: Computes the gradients.
  /// - Returns: The number of minibatches done, the same on every rank.
  @discardableResult
  public func run(
    _ minibatches: Range<Int>, of planned: Range<Int>? = nil, usesFloats: Bool, order: ServiceOrder,
    isStopRequested: @escaping () -> Bool = { false }, waiting: (_ wait: () throws -> Void) throws -> Void = { try $0() },
    work: Work
  ) throws -> Int {
    try begin(minibatches, of: planned, usesFloats: usesFloats, order: order, isStopRequested: isStopRequested)
    while true {
      switch try turn(work) {
      case .worked: break
      case .idle: try waiting(wait)
      case .done: return server.minibatchCount
      }
    }
  }

  /// Begins a segment; ``turn(_:)`` does its work.
  package func begin(
    _ minibatches: Range<Int>, of planned: Range<Int>? = nil, usesFloats: Bool, order: ServiceOrder,
    isStopRequested: @escaping () -> Bool
  ) throws {
    (self.isStopRequested, isMeeting) = (isStopRequested, false)
    forms.usesFloats = usesFloats
    blocks.begin(minibatches, of: planned, order: order)
    server.begin(isOwner ? order : .live, minibatchesBefore: minibatches.lowerBound)
    try messages.begin()
    (service, stopwatch) = (ServiceRecord(), Stopwatch())
    for worker in workers {
      worker.rule.begin(at: parameters)
      worker.blocks = blocks.first(of: worker.id)
      if worker.blocks.isEmpty { try messages.sendEnd(of: placement.local(worker.id)) }
    }
  }

  /// Serves what has arrived, and pushes, or computes the gradients of a block, if a worker of this rank can; meets if all is done.
  package func turn(_ work: Work) throws -> Turn {
    if !isMeeting {
      try serve()
      if let worker = workers.first(where: { $0.canPush || canCompute($0) }) {
        if !worker.canPush { try compute(worker, work) }
        if worker.canPush { try push(worker) }
        return .worked
      }
      guard isOver else { return .idle }
      isMeeting = true
      server.rule.flush()
      service.seconds = stopwatch.seconds
      try messages.share(
        parameters, elements: (0..<rankCount).map(forms.codes.elements), minibatchCounts: server.minibatchCounts)
    } else {
      try messages.poll()
    }
    if messages.isUnderWay { return .idle }
    if !isOwner { server.minibatchCounts = messages.sharedCounts }
    return .done
  }

  private func wait() throws {
    guard !isMeeting else { return try messages.wait(for: "the model at a meeting") { !messages.isUnderWay } }
    try messages.wait(for: "the parameter servers", awaited: { [self] in awaitedRanks }) {
      try serve(polls: false)
      return isOver || workers.contains { $0.canPush || canCompute($0) }
    }
  }

  /// Whether this rank has a shard.
  private var isOwner: Bool { owners.contains(rank) }

  /// Whether this rank's workers are done and its shard, if it has one, has had all pushes.
  private var isOver: Bool { (!isOwner || server.endCount == settings.workerCount) && workers.allSatisfy(\.isDone) }

  /// The other ranks that keep this one waiting before a meeting: owners that have not answered, and the worker whose event is next; if
  /// there are none, those whose workers are not done.
  package var awaitedRanks: [Int] {
    func others(_ workers: [Int]) -> [Int] { Set(workers.map { placement.rank(of: $0) }).sorted().filter { $0 != rank } }
    let awaited = others(workers.flatMap { $0.awaited } + (server.awaited.map { [$0] } ?? []))
    return awaited.isEmpty && isOwner ? others(server.unfinishedWorkers) : awaited
  }

  /// Gives up on what is under way.
  public func abandon() { messages.abandon() }
}

// MARK: - Workers

extension ParameterServer {
  /// Whether a worker has a block to compute and values to compute it at.
  private func canCompute(_ worker: Worker) -> Bool {
    worker.current == nil && !worker.blocks.isEmpty && (settings.isPipelined || worker.awaited.isEmpty)
  }

  /// Computes the gradients of a worker's next block.
  private func compute(_ worker: Worker, _ work: Work) throws {
    if !settings.isPipelined { worker.rule.goOn() }
    let block = worker.blocks.removeFirst()
    worker.current = block
    (worker.sampleCount, worker.gradientCount) = (0, 0)
    var failure: (any Error)?
    for minibatch in block {
      let samples = try work(worker.id, minibatch, worker.rule.values, gradient) { [self] in
        guard failure == nil else { return }
        let stopwatch = Stopwatch()
        do { try serve() } catch { failure = error }
        service.secondsBetweenLayers += stopwatch.seconds
      }
      if let failure { throw failure }
      worker.rule.take(gradient, of: minibatch, samples: samples, endsBlock: minibatch + 1 == block.upperBound)
      worker.sampleCount += samples
      worker.gradientCount += samples > 0 ? 1 : 0
    }
    worker.isComputed = true
  }

  /// Pushes a worker's block to all owners.
  private func push(_ worker: Worker) throws {
    guard let block = worker.current else { return }
    if settings.isPipelined { worker.rule.goOn() }
    worker.awaited = Set(owners)
    let context = EncodingContext(seed: settings.seed, step: block.lowerBound, stream: 2 * worker.id)
    var header = ServerMessages.Header(
      samples: Int32(worker.sampleCount), gradientCount: Int32(worker.gradientCount), pulls: worker.rule.pulls,
      isStopRequested: isStopRequested())
    header.block = block
    // Its own shard last: the others are on their way meanwhile.
    for distance in 1...rankCount {
      let shard = (rank + distance) % rankCount
      guard worker.awaited.contains(shard) else { continue }
      let message = try messages.push(of: placement.local(worker.id), to: shard)
      if worker.sampleCount > 0 {
        header.byteCount = worker.rule.encodePush(to: shard, into: message.codes, context: context)
      }
      message.header = header
      noteLeaving(header, to: shard)
      try messages.send(pushOf: placement.local(worker.id), to: shard)
    }
    worker.rule.endPush()
    (worker.current, worker.isComputed) = (nil, false)
  }

  /// Whether a rank is on the host of this one.
  func isInsideHost(_ other: Int) -> Bool { leaders[other] == leaders[rank] }

  /// Counts a message that leaves the host.
  func noteLeaving(_ header: ServerMessages.Header, to other: Int) {
    guard !isInsideHost(other) else { return }
    service.bytesLeavingHost += header.byteCount + ServerMessages.Header.byteCount
  }

  /// Takes the answer of an owner to a worker.
  func take(answerOf shard: Int, to worker: Worker, _ answer: ServerMessages.Message) throws {
    let header = answer.header
    if header.pulls { worker.rule.take(answer: answer.codes, of: shard) }
    worker.awaited.remove(shard)
    if header.minibatchCount > 0 { worker.blocks.append(header.block) }
    if worker.isDone { try messages.sendEnd(of: placement.local(worker.id)) }
  }
}
