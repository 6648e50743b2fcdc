internal import Buffers
internal import PointToPoint

/// `async-local`: workers push what steps of their own have changed.
extension AsynchronySettings {
  /// The keys of local steps.
  static let localStepsKeys =
    [
      (name: "steps", meaning: "H: the steps of --optimizer that a worker takes before it pushes what they have changed (50)"),
      (name: "outer-rate", meaning: "α: how far an owner follows a change (0.7)"),
      (
        name: "outer-momentum",
        meaning: "μ of the owners' Nesterov momentum, which every K-th push moves (0.5)"
      ),
      (
        name: "weight",
        meaning: "of a change that is τ pushes old, of one of K workers: stale, 1/√(K(1+τ)); root, 1/√K; mean, 1/K; one (stale)"
      ),
    ] + workerKeys + [pullKey]

  /// Reads the keys of a specification.
  init(localStepsOf specification: Specification) throws(SpecificationError) {
    try self.init(workersOf: specification)
    minibatchesPerPush = try specification.integer("steps", default: 50, in: 1...1_000_000)
    method = .localSteps(
      OuterStep(
        rate: Float(try specification.number("outer-rate", default: 0.7, in: 0...1e6)),
        momentum: Float(try specification.number("outer-momentum", default: 0.5, in: 0...0.999999)),
        weight: try specification.choice("weight", default: OuterStep.Weight.stale)))
    try readPull(specification)
  }
}
