public import Buffers
public import Codecs
internal import MPI
public import Transport

/// A parameter server whose shards are owned by the ranks that also work for it.
///
/// A worker computes the gradient of a minibatch at the values that it holds, encodes it shard by shard with a residual of its own, and
/// sends each shard to its owner, who applies it and answers with what has changed: as floats, or as a code of the difference to
/// what the worker holds. Minibatches come from one counter, which the owner of the first shard keeps: a fast worker does more
/// of them. Between two meetings nobody waits for anyone, unless a bound says so; at a meeting all pushes are
/// applied, and every rank gets the whole model.
///
/// A rank may be several workers. Owners apply pushes as they arrive or in a listed order, and then the result has the same bits
/// on any number of ranks.
///
/// - Cost: per minibatch a worker sends the codes of the model and 24 bytes to each owner, and receives as much or 4 bytes a value.
///   An owner keeps its shard once or twice for each worker.
public final class ParameterServer {
  private let hosts: HostMap
  private let settings: Settings
  private let codes: ShardCodes
  /// The same shards as floats, for a warm start and for pulls.
  private let floats: ShardCodes
  private let parameters: FloatBuffer
  private let gradient: FloatBuffer
  private let scratch: FloatBuffer
  /// What an owner's answer adds; it may come while a gradient is being computed.
  private let difference: FloatBuffer
  let workers: [Worker]
  let server: ShardServer
  private let floatCoder: GroupCoder
  private let differenceCoder: GroupCoder
  private let messages: ServerMessages
  private let rank: Int
  private let rankCount: Int
  /// The minibatches of the segment, and the next one to hand out; counted by the owner of the first shard.
  private var minibatches = 0..<0
  private var nextMinibatch = 0
  private var usesFloats = false

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
  ///   - update: Updates a range of the parameters with a gradient, by the owner; `rate` turns the learning rate of the schedule into
  ///     that of the push.
  public init(
    _ hosts: HostMap, layout: TensorLayout, parameters: FloatBuffer, codec: any Codec, settings: Settings,
    update:
      @escaping (
        _ range: Range<Int>, _ gradient: UnsafePointer<Float>, _ minibatch: Int, _ rate: (Float) -> Float, _ samples: Int
      ) -> Void
  ) throws {
    (self.hosts, self.settings, self.parameters) = (hosts, settings, parameters)
    (rank, rankCount) = (hosts.world.rank, hosts.world.count)
    require(settings.workerCount % rankCount == 0, "\(settings.workerCount) workers on \(rankCount) ranks")
    // The groups of the codec, cut by its bytes, whatever is sent.
    let codes = ShardCodes(layout, codec: codec, shardCount: rankCount)
    let floats = ShardCodes(layout, codec: Identity(), shardCount: rankCount, like: codes)
    (self.codes, self.floats) = (codes, floats)
    let own = codes.elements(of: hosts.world.rank)
    var rules = ShardServer.Rules()
    (rules.rule, rules.bound, rules.pushesPerUpdate) = (settings.rule, settings.bound, settings.pushesPerUpdate)
    server = ShardServer(
      elements: own, of: parameters, workerCount: settings.workerCount, rules: rules, update: update)
    workers = stride(from: hosts.world.rank, to: settings.workerCount, by: hosts.world.count).map {
      Worker(id: $0, codec: codec, count: layout.count)
    }
    gradient = FloatBuffer(count: layout.count)
    scratch = FloatBuffer(count: own.count)
    difference = FloatBuffer(count: (0..<hosts.world.count).map { codes.elements(of: $0).count }.max() ?? 0)
    floatCoder = GroupCoder(Identity(), count: 0)
    differenceCoder = GroupCoder(codec, count: own.count)
    let shards = (0..<hosts.world.count).map { max(codes.byteCount(of: $0), floats.byteCount(of: $0)) }
    messages = try ServerMessages(hosts, localCount: workers.count, capacities: shards)
  }

  /// The traffic counted so far.
  public var traffic: Traffic { messages.traffic }

  /// How often pushes to this rank's shard had which staleness, by worker.
  public var staleness: [[Int: Int]] { server.staleness }

  /// The order in which this rank applied pushes since the last meeting, by worker; −1 − w for the news that worker w was done.
  public var history: [Int] { server.history }

  /// The values of this rank's shard in the flat buffer.
  public var ownElements: Range<Int> { server.elements }

  /// The traffic of this rank if each worker does its share of `minibatchCount` minibatches, by the format alone; at meetings every rank
  /// sends its shard once to each other in addition.
  public func predictedTraffic(of minibatchCount: Int) -> Traffic {
    traffic(of: minibatchCount, pushes: codes, answers: settings.pullsFloats ? floats : codes)
  }

  /// The same if all messages carried floats.
  public func traffic(ofFloats minibatchCount: Int) -> Traffic {
    traffic(of: minibatchCount, pushes: floats, answers: floats)
  }

  private func traffic(of minibatchCount: Int, pushes: ShardCodes, answers: ShardCodes) -> Traffic {
    let header = MemoryLayout<ServerMessages.Header>.stride
    let (own, others) = (minibatchCount / rankCount, minibatchCount - minibatchCount / rankCount)
    var traffic = Traffic()
    for shard in 0..<rankCount where shard != rank {
      let (push, answer) = (pushes.byteCount(of: shard) + header, answers.byteCount(of: shard) + header)
      traffic.networkBytesSent += own * push
      traffic.networkBytesReceived += own * answer
    }
    traffic.networkBytesSent += others * (answers.byteCount(of: rank) + header)
    traffic.networkBytesReceived += others * (pushes.byteCount(of: rank) + header)
    return traffic
  }

  /// Trains on `minibatches` and meets.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - minibatches: Their numbers.
  ///   - usesFloats: Whether gradients and answers are floats, as in a warm start.
  ///   - order: The order in which this rank applies pushes.
  ///   - work: Computes the gradient of a minibatch at a worker's values, the mean over its samples, and returns their number, or 0 if
  ///     it does not count; calls its last argument between layers.
  public func run(
    _ minibatches: Range<Int>, usesFloats: Bool, order: ServiceOrder,
    work: (
      _ worker: Int, _ minibatch: Int, _ parameters: FloatBuffer, _ gradient: FloatBuffer, _ betweenLayers: @escaping () -> Void
    ) throws -> Int
  ) throws {
    (self.minibatches, self.usesFloats) = (minibatches, usesFloats)
    nextMinibatch = min(minibatches.lowerBound + settings.workerCount, minibatches.upperBound)
    server.begin(order, pushesBefore: minibatches.lowerBound)
    try messages.begin()
    for worker in workers {
      worker.parameters.copy(from: parameters)
      let first = minibatches.lowerBound + worker.id
      worker.minibatch = first < minibatches.upperBound ? first : nil
      if worker.minibatch == nil { try messages.sendEnd(of: worker.id / rankCount) }
    }
    var failure: (any Error)?
    let serve = { [self] in
      guard failure == nil else { return }
      do { try self.serve() } catch { failure = error }
    }
    while true {
      try self.serve()
      if let worker = workers.first(where: { $0.minibatch != nil && $0.awaited.isEmpty }) {
        let minibatch = worker.minibatch!
        let samples = try work(worker.id, minibatch, worker.parameters, gradient, serve)
        if let failure { throw failure }
        try push(worker, minibatch, samples)
      } else if isOver {
        break
      } else {
        try messages.wait(for: "the parameter servers", awaited: { [self] in awaitedRanks }) {
          try self.serve(polls: false)
          return isOver || workers.contains { $0.minibatch != nil && $0.awaited.isEmpty }
        }
      }
    }
    server.flush()
    try messages.share(parameters, elements: (0..<rankCount).map(codes.elements))
  }

  /// Whether this rank's workers are done and its shard has had all pushes.
  private var isOver: Bool {
    server.pushCount == minibatches.count && server.endCount == settings.workerCount
      && workers.allSatisfy { $0.minibatch == nil && $0.awaited.isEmpty }
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
  private func push(_ worker: Worker, _ minibatch: Int, _ samples: Int) throws {
    worker.awaited = Set(0..<rankCount)
    let sending = usesFloats ? floats : codes
    let context = EncodingContext(seed: settings.seed, step: minibatch, stream: 2 * worker.id)
    // Its own shard last: the others are on their way meanwhile.
    for distance in 1...rankCount {
      let shard = (rank + distance) % rankCount
      let elements = sending.elements(of: shard)
      let message = try messages.push(of: worker.id / rankCount, to: shard)
      var header = ServerMessages.Header(minibatch: minibatch, samples: samples, byteCount: 0)
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
  private func take(answerOf shard: Int, to worker: Worker, _ answer: ServerMessages.Message) {
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

// MARK: - Owners

extension ParameterServer {
  /// Takes what has arrived, in the order of the run, and answers, until nothing is left to take.
  private func serve(polls: Bool = true) throws {
    if polls { try messages.poll() }
    while true {
      for arrival in messages.takeArrivals() {
        switch arrival {
        case .push(let worker): server.note(worker)
        case .end(let worker): server.note(-1 - worker)
        case .answer(let owner, let local):
          let worker = workers[local]
          take(answerOf: owner, to: worker, messages.answer(from: owner, to: local))
          if worker.minibatch == nil && worker.awaited.isEmpty { try messages.sendEnd(of: local) }
        }
      }
      guard let event = server.next() else { return }
      let released = event >= 0 ? server.take(received(from: event)) : server.finish(-1 - event)
      for worker in released { try answer(worker) }
    }
  }

  /// Decodes a push that has arrived.
  private func received(from worker: Int) -> ShardServer.Push {
    let message = messages.push(from: worker)
    let header = message.header
    if header.samples > 0 {
      (usesFloats ? floats : codes).decode(
        rank, message.codes, by: usesFloats ? floatCoder : differenceCoder, setting: server.gradient(of: worker))
    }
    return ShardServer.Push(worker: worker, minibatch: header.minibatch, samples: header.samples)
  }

  /// Answers a worker's push with what has changed, and the owner of the first shard with a minibatch.
  private func answer(_ worker: Int) throws {
    let message = try messages.answer(to: worker)
    var header = ServerMessages.Header()
    if rank == 0 && nextMinibatch < minibatches.upperBound {
      header.minibatch = nextMinibatch
      nextMinibatch += 1
    }
    if usesFloats || settings.pullsFloats {
      header.byteCount = floats.encode(
        rank, server.pull(by: worker), by: floatCoder, at: 0, into: message.codes, context: EncodingContext())
    } else {
      server.pull(by: worker, scratch: scratch.baseAddress) { difference in
        let context = EncodingContext(seed: settings.seed, step: server.history.count, stream: 2 * worker + 1)
        differenceCoder.clear()
        header.byteCount = codes.encode(rank, difference, by: differenceCoder, at: 0, into: message.codes, context: context)
        codes.decode(rank, message.codes, by: differenceCoder, setting: difference)
      }
    }
    message.header = header
    try messages.send(answerTo: worker)
  }
}
