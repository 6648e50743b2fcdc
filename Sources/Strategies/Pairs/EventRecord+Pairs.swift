internal import Checkpoints
internal import Files
internal import PointToPoint

extension EventRecord {
  /// What the workers of `graph` did from the first of `minibatches` on until they met, in an order that does the same.
  func events(of minibatches: Range<Int>, over graph: PairGraph, seed: UInt64) throws -> [PairEvent] {
    let line = try line(of: minibatches, workerCount: graph.count)
    let minibatches = minibatches.lowerBound..<line.end
    let steps = (line.steps ?? []).map { $0.map(PairStep.init(recorded:)) }
    let isOfPairs = line.steps?.count == graph.count && steps.joined().allSatisfy(minibatches.holds(graph.count))
    guard isOfPairs, let events = [PairEvent](merging: steps, over: graph, seed: seed),
      events.map(\.minibatch).sorted() == Array(minibatches)
    else {
      throw TrainingError(
        "--replay \(name): minibatches \(minibatches.lowerBound + 1) to \(minibatches.upperBound) were not done by \(counted(graph.count, "worker")) "
          + "that average in these pairs: give the options of the run that was recorded",
        exitStatus: .configuration)
    }
    return events
  }
}

extension PairStep {
  /// The step that a record writes as this number: that of a minibatch, or −1 − w for an answer to worker w.
  init(recorded number: Int) { self = number < 0 ? .answer(to: -1 - number) : .update(minibatch: number) }
}

extension Range<Int> {
  /// Whether a step is one with these minibatches, or with one of `workerCount` workers.
  fileprivate func holds(_ workerCount: Int) -> (PairStep) -> Bool {
    { step in
      switch step {
      case .answer(let other): (0..<workerCount).contains(other)
      case .update(let minibatch): contains(minibatch)
      }
    }
  }
}
