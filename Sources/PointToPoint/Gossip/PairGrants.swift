/// Which minibatches workers are granted between two meetings; on rank 0, which all ask.
///
/// A worker begins with the minibatch of its number, and asks for each further one. So a segment can end early, with a whole step.
struct PairGrants {
  private let workerCount: Int
  private var minibatches = 0..<0
  /// The first minibatch after all that were granted.
  private var next = 0
  /// By worker, the claims that are still to come, or the most that may.
  private var claims: [Int]

  /// Grants for `workerCount` workers.
  init(workerCount: Int) {
    self.workerCount = workerCount
    claims = Array(repeating: 0, count: workerCount)
  }

  /// The workers that may still ask, in ascending order.
  var claimants: [Int] { claims.indices.filter(mayClaim) }

  /// Whether a worker may still ask.
  func mayClaim(_ worker: Int) -> Bool { claims[worker] > 0 }

  /// Begins a segment, by a list or by shares.
  mutating func begin(_ minibatches: Range<Int>, listed events: [PairEvent]?, shares: PairShares) {
    self.minibatches = minibatches
    next = min(minibatches.lowerBound + workerCount, minibatches.upperBound)
    let listed = events.map { Dictionary(grouping: $0, by: \.worker).mapValues(\.count) }
    for worker in 0..<workerCount {
      let own = stride(from: minibatches.lowerBound + worker, to: minibatches.upperBound, by: workerCount)
      let count = listed.map { $0[worker] ?? 0 } ?? own.reduce(0) { count, _ in count + 1 }
      // Of a counter, a worker with a first minibatch asks until there is none left.
      claims[worker] = listed == nil && shares == .counter && count > 0 ? .max : max(0, count - 1)
    }
  }

  /// Ends with the step of which a minibatch was granted last.
  mutating func endEarly() {
    let steps = (next - minibatches.lowerBound + workerCount - 1) / workerCount
    minibatches = minibatches.lowerBound..<min(minibatches.lowerBound + steps * workerCount, minibatches.upperBound)
  }

  /// Grants a worker the minibatch that it wants, or the next of the counter if it wants none; nil if the segment ends before that.
  mutating func take(_ wish: Int?, by worker: Int) -> Int? {
    let minibatch = wish ?? next
    guard minibatch < minibatches.upperBound else {
      claims[worker] = 0
      return nil
    }
    next = max(next, minibatch + 1)
    claims[worker] -= 1
    return minibatch
  }
}
