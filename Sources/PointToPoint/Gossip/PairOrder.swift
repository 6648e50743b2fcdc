/// What a worker does with a minibatch: it averages its model with its partner's, and then applies the gradient.
///
/// Between the two no other worker reads its model, because a worker with a partner answers none.
public struct PairEvent: Hashable, Sendable {
  /// The worker.
  public var worker: Int
  /// The minibatch.
  public var minibatch: Int
  /// The worker whose model it averages with its own; nil of a passive worker.
  public var partner: Int?

  /// An event.
  public init(worker: Int, minibatch: Int, partner: Int?) {
    (self.worker, self.minibatch, self.partner) = (worker, minibatch, partner)
  }
}

/// The order in which workers average and apply gradients between two meetings.
public enum PairOrder: Hashable, Sendable {
  /// As they come.
  case live
  /// As listed.
  ///
  /// All can be done: the first that is not done needs only what stands before it.
  case listed([PairEvent])
}

/// Which minibatches a worker takes.
public enum PairShares: String, CaseIterable, Sendable {
  /// Whichever is the next, of one counter: a fast worker does more.
  case counter
  /// Its own share of each step: all do as many.
  case own
}

extension EmulatedSpeed {
  /// The events of `minibatches` in emulated time, in which averages take none; and that time, until the last of them.
  ///
  /// All workers begin at the same time, and average when their gradients are computed; of several at the same time, the lowest
  /// comes first.
  public func events(
    of minibatches: Range<Int>, over graph: PairGraph, shares: PairShares, seed: UInt64
  ) -> (events: [PairEvent], duration: Double) {
    let workerCount = graph.count
    var counter = minibatches.lowerBound + workerCount
    var time = 0.0
    var due: [(time: Double, minibatch: Int)?] = Array(repeating: nil, count: workerCount)
    func begin(_ worker: Int, _ minibatch: Int) {
      guard minibatch < minibatches.upperBound else { return due[worker] = nil }
      due[worker] = (time + duration(of: worker, among: workerCount, minibatch: minibatch, seed: seed), minibatch)
    }
    for worker in 0..<workerCount { begin(worker, minibatches.lowerBound + worker) }
    var events: [PairEvent] = []
    while let worker = due.indices.filter({ due[$0] != nil }).min(by: { (due[$0]!.time, $0) < (due[$1]!.time, $1) }) {
      let minibatch = due[worker]!.minibatch
      time = due[worker]!.time
      events.append(
        PairEvent(
          worker: worker, minibatch: minibatch, partner: graph.partner(of: worker, minibatch: minibatch, seed: seed)))
      switch shares {
      case .own: begin(worker, minibatch + workerCount)
      case .counter:
        begin(worker, counter)
        counter += 1
      }
    }
    return (events, time)
  }
}

extension [PairEvent] {
  /// The events of workers that did these steps, each in its order, in an order of all that does the same; nil if there is none.
  ///
  /// - Parameter steps: By worker, those of ``PairWorker/history``.
  public init?(merging steps: [[PairStep]], over graph: PairGraph, seed: UInt64) {
    var (places, events) = (Swift.Array(repeating: 0, count: steps.count), [PairEvent]())
    func next(_ worker: Int) -> PairStep? { places[worker] < steps[worker].count ? steps[worker][places[worker]] : nil }
    // What a worker does next can be done unless it is an average that the other one has yet to come to.
    func advance(_ worker: Int) -> Bool {
      switch next(worker) {
      case nil: return false
      case .answer(let asking):
        guard case .update(let minibatch) = next(asking),
          graph.partner(of: asking, minibatch: minibatch, seed: seed) == worker
        else { return false }
        events.append(PairEvent(worker: asking, minibatch: minibatch, partner: worker))
        places[asking] += 1
      case .update(let minibatch):
        guard graph.partner(of: worker, minibatch: minibatch, seed: seed) == nil else { return false }
        events.append(PairEvent(worker: worker, minibatch: minibatch, partner: nil))
      }
      places[worker] += 1
      return true
    }
    while steps.indices.contains(where: advance) {}
    guard places == steps.map(\.count) else { return nil }
    self = events
  }
}
