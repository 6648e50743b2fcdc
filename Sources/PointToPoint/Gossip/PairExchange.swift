public import Buffers
internal import MPI
public import Transport

/// Workers that each train a model of their own, and average it with that of one random neighbour at a time, without waiting
/// for the others.
///
/// A worker reads its model and computes a gradient there; an active worker (``PairGraph``) meanwhile asks a neighbour, and both set
/// their models to the mean of the two, computed once. Then the gradient is applied to what its model has become. A worker
/// waits only for the answer of the neighbour that it has asked, which that one gives between the layers of its own gradient.
/// At a meeting all minibatches are done, and every rank gets the mean of all models; the workers go on with their own.
///
/// A rank may be several workers. Averages and gradients are done as they come or in a listed order, and then the models have
/// the same bits on any number of ranks.
///
/// Source: Lian et al. 2018, algorithm 1; algorithms §10.6.
/// - Cost: for each gradient of an active worker one model and 16 bytes to the neighbour's rank and one model back; at a meeting the
///   models of a rank to the owners of shards, and their mean to all. A worker keeps two models, a passive one three, or four if
///   several may ask it.
public final class PairExchange {
  /// Computes the gradient of a minibatch at a worker's values, the mean over its samples, and returns their number, or 0 if it does not
  /// count; calls its last argument between layers.
  public typealias Work = (
    _ worker: Int, _ minibatch: Int, _ parameters: FloatBuffer, _ gradient: FloatBuffer, _ betweenLayers: @escaping () -> Void
  ) throws -> Int
  /// Does what is given to it, which is to wait for others.
  public typealias Waiting = (_ wait: () throws -> Void) throws -> Void
  /// Applies a gradient of `samples` samples to a worker's model.
  public typealias Update = (
    _ worker: Int, _ minibatch: Int, _ model: FloatBuffer, _ gradient: FloatBuffer, _ samples: Int
  ) -> Void

  /// The models of this rank's workers, one after another.
  public var models: FloatBuffer { vectors.all }
  /// This rank's workers, in the order of their numbers.
  public let workers: [PairWorker]

  let hosts: HostMap
  let settings: Settings
  let messages: PairMessages
  let mean: ModelMean
  /// Which workers this rank has.
  package let placement: RankWorkers
  private let vectors: WorkerVectors
  private let gradient: FloatBuffer
  private var desks: PairDesks
  /// The worker that computes, or waits to apply its gradient.
  private var current: PairWorker?
  /// Its next minibatch; nil while that is not known.
  private var next: Int??
  /// The active workers that may still ask one of this rank's.
  private var open: Set<Int> = []
  /// What rank 0 grants.
  private var grants: PairGrants
  private(set) var minibatches = 0..<0
  /// In a listed order, by worker, the minibatches that it lists.
  private(set) var listedCounts: [Int]?
  private var isListed: Bool { listedCounts != nil }

  /// Prepares workers whose models are all zero.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks, of whose number that of the workers is a multiple.
  ///   - count: The values of a model.
  ///   - settings: How the workers work together.
  public init(_ hosts: HostMap, count: Int, settings: Settings) throws {
    (self.hosts, self.settings) = (hosts, settings)
    let placement = RankWorkers(of: settings.graph.count, rank: hosts.world.rank, rankCount: hosts.world.count)
    let localCount = placement.localCount
    mean = ModelMean(hosts, localCount: localCount, count: count)
    let vectors = WorkerVectors(localCount: localCount, count: count)
    let desks = WorkerVectors(localCount: localCount, count: count, in: mean.memory)
    workers = (0..<localCount).map {
      PairWorker(placement.id($0), in: settings.graph, seed: settings.seed, model: vectors[$0], desk: desks[$0])
    }
    (self.placement, self.vectors) = (placement, vectors)
    gradient = FloatBuffer(count: count)
    self.desks = PairDesks(of: workers, in: settings.graph, count: count)
    grants = PairGrants(workerCount: placement.count)
    messages = try PairMessages(hosts, placement, valueCount: count, deskCount: self.desks.count)
  }

  /// Makes `model` that of every worker.
  public func start(from model: FloatBuffer) { for worker in workers { worker.model.copy(from: model) } }

  /// Trains on `minibatches`.
  ///
  /// Collective. Between meetings, ranks need not be where others are.
  ///
  /// - Parameters:
  ///   - minibatches: Their numbers.
  ///   - order: The order of averages and updates; `live` only with a worker on each rank.
  ///   - isStopRequested: Whether this rank is asked to stop: the minibatches then end early, with the step of which one has been
  ///     granted last.
  ///   - work: Computes gradients.
  ///   - update: Applies them.
  ///   - waiting: Called to wait.
  public func run(
    _ minibatches: Range<Int>, order: PairOrder, isStopRequested: () -> Bool = { false }, work: Work, update: Update,
    waiting: Waiting = { try $0() }
  ) throws {
    let own = try begin(minibatches, order)
    var failure: (any Error)?
    let serve = { [self] in
      guard failure == nil else { return }
      do { try self.serve() } catch { failure = error }
    }
    while let worker = own() {
      (current, next) = (worker, nil)
      let minibatch = worker.minibatch!
      // Listed, the next minibatch is known, and granted meanwhile; otherwise a slow worker would hold one back.
      if isListed { try claim(after: minibatch, worker, isStopRequested: isStopRequested()) }
      let samples = try work(worker.id, minibatch, worker.read, gradient, serve)
      if let failure { throw failure }
      if !isListed { try claim(after: minibatch, worker, isStopRequested: isStopRequested()) }
      let isReady = { [self] in worker.mayUpdate && next != nil && hasLeft(worker) }
      try self.serve()
      if !isReady() { try waiting { try wait("the partner of an average", until: isReady) } }
      worker.finish()
      if samples > 0 { update(worker.id, minibatch, worker.model, gradient, samples) }
      try begin(worker, next!)
    }
    current = nil
    try waiting {
      try wait("the last averages before a meeting") { [self] in
        open.isEmpty && grants.claimants.isEmpty && workers.allSatisfy { $0.asking.isEmpty }
      }
      try messages.leave()
    }
  }

  /// A worker of this rank.
  private func worker(_ id: Int) -> PairWorker { workers[placement.local(id)] }

  /// Answers others until `isDone`.
  private func wait(_ activity: String, until isDone: () -> Bool) throws {
    try messages.wait(for: activity, awaited: { [self] in awaitedRanks }) {
      try serve(polls: false)
      return isDone()
    }
  }

  /// Sets `parameters` to the mean of all models on every rank, the same bits on each; returns the mean of ‖x_i − x̄‖² over the workers.
  ///
  /// Collective, and only at a meeting.
  public func meet(into parameters: FloatBuffer) throws -> Double {
    try mean.take(workers.map(\.model), into: parameters)
  }

  /// A copy of a worker's model on every rank, valid until the next call.
  ///
  /// Collective, and only at a meeting.
  public func copy(of worker: Int) throws -> FloatBuffer {
    if placement.isLocal(worker) { gradient.copy(from: self.worker(worker).model) }
    try hosts.enter("the model of a worker") { try hosts.world.broadcast(gradient.values, root: placement.rank(of: worker)) }
    return gradient
  }

  /// Gives up on what is under way.
  public func abandon() { messages.abandon() }
}

// MARK: - The course of a worker

extension PairExchange {
  /// Begins a segment; the result gives the worker whose gradient is computed next.
  private func begin(_ minibatches: Range<Int>, _ order: PairOrder) throws -> () -> PairWorker? {
    self.minibatches = minibatches
    var events: [PairEvent]?
    if case .listed(let list) = order { events = list }
    listedCounts = events.map { events in (0..<settings.graph.count).map { worker in events.count { $0.worker == worker } } }
    require(isListed || workers.count == 1, "several workers of a rank need an order")
    open = Set(workers.flatMap { settings.graph.graph.neighbours[$0.id] }.filter(settings.graph.isActive))
    for other in open.sorted() where !placement.isLocal(other) { try messages.listen(to: other) }
    desks.clear()
    if placement.rank == 0 {
      grants.begin(minibatches, listed: events, shares: settings.shares)
      for worker in grants.claimants { try messages.listen(toClaimsOf: worker) }
    }
    for worker in workers {
      worker.begin(by: events)
      let first = minibatches.lowerBound + worker.id
      try begin(worker, isListed ? worker.nextListed : first < minibatches.upperBound ? first : nil)
    }
    guard let events else { return { [workers] in workers[0].minibatch == nil ? nil : workers[0] } }
    // Of workers that have ended early, the rest is left out.
    var own = events.lazy.filter { [placement, workers] in
      placement.isLocal($0.worker) && workers[placement.local($0.worker)].minibatch == $0.minibatch
    }.makeIterator()
    return { [placement, workers] in own.next().map { workers[placement.local($0.worker)] } }
  }

  /// Begins a minibatch of a worker, whose question leaves at once; without one the worker is done.
  private func begin(_ worker: PairWorker, _ minibatch: Int?) throws {
    worker.begin(minibatch)
    if let other = worker.awaited { try messages.ask(worker, other) }
    guard minibatch == nil, settings.graph.isActive(worker.id) else { return }
    try messages.send(endOf: worker.id, to: Set(settings.graph.graph.neighbours[worker.id].map(placement.rank(of:))).sorted())
  }

  /// Whether the question of a worker, which has been answered, has left.
  private func hasLeft(_ worker: PairWorker) -> Bool {
    settings.graph.partner(of: worker.id, minibatch: worker.minibatch!, seed: settings.seed)
      .map { messages.hasLeft(questionOf: worker.id, to: $0) } ?? true
  }

  /// Asks for the minibatch that a worker does after `minibatch`, if there may be one.
  private func claim(after minibatch: Int, _ worker: PairWorker, isStopRequested: Bool) throws {
    let own = minibatch + settings.graph.count
    let wish = isListed ? worker.nextListed : settings.shares == .own && own < minibatches.upperBound ? own : nil
    guard wish != nil || !isListed && settings.shares == .counter else { return next = .some(nil) }
    try messages.send(claim: wish, by: worker.id, isStopRequested: isStopRequested)
  }

  /// The ranks that keep this one waiting.
  private var awaitedRanks: [Int] {
    var others = current.flatMap(\.obstacle).map { [placement.rank(of: $0)] } ?? []
    if current != nil && others.isEmpty && next == nil { others = [0] }
    if current == nil { others = open.union(grants.claimants).union(workers.flatMap(\.asking)).map(placement.rank(of:)) }
    return Set(others).sorted().filter { $0 != placement.rank }
  }
}

// MARK: - What others want

extension PairExchange {
  /// Takes what has arrived, and answers whom it can, until nothing is left to do.
  private func serve(polls: Bool = true) throws {
    if polls { try messages.poll() }
    var isIdle = false
    while !isIdle {
      isIdle = true
      while let arrival = messages.takeArrival() {
        try take(arrival)
        isIdle = false
      }
      for worker in workers where try answer(by: worker) { isIdle = false }
    }
  }

  private func take(_ arrival: PairMessages.Arrival) throws {
    switch arrival {
    case .question(let asking, let worker): self.worker(worker).note(asking)
    case .model(let asking): desks.note(modelOf: asking)
    case .answer(let worker): self.worker(worker).takeAnswer()
    case .end(let asking):
      open.remove(asking)
      for worker in workers { worker.noteEnd(of: asking) }
    case .claim(let wish, let worker, let isStopRequested):
      if isStopRequested { grants.endEarly() }
      let minibatch = grants.take(wish, by: worker)
      if grants.mayClaim(worker) { try messages.listen(toClaimsOf: worker) }
      try messages.send(minibatch, to: worker)
    case .minibatch(let minibatch, _): next = .some(minibatch)
    }
  }

  /// Carries on with the answers of a worker; returns whether something was done.
  private func answer(by worker: PairWorker) throws -> Bool {
    let local = placement.local(worker.id)
    desks.free(of: local, where: messages.hasLeft(answerTo:))
    for other in worker.answerable {
      if placement.isLocal(other) {
        let asking = self.worker(other)
        asking.desk.copy(from: asking.model)
        worker.answer(other, averaging: asking.desk.baseAddress)
        asking.takeAnswer()
        return true
      }
      if let model = desks.answer(to: other, by: local) {
        worker.answer(other, averaging: model.baseAddress)
        try messages.send(answerTo: other, from: model)
        return true
      }
      if let desk = desks.place(for: other, by: local) {
        try messages.receive(modelOf: other, into: desk)
        return true
      }
    }
    return false
  }
}
