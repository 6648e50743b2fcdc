internal import Buffers
internal import PointToPoint

/// How workers and owners of an asynchronous run work together.
struct AsynchronySettings: Sendable {
  /// What workers push; what depends on the number of workers is nil until that is known.
  enum Method: Hashable, Sendable {
    /// Gradients.
    case gradients
    /// Their models, bound to a centre by α (0.9/K); they take steps with Nesterov's momentum δ, or those of `--optimizer`.
    case elastic(alpha: Float?, delta: Float?, together: Bool = false)
    /// What steps of `--optimizer` have changed.
    case localSteps(OuterStep)
  }

  /// What workers push.
  var method = Method.gradients
  /// The number of workers; nil for as many as ranks.
  var workerCount: Int?
  /// The pushes that a worker may be ahead of the slowest, or a range of them; nil for any number.
  var bound: ClosedRange<Int>?
  /// What owners do about the age of gradients.
  var rule = PushRule()
  /// The pushes whose mean is applied at once; nil for one, or one of each worker with a bound of 0.
  var pushesPerUpdate: Int?
  /// The minibatches of a push.
  var minibatchesPerPush = 1
  /// The pushes after which a worker pulls.
  var pushesPerPull = 1
  /// Whether a worker computes while its push is under way.
  var isPipelined = false
  /// Whether workers pull floats.
  var pullsFloats = false
  /// Which ranks own shards.
  var owners = OwnerChoice.all

  /// The keys that all asynchronous strategies have.
  static let workerKeys = [
    (name: "workers", meaning: "the workers, a multiple of the ranks, with --emulate-speed (as many as ranks)"),
    (
      name: "bound",
      meaning:
        "s: a worker more than s pushes ahead of the slowest waits for it; 0 is in step; 2..6: chosen at each wait (none)"
    ),
    OwnerChoice.key,
  ]

  /// Reads the keys that all have.
  init(workersOf specification: Specification, boundByDefault: Int? = nil) throws(SpecificationError) {
    if specification.options["workers"] != nil {
      workerCount = try specification.integer("workers", default: 1, in: 1...65536)
    }
    owners = try specification.choice("owners", default: .all)
    bound = boundByDefault.map { $0...$0 }
    guard let text = specification.options["bound"] else { return }
    let ends = text.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) }
    switch (ends.count, ends.first ?? nil, ends.last ?? nil) {
    case (1, let s?, _) where (0...1_000_000).contains(s): bound = s...s
    case (3, let low?, let high?) where text.contains("..") && 0 <= low && low <= high && high <= 1_000_000: bound = low...high
    default:
      throw SpecificationError(
        "'\(specification)': bound is a whole number of 0 to 1000000, or a range such as 2..6, not '\(text)'")
    }
  }

  /// The settings of `workerCount` workers.
  func serverSettings(workerCount: Int, seed: UInt64) -> ParameterServer.Settings {
    var settings = ParameterServer.Settings(workerCount: workerCount)
    settings.method =
      switch method {
      case .gradients: .gradients
      case .elastic(let alpha, _, let together):
        .elastic(alpha: alpha ?? Float(0.9 / Double(workerCount)), together: together)
      case .localSteps(let outer): .localSteps(outer)
      }
    (settings.rule, settings.bound, settings.seed) = (rule, bound, seed)
    settings.pushesPerUpdate = pushesPerUpdate ?? (bound == 0...0 ? workerCount : 1)
    (settings.minibatchesPerPush, settings.pushesPerPull) = (minibatchesPerPush, pushesPerPull)
    (settings.isPipelined, settings.pullsFloats) = (isPipelined, pullsFloats)
    return settings
  }

  /// How often a worker pushes and pulls.
  var pushes: PushPattern {
    var pattern = PushPattern()
    (pattern.minibatchesPerPush, pattern.pushesPerPull) = (minibatchesPerPush, pushesPerPull)
    pattern.isPipelined = isPipelined
    return pattern
  }

  /// Whether each worker has an optimizer, and owners have none.
  var workersStep: Bool { method != .gradients }
}

extension AsynchronySettings {
  /// What workers and owners of a rank keep: what each worker holds and has not sent, and for each worker the owner's copy of its
  /// shard, what it has pushed, and messages both ways.
  @Sendable func memory(parameterCount: Int, rankCount: Int, isCoded: Bool) -> [(name: String, count: Int)] {
    let workers = workerCount ?? rankCount
    let shard = (parameterCount - 1) / rankCount + 1
    let coded = isCoded ? 1 : 0
    let addsUp = minibatchesPerPush > 1 || isPipelined
    var (held, copies, once) = (1 + coded, 1, 1)
    switch method {
    case .gradients:
      held += (addsUp || pushesPerPull > 1 ? 1 : 0) + (addsUp ? 1 : 0) + (isPipelined ? 1 : 0)
      let pending = pushesPerUpdate ?? (bound == 0...0 ? workers : 1)
      once += (pending > 1 ? pending : 0) + (rule.compensation?.form == .adaptive ? 1 : 0)
      if case .adaDelayByValue = rule.rate { once += 1 }
    case .elastic: (held, copies) = (2 + coded, 1 + coded)
    case .localSteps: (held, once) = (2 + coded, 4)
    }
    return [
      ("values of workers", workers / rankCount * held * parameterCount),
      ("copies of owners", (workers * copies + once) * shard), ("messages", workers * 2 * shard + 2 * parameterCount),
    ]
  }

  /// The optimizers of a rank.
  @Sendable func optimizerCount(rankCount: Int) -> Int { 1 + (workersStep ? (workerCount ?? rankCount) / rankCount : 0) }
}
