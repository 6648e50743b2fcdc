internal import Buffers
internal import Codecs
internal import PointToPoint

/// How workers of a gossip run make their models alike.
struct GossipSettings: Sendable {
  /// The methods.
  enum Method: String, CaseIterable, Sendable {
    case mixing = "d-psgd"
    case compressed = "choco"
    case pushSum = "push-sum"
    case outerPairs = "no-loco"
  }

  /// Who is whose neighbour.
  enum Graph: Hashable, Sendable {
    case ring, torus, exponential, complete
    /// As a file lists it.
    case file(String)

    init(_ text: String) {
      self =
        switch text {
        case "ring": .ring
        case "torus": .torus
        case "exponential": .exponential
        case "complete": .complete
        default: .file(text)
        }
    }
  }

  /// Whom workers push to.
  enum Targets: String, CaseIterable, Sendable {
    case onePeer = "one-peer"
    case random
    case neighbours
  }

  /// Whether models are mixed before or after a gradient is applied.
  enum Order: String, CaseIterable, Sendable {
    case combineFirst = "combine-first"
    case adaptFirst = "adapt-first"
  }

  /// The number of workers; nil for as many as ranks.
  private(set) var workerCount: Int?
  private(set) var method = Method.mixing
  private(set) var graph = Graph.ring
  private(set) var order = Order.combineFirst
  /// γ of choco; nil if it follows from the codec.
  private(set) var gamma: Double?
  private(set) var targets = Targets.onePeer
  /// The steps from one meeting in pairs to the next.
  private(set) var steps = 50
  private(set) var outerStep = OuterPairStep()

  /// The keys of a specification, for `train list`.
  static let keys = [
    (name: "method", meaning: "how models are made alike: d-psgd, choco, push-sum or no-loco (d-psgd)"),
    (
      name: "graph",
      meaning: "of d-psgd, choco and push-sum to neighbours: ring, torus, exponential, complete, or a file of edges (ring)"
    ),
    (
      name: "order",
      meaning: "combine-first, by d-psgd: models travel while gradients are computed; adapt-first: gradients are applied before"
    ),
    (
      name: "gamma",
      meaning: "γ, how far a worker goes to the neighbours' copies (choco: floats 1, codes 0.6, sparse 0.1; no-loco: 0.7)"
    ),
    (name: "targets", meaning: "of push-sum: whom a worker pushes to: one-peer, random or neighbours (one-peer)"),
    (name: "steps", meaning: "H of no-loco: the steps between two meetings of pairs (50)"),
    (name: "outer-rate", meaning: "α of no-loco: how far a worker follows the change of a pair (0.7)"),
    (name: "outer-momentum", meaning: "μ of no-loco (0.5)"),
    (name: "workers", meaning: "the workers, a multiple of the ranks (as many as ranks)"),
  ]

  /// The keys that some methods alone have.
  private static let keysOfMethods: [String: [Method]] = [
    "graph": [.mixing, .compressed, .pushSum], "order": [.mixing, .compressed, .pushSum], "gamma": [.compressed, .outerPairs],
    "targets": [.pushSum], "steps": [.outerPairs], "outer-rate": [.outerPairs], "outer-momentum": [.outerPairs],
  ]

  /// Reads the keys of a specification; throws for values of other kinds, and for keys of other methods.
  init(_ specification: Specification) throws(SpecificationError) {
    method = try specification.choice("method", default: .mixing)
    for key in specification.options.keys.sorted() {
      guard let methods = Self.keysOfMethods[key], !methods.contains(method) else { continue }
      throw SpecificationError(
        "'\(specification)': \(key) is a key of method=\(methods.map(\.rawValue).joined(separator: ", ")), "
          + "not of \(method.rawValue)")
    }
    if specification.options["workers"] != nil {
      workerCount = try specification.integer("workers", default: 1, in: 1...1024)
    }
    graph = Graph(specification.options["graph"] ?? "ring")
    order = try specification.choice("order", default: method == .mixing ? .combineFirst : .adaptFirst)
    targets = try specification.choice("targets", default: .onePeer)
    if method == .pushSum, specification.options["graph"] != nil, targets != .neighbours {
      throw SpecificationError("'\(specification)': graph goes with targets=neighbours; \(targets.rawValue) has none")
    }
    if method == .compressed, specification.options["gamma"] != nil {
      gamma = try specification.number("gamma", default: 1, in: 0...2)
    }
    guard method == .outerPairs else { return }
    steps = try specification.integer("steps", default: 50, in: 1...1_000_000)
    outerStep = OuterPairStep(
      rate: Float(try specification.number("outer-rate", default: 0.7, in: 0...1e6)),
      momentum: Float(try specification.number("outer-momentum", default: 0.5, in: 0...0.999999)),
      gamma: Float(try specification.number("gamma", default: 0.7, in: 0...1e6)))
  }

  /// γ with this codec.
  func gamma(with codec: any Codec) -> Double {
    gamma ?? (codec.isIdentity ? 1 : codec.isSparse ? 0.1 : 0.6)
  }

  /// What the run cannot be used with.
  var obstacles: StrategyObstacles {
    var obstacles = StrategyObstacles.pairs
    obstacles.codes = "whose workers send whole models; none does, and method=choco sends codes"
    if method == .compressed {
      obstacles.codes = nil
      obstacles.warmStart = "whose codes are of differences that begin at zero; leave it out"
    }
    obstacles.orders = "whose models do not depend on when messages come"
    obstacles.plan = "a plan is of steps, of pushes to owners, or of averages of pairs, and this strategy has none of them"
    return obstacles
  }

  /// The optimizers of a rank: one for each worker, and that of the run, which is not used.
  @Sendable func optimizerCount(rankCount: Int) -> Int { 1 + (workerCount ?? rankCount) / rankCount }

  /// What the workers of a rank keep: their models and what a method keeps beside them, and what comes and goes.
  @Sendable func memory(parameterCount: Int, rankCount: Int, isCoded: Bool) -> [(name: String, count: Int)] {
    let count = workerCount ?? rankCount
    let local = count / rankCount
    // Of a file the ring is taken.
    let neighbours =
      switch (method, graph) {
      case (.outerPairs, _): 1
      case (.pushSum, _) where targets != .neighbours: 1
      case (_, .complete): count - 1
      case (_, .exponential): 2 * (Int.bitWidth - count.leadingZeroBitCount)
      case (_, .torus): 4
      case (_, .ring), (_, .file): 2
      }
    let arriving = min(count - local, local * neighbours)
    let message = method == .outerPairs ? 2 * parameterCount : isCoded ? parameterCount / 8 : parameterCount
    let vectors =
      switch method {
      case .mixing: local
      case .pushSum: 2 * local
      case .outerPairs: 3 * local
      case .compressed: 2 * local + arriving + 2
      }
    return [
      ("models of workers", vectors * parameterCount), ("messages", (local + arriving) * message),
      ("mean of models", local * (parameterCount + rankCount)),
    ]
  }
}
