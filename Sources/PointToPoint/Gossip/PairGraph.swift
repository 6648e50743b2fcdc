internal import Buffers

/// Which workers average their models in pairs: active ones, which ask, and passive ones, which answer.
///
/// Workers of even numbers are passive, those of odd numbers active, and only edges between the two sides are used: an active worker
/// waits for a passive one, and a passive one for none, so that they cannot wait for each other in a circle. Of an odd number of
/// workers one more is passive; a ring is then a chain.
///
/// An active worker asks one neighbour, drawn with equal probability, for each gradient that it computes.
/// Source: Lian et al. 2018, algorithm 1 and its section on deadlocks; algorithms §10.6.
public struct PairGraph: Hashable, Sendable {
  /// The graph, whose edges all lead from one side to the other.
  public let graph: GossipGraph

  /// The number of workers.
  public var count: Int { graph.count }

  /// A graph of `count` workers; in an exponential one neighbours are 1, 3, 5, 9, 17, … places apart, since powers of two lead to the
  /// same side.
  public init(_ shape: GossipGraph.Shape, count: Int) {
    let whole =
      switch shape {
      case .ring, .complete: GossipGraph(shape, count: count)
      case .exponential:
        GossipGraph(count: count, distances: [1] + sequence(first: 3) { 2 * $0 - 1 }.prefix { $0 <= count / 2 })
      }
    let edges = (0..<count).flatMap { worker in whole.neighbours[worker].map { (worker, $0) } }
    graph = GossipGraph(count: count, edges: edges.filter { ($0.0 - $0.1) % 2 != 0 })
    require(graph.isConnected, "a \(shape.rawValue) of \(count) workers falls apart")
  }

  /// Whether a worker asks; others answer.
  public func isActive(_ worker: Int) -> Bool { worker % 2 == 1 }

  /// The worker that `worker` asks while it computes the gradient of a minibatch; nil if it does not ask.
  public func partner(of worker: Int, minibatch: Int, seed: UInt64) -> Int? {
    guard isActive(worker) else { return nil }
    let neighbours = graph.neighbours[worker]
    let random = Philox(seed: seed, purpose: .neighbours, step: minibatch).word(0)
    return neighbours[Int(random.multipliedFullWidth(by: UInt32(neighbours.count)).high)]
  }

  /// What one average does to the models in the mean over active workers and their neighbours, for two workers and more.
  ///
  /// An average is a projection, so that the same matrix says what it does to squares: Σ‖x_i − x̄‖² shrinks by its second eigenvalue,
  /// on average, at least.
  public var meanMixing: MixingMatrix {
    let active = (0..<count).filter(isActive)
    let degrees = active.map { graph.neighbours[$0].count }
    let denominator = 2 * active.count * degrees.reduce(1, leastCommonMultiple)
    var numerators = Array(repeating: Array(repeating: 0, count: count), count: count)
    for worker in 0..<count { numerators[worker][worker] = denominator }
    for (worker, degree) in zip(active, degrees) {
      // Half of each model goes to the other, with probability 1/active/degree.
      let share = denominator / (2 * active.count * degree)
      for other in graph.neighbours[worker] {
        for (a, b) in [(worker, other), (other, worker)] {
          numerators[a][a] -= share
          numerators[a][b] += share
        }
      }
    }
    return MixingMatrix(numerators: numerators, denominator: denominator)
  }
}
