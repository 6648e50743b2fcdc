internal import Buffers
internal import PointToPoint

/// `asgd`, `dc-asgd` and `ssp`: workers push gradients.
extension AsynchronySettings {
  /// The ways of the learning rate with the staleness.
  private enum RateName: String, CaseIterable {
    case uniform, inverse, exponential, adadelay
    case adadelayByValue = "adadelay-by-value"
  }
  /// What workers pull.
  private enum Pull: String, CaseIterable { case codes, floats }

  /// The key of pulls.
  static let pullKey = (name: "pull", meaning: "codes of the differences to what a worker holds, or floats (codes)")

  /// The keys of owners that apply gradients.
  static let gradientKeys =
    workerKeys + [
      (
        name: "rate",
        meaning:
          "how the rate depends on the staleness τ: uniform, inverse (η/max(1,τ)), exponential, adadelay, adadelay-by-value (uniform)"
      ),
      (name: "beta", meaning: "β of rate=exponential, η·e^(−βτ) (0.1)"),
      (name: "l", meaning: "L of rate=adadelay, η/(L + c√(t + τ)) for push t (1)"),
      (name: "c", meaning: "c of rate=adadelay; by value, it is multiplied by c_j = √(Σ s/(s + τ_s)·g_j(s)²/t) (1)"),
      (name: "softsync", meaning: "the pushes whose mean an owner applies at once (1)"),
      pullKey,
    ]

  /// The keys of workers that take steps of their own between pulls.
  static let downpourKeys = [
    (name: "push", meaning: "the minibatches after which a worker pushes the sum of their gradients (1)"),
    (name: "pull-every", meaning: "the pushes after which a worker pulls; between pulls it descends by itself (1)"),
    (name: "pipeline", meaning: "true: a worker computes on while its push and its pull are under way (false)"),
  ]

  /// The keys of delay compensation.
  static let compensationKeys = [
    (name: "form", meaning: "a: λ by the size of each value's gradients; c: the same for all (a)"),
    (name: "lambda", meaning: "λ₀ (2 in form a, 0.04 in form c)"),
    (name: "mean", meaning: "the share of the mean square that stays with each push, in form a (0.95)"),
    (name: "clamp", meaning: "κ: a correction is at most κ times the gradient; 0 for no limit (1)"),
  ]

  /// Reads the keys of a specification.
  init(
    gradientsOf specification: Specification, boundByDefault: Int? = nil, isCompensated: Bool = false
  ) throws(SpecificationError) {
    try self.init(workersOf: specification, boundByDefault: boundByDefault)
    switch try specification.choice("rate", default: RateName.uniform) {
    case .uniform: break
    case .inverse: rule.rate = .inverse
    case .exponential: rule.rate = .exponential(beta: try specification.number("beta", default: 0.1, in: 0...1e6))
    case let name:
      let l = try specification.number("l", default: 1, in: 1e-6...1e6)
      let c = try specification.number("c", default: 1, in: 0...1e6)
      rule.rate = name == .adadelay ? .adaDelay(l: l, c: c) : .adaDelayByValue(l: l, c: c)
    }
    if specification.options["softsync"] != nil {
      pushesPerUpdate = try specification.integer("softsync", default: 1, in: 1...65536)
    }
    minibatchesPerPush = try specification.integer("push", default: 1, in: 1...65536)
    pushesPerPull = try specification.integer("pull-every", default: 1, in: 1...65536)
    isPipelined = try specification.flag("pipeline", default: false)
    try readPull(specification)
    guard isCompensated else { return }
    let form = try specification.choice("form", default: DelayCompensation.Form.adaptive)
    let clamp = try specification.number("clamp", default: 1, in: 0...1e6)
    rule.compensation = DelayCompensation(
      form, lambda: Float(try specification.number("lambda", default: form == .adaptive ? 2 : 0.04, in: 0...1e6)),
      mean: Float(try specification.number("mean", default: 0.95, in: 0...1)),
      clamp: clamp == 0 ? .infinity : Float(clamp))
  }

  /// Reads what workers pull.
  mutating func readPull(_ specification: Specification) throws(SpecificationError) {
    pullsFloats = try specification.choice("pull", default: Pull.codes) == .floats
  }
}
