internal import Buffers

/// `easgd` and `eamsgd`: workers with models of their own.
extension AsynchronySettings {
  /// The keys of elastic averaging.
  static let elasticKeys =
    [
      (name: "period", meaning: "τ: the minibatches after which a worker's model and the centre draw near each other (4)"),
      (name: "alpha", meaning: "α: how far, as a share of their difference (0.9/K with K workers)"),
      (
        name: "order",
        meaning:
          "turns: each worker meets the centre as the others have left it; together: all wait, and meet the same one (turns)"
      ),
    ] + workerKeys

  /// The key of momentum at the workers.
  static let deltaKey = (name: "delta", meaning: "δ of the workers' momentum, in place of --momentum (0.99)")

  /// Reads the keys of a specification.
  init(elasticOf specification: Specification, hasDelta: Bool) throws(SpecificationError) {
    try self.init(workersOf: specification)
    minibatchesPerPush = try specification.integer("period", default: 4, in: 1...1_000_000)
    var alpha: Float?
    if specification.options["alpha"] != nil { alpha = Float(try specification.number("alpha", default: 0, in: 0...2)) }
    let order = try specification.choice("order", default: Order.turns)
    if order == .together {
      guard specification.options["bound"] == nil || bound == 0...0 else {
        throw SpecificationError(
          "'\(specification)': with order=together workers are in step, which is bound=0; leave bound out")
      }
      bound = 0...0
    }
    let delta = hasDelta ? Float(try specification.number("delta", default: 0.99, in: 0...0.999999)) : nil
    method = .elastic(alpha: alpha, delta: delta, together: order == .together)
  }

  private enum Order: String, CaseIterable { case turns, together }
}
