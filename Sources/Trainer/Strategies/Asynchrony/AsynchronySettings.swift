internal import Buffers
internal import Collectives

/// How workers and owners of an asynchronous run work together.
struct AsynchronySettings: Sendable {
  /// The number of workers; nil for as many as ranks.
  var workerCount: Int?
  /// What owners do about the age of gradients.
  var rule = PushRule()
  /// The pushes that a worker may be ahead of the slowest; nil for any number.
  var bound: Int?
  /// The pushes whose mean is applied at once; nil for one, or one of each worker with a bound of 0.
  var pushesPerUpdate: Int?
  /// Whether workers pull floats.
  var pullsFloats = false

  /// The ways of the learning rate with the staleness.
  private enum RateName: String, CaseIterable { case uniform, inverse, exponential, adadelay }
  /// What workers pull.
  private enum Pull: String, CaseIterable { case codes, floats }

  /// The keys that all asynchronous strategies have.
  static let keys = [
    (name: "workers", meaning: "the workers, a multiple of the ranks, with --emulate-speed (as many as ranks)"),
    (
      name: "rate",
      meaning: "how the rate depends on the staleness τ: uniform, inverse (η/max(1,τ)), exponential, adadelay (uniform)"
    ),
    (name: "beta", meaning: "β of rate=exponential, η·e^(−βτ) (0.1)"),
    (name: "l", meaning: "L of rate=adadelay, η/(L + c√(t + τ)) for push t (1)"),
    (name: "c", meaning: "c of rate=adadelay (1)"),
    (name: "softsync", meaning: "the pushes whose mean an owner applies at once (1)"),
    (name: "bound", meaning: "s: a worker more than s pushes ahead of the slowest waits for it; 0 is in step (none)"),
    (name: "pull", meaning: "codes of the differences to what a worker holds, or floats (codes)"),
  ]

  /// The keys of delay compensation.
  static let compensationKeys = [
    (name: "form", meaning: "a: λ by the size of each value's gradients; c: the same for all (a)"),
    (name: "lambda", meaning: "λ₀ (2 in form a, 0.04 in form c)"),
    (name: "mean", meaning: "the share of the mean square that stays with each push, in form a (0.95)"),
    (name: "clamp", meaning: "κ: a correction is at most κ times the gradient; 0 for no limit (1)"),
  ]

  /// Reads the keys of a specification.
  init(_ specification: Specification, boundByDefault: Int? = nil, isCompensated: Bool = false) throws(SpecificationError) {
    if specification.options["workers"] != nil {
      workerCount = try specification.integer("workers", default: 1, in: 1...65536)
    }
    switch try specification.choice("rate", default: RateName.uniform) {
    case .uniform: break
    case .inverse: rule.rate = .inverse
    case .exponential: rule.rate = .exponential(beta: try specification.number("beta", default: 0.1, in: 0...1e6))
    case .adadelay:
      rule.rate = .adaDelay(
        l: try specification.number("l", default: 1, in: 1e-6...1e6), c: try specification.number("c", default: 1, in: 0...1e6))
    }
    bound = boundByDefault
    if specification.options["bound"] != nil { bound = try specification.integer("bound", default: 0, in: 0...1_000_000) }
    if specification.options["softsync"] != nil {
      pushesPerUpdate = try specification.integer("softsync", default: 1, in: 1...65536)
    }
    pullsFloats = try specification.choice("pull", default: Pull.codes) == .floats
    guard isCompensated else { return }
    let form = try specification.choice("form", default: DelayCompensation.Form.adaptive)
    let clamp = try specification.number("clamp", default: 1, in: 0...1e6)
    rule.compensation = DelayCompensation(
      form, lambda: Float(try specification.number("lambda", default: form == .adaptive ? 2 : 0.04, in: 0...1e6)),
      mean: Float(try specification.number("mean", default: 0.95, in: 0...1)),
      clamp: clamp == 0 ? .infinity : Float(clamp))
  }
}

extension AsynchronySettings {
  /// What workers and owners of a rank keep: what each worker holds and has not sent, and for each worker the owner's copy of its
  /// shard, its gradient, and messages both ways.
  @Sendable func memory(parameterCount: Int, rankCount: Int, isCoded: Bool) -> [(name: String, count: Int)] {
    let workers = workerCount ?? rankCount
    let shard = (parameterCount - 1) / rankCount + 1
    let adaptive = rule.compensation?.form == .adaptive ? shard : 0
    let second = pushesPerUpdate ?? (bound == 0 ? workers : 1) > 1 ? shard : 0
    return [
      ("values of workers", workers / rankCount * (isCoded ? 2 : 1) * parameterCount),
      ("copies of owners", workers * 2 * shard + adaptive + second + shard),
      ("messages", workers * 2 * shard + 2 * parameterCount),
    ]
  }
}
