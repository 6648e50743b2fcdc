internal import Buffers
internal import Checkpoints
internal import Collectives
internal import Files
internal import Networks
internal import Reporting
internal import Transport

/// The gradients of this rank's workers, which have models of their own or push to owners, and what the rank states about them at the next
/// meeting.
///
/// A worker computes at values of its own, whenever it can; nothing crosses between ranks. A gradient that is not finite does not count.
final class WorkerComputation {
  let computation: GradientComputation
  private let parts: StrategyParts
  private let workerCount: Int
  /// The samples that each client had given at the last meeting; nil without clients.
  private var clients: WorkerClients?
  private var refused: RefusedGradients
  /// Since the last meeting: what this rank states, and the samples that clients have given, as far as it knows.
  private var statement = StepAgreement.Statement()
  private var taken: WorkerClients?

  /// The workers of a run, as many as `count` says or as ranks; several on a rank of which the order matters need one that is given.
  init(_ parts: StrategyParts, workerCount count: Int?, hasFreeOrder: Bool = true) throws {
    let rankCount = parts.grid.shareCount
    let workerCount = count ?? rankCount
    guard workerCount % rankCount == 0 else {
      throw OptionError(
        "--strategy: \(workerCount) workers cannot be shared by \(rankCount) ranks; their number is a multiple of that of the ranks"
      )
    }
    guard !hasFreeOrder || workerCount == rankCount || parts.options.emulateSpeed != nil || parts.replayed != nil else {
      throw OptionError(
        "--strategy: a rank that is several workers needs an order: --emulate-speed rr, for example, or as many ranks as workers"
      )
    }
    (self.parts, self.workerCount) = (parts, workerCount)
    computation = GradientComputation(parts)
    refused = RefusedGradients(parts)
    clients = try parts.options.clients.map {
      try WorkerClients(clientCount: $0, workerCount: workerCount, minibatch: parts.plan.minibatch)
    }
  }

  /// Begins after a meeting.
  func begin() { (statement, taken) = (StepAgreement.Statement(), clients) }

  /// Computes the gradient of a worker's minibatch, the mean over its samples, and returns their number, or 0 if it does not count.
  ///
  /// - Parameters:
  ///   - minibatch: Its number.
  ///   - worker: The worker.
  ///   - parameters: Where to compute it.
  ///   - gradient: The output.
  ///   - course: The samples; it takes note of the minibatch.
  ///   - traffic: This rank's traffic since the last meeting.
  ///   - betweenLayers: Called between layers.
  func gradient(
    of minibatch: Int, for worker: Int, at parameters: FloatBuffer, into gradient: FloatBuffer, on course: Course,
    traffic: () -> Traffic, betweenLayers: @escaping () -> Void
  ) throws -> Int {
    let step = minibatch / workerCount
    try FaultInjector.reach(.step, step + 1)
    computation.betweenLayers = betweenLayers
    // What is called between layers refers to its caller, which must not outlive it.
    defer { computation.betweenLayers = nil }
    let found = try computation.compute(step, on: course, at: parameters, into: gradient, traffic: { traffic() }) {
      course.loader.batch(of: minibatch, for: worker, of: workerCount, from: &taken)
    }
    statement.add(found)
    guard found.nonFiniteTensor == nil else {
      statement.clearedValues += 1
      return 0
    }
    if found.sampleCount > 0 { computation.accept() }
    return found.sampleCount
  }

  /// Agrees with the other ranks on what was done up to step `end`.
  ///
  /// Collective.
  func agree(at end: Int, on course: Course) throws -> StepAgreement {
    var own = statement
    own.isStopRequested = StopSignal.isRequested
    own.rate = course.rate(end - 1)
    return try StepAgreement(own, over: parts.records, step: end - 1)
  }

  /// Adds the agreement on `steps` to their outcome, and judges it.
  ///
  /// - Throws: `TrainingError` on every rank if the run must not go on.
  func judge(_ steps: Range<Int>, _ agreement: StepAgreement, noting outcome: inout StepOutcome) throws {
    outcome.stepCount = steps.count
    outcome.add(agreement)
    outcome.warning = try refused.judge(steps, gradientCount: workerCount * steps.count, agreement)
  }

  /// Goes on after these numbers of minibatches of each worker.
  func advance(by counts: [Int]) { clients?.advance(by: counts) }
}

// MARK: - State

extension WorkerComputation {
  func contribute(to inventory: inout StateInventory) {
    refused.contribute(to: &inventory)
    inventory.counters["samplesOfClients"] = clients?.counter
  }

  func restore(counters: [String: String]) {
    refused.restore(counters)
    clients?.restore(counters["samplesOfClients"])
  }
}

extension StrategyConclusion {
  /// Says how far the models of workers are from their mean, as mean squares.
  mutating func note(distance: (fromMean: Double, ofMean: Double), workerCount: Int) {
    if workerCount > 1 {
      let relative = distance.ofMean > 0 ? (distance.fromMean / distance.ofMean).squareRoot() : 0
      lines.append(
        "the models of \(workerCount) workers are \(decimal(distance.fromMean.squareRoot(), digits: 4)) from their mean, which is saved: "
          + "\(decimal(100 * relative, digits: 2)) % of its norm")
    }
    members.append(.init("consensusDistance", .number(distance.fromMean)))
  }

  /// Says how long an emulated run took.
  mutating func note(emulatedTime: Double) {
    lines.append("emulated time: \(decimal(emulatedTime, digits: 1)) gradients of a usual worker")
    members.append(.init("emulatedTime", .number(emulatedTime)))
  }
}
