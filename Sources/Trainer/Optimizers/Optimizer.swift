public import Buffers

/// Turns an aggregated gradient into an update of the parameters, piece by piece.
///
/// Every rank does the same arithmetic on the same bits, so that models stay equal without being sent.
public protocol Optimizer: AnyObject {
  /// What it remembers between steps, by name, each of the length of the flat buffer; part of a checkpoint.
  var state: [(name: String, values: FloatBuffer)] { get }

  /// Updates `range` of the parameters with its gradient, `range.count` values, at the learning rate `rate`.
  func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float)

  /// Prepares for steps of `count` samples: what is given for each step, such as a momentum, keeps its meaning in samples.
  ///
  /// The rate is scaled by the caller. With the minibatch of the settings, everything is as before the first call.
  func setMinibatch(_ count: Int)
}

/// What every optimizer is made from, beside its own keys.
public struct OptimizerSettings: Sendable {
  /// The number of parameters.
  public var count: Int
  /// ρ of the momentum.
  public var momentum: Float
  /// λ of the weight decay.
  public var weightDecay: Float
  /// The samples of a step for which the momentum is meant.
  public var minibatch: Int

  /// The settings of a model of `count` parameters.
  public init(count: Int, momentum: Float, weightDecay: Float, minibatch: Int = 256) {
    self.count = count
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.minibatch = minibatch
  }
}

/// The optimizers that `--optimizer` knows.
public let optimizers = Registry<@Sendable (OptimizerSettings) -> any Optimizer>(
  "optimizer",
  [
    .init(
      "sgd", "Stochastic gradient descent with momentum: u ← ρu + g, w ← w − ηu.",
      keys: [
        ("gain", "classic: u ← ρu + g (default); unit: u ← ρu + (1−ρ)g, the paper's momentum smoothing"),
        ("nesterov", "true: w ← w − η(g + ρu), with u already updated (false)"),
      ]
    ) { specification in
      let gain = specification.options["gain"] ?? "classic"
      guard ["classic", "unit"].contains(gain) else {
        throw SpecificationError("'\(specification)': gain is classic or unit, not '\(gain)'")
      }
      let nesterov = specification.options["nesterov"] ?? "false"
      guard let isNesterov = Bool(nesterov) else {
        throw SpecificationError("'\(specification)': nesterov is true or false, not '\(nesterov)'")
      }
      return { StochasticGradientDescent($0, hasUnitGain: gain == "unit", isNesterov: isNesterov) }
    }
  ])
