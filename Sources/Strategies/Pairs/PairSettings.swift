internal import Buffers
internal import PointToPoint

/// How the workers of a run that averages in pairs work together.
struct PairSettings: Sendable {
  /// The number of workers; nil for as many as ranks.
  var workerCount: Int?
  /// Who averages with whom.
  var shape = GossipGraph.Shape.ring
  /// Which minibatches a worker takes.
  var shares = PairShares.counter

  /// The keys of a specification, for `train list`.
  static let keys = [
    (name: "graph", meaning: "who averages with whom: ring, complete or exponential (ring)"),
    (name: "minibatches", meaning: "which a worker takes: the next of one counter, or its own share of each step (counter)"),
    (name: "workers", meaning: "the workers, a multiple of the ranks, with --emulate-speed (as many as ranks)"),
  ]

  /// Reads the keys of a specification.
  init(_ specification: Specification) throws(SpecificationError) {
    // A model for each.
    if specification.options["workers"] != nil {
      workerCount = try specification.integer("workers", default: 1, in: 1...1024)
    }
    shape = try specification.choice("graph", default: .ring)
    shares = try specification.choice("minibatches", default: .counter)
  }

  /// The optimizers of a rank: one for each worker, and that of the run, which is not used.
  @Sendable func optimizerCount(rankCount: Int) -> Int { 1 + (workerCount ?? rankCount) / rankCount }

  /// What the workers of a rank keep: their models and what comes and goes, and for passive ones what they read.
  @Sendable func memory(parameterCount: Int, rankCount: Int, isCoded: Bool) -> [(name: String, count: Int)] {
    let workers = (workerCount ?? rankCount) / rankCount
    return [
      ("models of workers", workers * parameterCount), ("messages", workers * (parameterCount + rankCount)),
      ("what workers read", workers * parameterCount),
    ]
  }
}
