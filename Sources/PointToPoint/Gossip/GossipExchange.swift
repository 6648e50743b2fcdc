package import Buffers
internal import MPI
package import Transport

/// Workers that each train a model of their own, and mix it in every step with those of their neighbours.
///
/// A rank waits for the messages of its workers' neighbours and for nothing else: between meetings there is no barrier and no root, and
/// what holds up one rank holds up others only as far as the graph carries it, one neighbour further in each step. At a meeting every rank
/// gets the mean of all models; the workers go on with their own, and meetings change nothing.
///
/// A rank may be several workers. Everything is added in the order of the workers' numbers: the models have the same bits on any number of
/// ranks.
/// - Cost: a header of 16 bytes and what the method writes, once to each other rank that has receivers of a worker; at a meeting the
///   models of a rank to the owners of shards, and their mean to all.
package final class GossipExchange {
  /// What computes the gradient of a worker's step, what waits, and what applies the gradient, all given the step for the minibatch.
  package typealias Work = PairExchange.Work
  package typealias Waiting = PairExchange.Waiting
  package typealias Update = PairExchange.Update

  /// Who sends to whom.
  package let routes: GossipRoutes
  private let hosts: HostMap
  private let workers: RankWorkers
  private let settings: Settings
  private let rule: any GossipRule
  private let messages: GossipMessages
  private let mean: ModelMean
  private let gradient: FloatBuffer
  /// The step before which the run ends, as far as this rank knows.
  private var end = 0
  /// Whether this rank has told others to stop.
  private var hasToldEnd = false

  /// Prepares workers whose models are all zero.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks, of whose number that of the workers is a multiple.
  ///   - layout: That of a model.
  ///   - settings: What the workers do.
  package init(_ hosts: HostMap, layout: TensorLayout, settings: Settings) throws {
    (self.hosts, self.settings) = (hosts, settings)
    let (rank, rankCount) = (hosts.world.rank, hosts.world.count)
    workers = RankWorkers(of: settings.workerCount, rank: rank, rankCount: rankCount)
    (routes, rule) = settings.parts(workers, layout)
    messages = try GossipMessages(
      hosts, workers, byteCount: rule.messageByteCount, isVarying: rule.hasVaryingLength,
      most: routes.mostMessages(of: rank, among: rankCount))
    mean = ModelMean(hosts, localCount: workers.localCount, count: layout.count)
    gradient = FloatBuffer(count: layout.count)
  }

  /// The traffic counted so far.
  package var traffic: Traffic { messages.traffic + mean.traffic }
  /// The traffic of this rank in a meeting, by the format alone: the mean of the models.
  package var predictedMeetingTraffic: Traffic { mean.predictedTraffic }
  /// The part of it that went to neighbours.
  package var messageTraffic: Traffic { messages.traffic }
  /// What is to be saved of the workers of this rank.
  package var state: [GossipState] { rule.state }
  /// The groups that were sent as zeros because they were not finite.
  package var nonFiniteGroups: Int { rule.nonFiniteGroups }
  /// The numbers of the workers of this rank.
  package var ids: [Int] { workers.ids }

  /// The model of a worker of this rank, at which its gradients are computed.
  package func shown(_ local: Int) -> FloatBuffer { rule.shown[local] }
  /// What updates of a worker of this rank change.
  package func model(_ local: Int) -> FloatBuffer { rule.models[local] }

  /// Makes `model` that of every worker.
  package func start(from model: FloatBuffer) { rule.start(from: model) }

  /// Learns what the loaded state does not hold; collective.
  package func settleState() throws {
    try hosts.enter("the models of neighbours") { try rule.share(over: hosts.world) }
  }

  /// Trains in `steps`.
  ///
  /// Collective. Between meetings, ranks need not be where others are.
  ///
  /// - Parameters:
  ///   - steps: Their numbers.
  ///   - isStopRequested: Whether this rank is asked to stop: it tells its neighbours, they tell theirs, and all end before the
  ///     same step, the first at which all know.
  ///   - work: Computes gradients.
  ///   - update: Applies them.
  ///   - waiting: Called to wait.
  /// - Returns: The step before which all have ended.
  package func run(
    _ steps: Range<Int>, isStopRequested: () -> Bool = { false }, work: Work, update: Update,
    waiting: Waiting = { try $0() }
  ) throws -> Int {
    (end, hasToldEnd) = (steps.upperBound, false)
    var failure: (any Error)?
    let serve = { [self] in
      guard failure == nil else { return }
      do { try messages.poll() } catch { failure = error }
    }
    var step = steps.lowerBound
    while step < end {
      if !hasToldEnd, isStopRequested() {
        end = routes.end(toldBy: workers.rank, from: step, among: workers.rankCount, limit: end)
        hasToldEnd = true
      }
      try take(step, waiting: waiting) { local, parameters in
        let samples = try work(workers.id(local), step, parameters, gradient, serve)
        if let failure { throw failure }
        return samples
      } update: { local, samples in
        if samples > 0 { update(workers.id(local), step, rule.models[local], gradient, samples) }
      }
      step += 1
    }
    try waiting { try messages.leave() }
    return end
  }

  /// A step of all workers of this rank.
  private func take(
    _ step: Int, waiting: Waiting, work: (_ local: Int, _ parameters: FloatBuffer) throws -> Int,
    update: (_ local: Int, _ samples: Int) -> Void
  ) throws {
    let (senders, receivers, told) = (routes.senders(in: step), routes.receivers(in: step), end)
    try messages.receive(from: Set(ids.flatMap { senders[$0] }))
    func send(_ local: Int) throws {
      let others = receivers[workers.id(local)]
      guard !others.isEmpty else { return }
      try messages.send(local, to: others, step: step, end: told, waiting: waiting) {
        rule.write(local, step: step, into: $0)
      }
    }
    func combine(_ local: Int) throws {
      let senders = senders[workers.id(local)]
      let arrived = try messages.take(from: senders, step: step, waiting: waiting)
      for worker in arrived.new { rule.take(messages.message(of: worker), from: worker) }
      end = min(end, arrived.end)
      rule.combine(local, step: step, senders: senders, message: messages.message)
    }
    if settings.combinesFirst {
      for local in 0..<workers.localCount { try send(local) }
      for local in 0..<workers.localCount {
        let samples = try work(local, rule.shown[local])
        try combine(local)
        update(local, samples)
        rule.settle(local)
      }
    } else {
      for local in 0..<workers.localCount {
        update(local, try work(local, rule.shown[local]))
        try send(local)
      }
      for local in 0..<workers.localCount {
        try combine(local)
        rule.settle(local)
      }
    }
  }

  /// Sets `parameters` to the mean of all models on every rank, the same bits on each; returns the mean of ‖x_i − x̄‖² over the workers.
  ///
  /// Collective, and only at a meeting.
  package func meet(into parameters: FloatBuffer) throws -> Double {
    try mean.take(rule.models.list, into: parameters, shown: rule.shown.list)
  }

  /// A copy of a worker's model on every rank, valid until the next call.
  ///
  /// Collective, and only at a meeting.
  package func copy(of worker: Int) throws -> FloatBuffer {
    if workers.isLocal(worker) { gradient.copy(from: rule.shown[workers.local(worker)]) }
    try hosts.enter("the model of a worker") { try hosts.world.broadcast(gradient.values, root: workers.rank(of: worker)) }
    return gradient
  }

  /// The traffic of this rank in `steps`, by the format alone; an upper bound if the codes vary in length.
  package func predictedTraffic(in steps: Range<Int>) -> Traffic {
    traffic(in: steps, messageByteCount: rule.messageByteCount)
  }

  /// The same with `byteCount` bytes in a message besides its header.
  package func traffic(in steps: Range<Int>, messageByteCount byteCount: Int) -> Traffic {
    var traffic = Traffic()
    let size = GossipMessages.headerByteCount + byteCount
    let pieces = rule.hasVaryingLength ? 1 : Mailbox.pieceCount(of: size)
    for step in steps {
      let counts = routes.messageCounts(of: workers.rank, among: workers.rankCount, in: step)
      for (other, insideHost) in hosts.insideHost.enumerated() {
        traffic.addSent(counts.sent[other] * size, insideHost: insideHost)
        traffic.addReceived(counts.received[other] * size, insideHost: insideHost)
        traffic.messagesSent += counts.sent[other] * pieces
      }
    }
    return traffic
  }

  /// Gives up on what is under way.
  package func abandon() { messages.abandon() }
}
