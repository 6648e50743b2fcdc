public import Buffers
public import Codecs
public import Transport

/// A parameter server whose shards are owned by the ranks that also work for it.
///
/// A worker computes the gradient of a minibatch at the values that it holds, encodes it shard by shard with a residual of its own, and
/// sends each shard to its owner, who applies it and answers with what has changed: as floats, or as a code of the difference to
/// what the worker holds. Minibatches come from one counter, which the owner of the first shard keeps: a fast worker does more
/// of them. Between two meetings nobody waits for anyone, unless a bound says so; at a meeting all pushes are
/// applied, and every rank gets the whole model. A worker that is asked to stop says so in its next push: then the counter ends with
/// the step that it has begun, and all meet early.
///
/// A rank may be several workers. Owners apply pushes as they arrive or in a listed order, and then the result has the same bits
/// on any number of ranks.
///
/// - Cost: per minibatch a worker sends the codes of the model and 24 bytes to each owner, and receives as much or 4 bytes a value.
///   An owner keeps its shard once or twice for each worker.
public final class ParameterServer {
  let settings: Settings
  let codes: ShardCodes
  /// The same shards as floats, for a warm start and for pulls.
  let floats: ShardCodes
  private let parameters: FloatBuffer
  private let gradient: FloatBuffer
  let scratch: FloatBuffer
  /// What an owner's answer adds; it may come while a gradient is being computed.
  private let difference: FloatBuffer
  let workers: [Worker]
  let server: ShardServer
  let floatCoder: GroupCoder
  let differenceCoder: GroupCoder
  let messages: ServerMessages
  let rank: Int
  let rankCount: Int
  /// The minibatches of the segment, and the next one to hand out; counted by the owner of the first shard.
  var minibatches = 0..<0
  var nextMinibatch = 0
  var usesFloats = false
  private var isStopRequested: () -> Bool = { false }
  /// Whether all pushes are applied, and the ranks send one another their shards.
  private var isMeeting = false

  /// Prepares servers and workers.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks.
  ///   - layout: The layout of the model.
  ///   - parameters: The model, the same on all ranks.
  ///   - codec: The codec of gradients and differences.
  ///   - settings: How the servers work.
  ///   - update: Updates the parameters.
  public convenience init(
    _ hosts: HostMap, layout: TensorLayout, parameters: FloatBuffer, codec: any Codec, settings: Settings,
    update: @escaping Update
  ) throws {
    try self.init(
      among: ServerRanks(hosts), layout: layout, parameters: parameters, codec: codec, settings: settings, update: update)
  }

  /// The same among ranks on any network.
  package init(
    among ranks: ServerRanks, layout: TensorLayout, parameters: FloatBuffer, codec: any Codec, settings: Settings,
    update: @escaping Update
  ) throws {
    (self.settings, self.parameters) = (settings, parameters)
    (rank, rankCount) = (ranks.rank, ranks.count)
    require(settings.workerCount % rankCount == 0, "\(settings.workerCount) workers on \(rankCount) ranks")
    // The groups of the codec, cut by its bytes, whatever is sent.
    let codes = ShardCodes(layout, codec: codec, shardCount: rankCount)
    let floats = ShardCodes(layout, codec: Identity(), shardCount: rankCount, like: codes)
    (self.codes, self.floats) = (codes, floats)
    let own = codes.elements(of: rank)
    var rules = ShardServer.Rules()
    (rules.rule, rules.bound, rules.pushesPerUpdate) = (settings.rule, settings.bound, settings.pushesPerUpdate)
    server = ShardServer(
      elements: own, of: parameters, workerCount: settings.workerCount, rules: rules, update: update)
    workers = stride(from: rank, to: settings.workerCount, by: rankCount).map {
      Worker(id: $0, codec: codec, count: layout.count)
    }
    gradient = FloatBuffer(count: layout.count)
    scratch = FloatBuffer(count: own.count)
    difference = FloatBuffer(count: (0..<rankCount).map { codes.elements(of: $0).count }.max() ?? 0)
    floatCoder = GroupCoder(Identity(), count: 0)
    differenceCoder = GroupCoder(codec, count: own.count)
    let shards = (0..<rankCount).map { max(codes.byteCount(of: $0), floats.byteCount(of: $0)) }
    messages = try ServerMessages(ranks, localCount: workers.count, capacities: shards)
  }

  /// The number of groups that this rank sent as zeros, in pushes and answers, because they were not finite.
  public var nonFiniteGroups: Int { workers.reduce(differenceCoder.nonFiniteGroups) { $0 + $1.coder.nonFiniteGroups } }

  /// How often pushes to this rank's shard had which staleness, by worker, from the start of the run on.
  public var staleness: [[Int: Int]] { server.staleness }

  /// The order in which this rank applied pushes since the last meeting, by worker; −1 − w for the news that worker w was done.
  public var history: [Int] { server.history }

  /// The values of this rank's shard in the flat buffer.
  public var ownElements: Range<Int> { server.elements }

  /// Trains on `minibatches` and meets; if a stop is requested, on those up to the end of the step that has begun, of which each worker
  /// has one on average.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - minibatches: Their numbers.
  ///   - usesFloats: Whether gradients and answers are floats, as in a warm start.
  ///   - order: The order in which this rank applies pushes.
  ///   - isStopRequested: Whether this rank was asked to stop; asked at each push.
  ///   - waiting: Called with each wait for other ranks, which it must do.
  ///   - work: Computes the gradients.
  /// - Returns: The number of minibatches done, the same on every rank.
  @discardableResult
  public func run(
    _ minibatches: Range<Int>, usesFloats: Bool, order: ServiceOrder, isStopRequested: @escaping () -> Bool = { false },
    waiting: (_ wait: () throws -> Void) throws -> Void = { try $0() }, work: Work
  ) throws -> Int {
    try begin(minibatches, usesFloats: usesFloats, order: order, isStopRequested: isStopRequested)
    while true {
      switch try turn(work) {
      case .worked: break
      case .idle: try waiting(wait)
      case .done: return server.pushCount
      }
    }
  }

  /// What a turn has come to.
  package enum Turn {
    /// A gradient was computed.
    case worked
    /// There is nothing to do until a message arrives.
    case idle
    /// The segment is over, and this rank has the whole model.
    case done
  }

  /// Begins a segment; ``turn(_:)`` does its work.
  package func begin(
    _ minibatches: Range<Int>, usesFloats: Bool, order: ServiceOrder, isStopRequested: @escaping () -> Bool
  ) throws {
    (self.minibatches, self.usesFloats, self.isStopRequested, isMeeting) = (minibatches, usesFloats, isStopRequested, false)
    nextMinibatch = min(minibatches.lowerBound + settings.workerCount, minibatches.upperBound)
    server.begin(order, pushesBefore: minibatches.lowerBound)
    try messages.begin()
    for worker in workers {
      worker.parameters.copy(from: parameters)
      let first = minibatches.lowerBound + worker.id
      worker.minibatch = first < minibatches.upperBound ? first : nil
      if worker.minibatch == nil { try messages.sendEnd(of: worker.id / rankCount) }
    }
  }

  /// Serves what has arrived, and computes a gradient if a worker of this rank can; meets if all is done.
  package func turn(_ work: Work) throws -> Turn {
    if !isMeeting {
      try serve()
      if let worker = workers.first(where: \.isReady) {
        try compute(worker, work)
        return .worked
      }
      guard isOver else { return .idle }
      isMeeting = true
      server.flush()
      try messages.share(parameters, elements: (0..<rankCount).map(codes.elements))
    } else {
      try messages.poll()
    }
    return messages.isUnderWay ? .idle : .done
  }

  private func wait() throws {
    guard !isMeeting else { return try messages.wait(for: "the model at a meeting") { !messages.isUnderWay } }
    try messages.wait(for: "the parameter servers", awaited: { [self] in awaitedRanks }) {
      try serve(polls: false)
      return isOver || workers.contains(where: \.isReady)
    }
  }

  /// Whether this rank's workers are done and its shard has had all pushes.
  private var isOver: Bool {
    server.endCount == settings.workerCount && workers.allSatisfy { $0.minibatch == nil && $0.awaited.isEmpty }
  }

  private var awaitedRanks: [Int] {
    let answering = workers.flatMap { $0.awaited }
    return Set(answering + (server.awaited.map { [$0 % rankCount] } ?? [])).sorted().filter { $0 != rank }
  }

  /// Gives up on what is under way.
  public func abandon() { messages.abandon() }

  /// Clears the residuals of the workers.
  public func forget() {
    for worker in workers { worker.coder.clear() }
    server.squares.clear()
  }
}

// MARK: - Workers

extension ParameterServer {
  private func compute(_ worker: Worker, _ work: Work) throws {
    let minibatch = worker.minibatch!
    var failure: (any Error)?
    let samples = try work(worker.id, minibatch, worker.parameters, gradient) { [self] in
      guard failure == nil else { return }
      do { try serve() } catch { failure = error }
    }
    if let failure { throw failure }
    try push(worker, minibatch, samples)
  }

  private func push(_ worker: Worker, _ minibatch: Int, _ samples: Int) throws {
    worker.awaited = Set(0..<rankCount)
    let sending = usesFloats ? floats : codes
    let context = EncodingContext(seed: settings.seed, step: minibatch, stream: 2 * worker.id)
    let isStopRequested = isStopRequested()
    // Its own shard last: the others are on their way meanwhile.
    for distance in 1...rankCount {
      let shard = (rank + distance) % rankCount
      let elements = sending.elements(of: shard)
      let message = try messages.push(of: worker.id / rankCount, to: shard)
      var header = ServerMessages.Header(minibatch: minibatch, samples: Int32(samples), isStopRequested: isStopRequested)
      if samples > 0 {
        header.byteCount = sending.encode(
          shard, gradient.baseAddress + elements.lowerBound, by: usesFloats ? floatCoder : worker.coder,
          at: elements.lowerBound, into: message.codes, context: context)
      }
      message.header = header
      try messages.send(pushOf: worker.id / rankCount, to: shard)
    }
  }

  /// Takes the answer of an owner to a worker.
  func take(answerOf shard: Int, to worker: Worker, _ answer: ServerMessages.Message) {
    let elements = codes.elements(of: shard)
    let values = worker.parameters.baseAddress + elements.lowerBound
    if usesFloats || settings.pullsFloats {
      floats.decode(shard, answer.codes, by: floatCoder, setting: values)
    } else {
      codes.decode(shard, answer.codes, by: worker.coder, setting: difference.baseAddress)
      for i in 0..<elements.count { values[i] += difference[i] }
    }
    worker.awaited.remove(shard)
    guard shard == 0 else { return }
    worker.minibatch = answer.header.minibatch >= 0 ? answer.header.minibatch : nil
  }
}
