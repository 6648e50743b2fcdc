public import Buffers

/// Turns an aggregated gradient into an update of the parameters, piece by piece.
///
/// Every rank does the same arithmetic on the same bits, so that models stay equal without being sent. The state kept between
/// steps is part of checkpoints; tensors of the length of the flat buffer are the same on every rank.
public protocol Optimizer: Stateful {
  /// Resets the direction accumulated from past gradients, as at the start; what is known of their sizes stays.
  func forgetMomentum()

  /// Updates `range` of the parameters with its gradient, `range.count` values, at the learning rate `rate`.
  func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float)

  /// Ends an update, after the whole gradient has passed through ``update(_:of:with:rate:)``.
  func finish(_ parameters: FloatBuffer, rate: Float)

  /// Begins step `step` of the run, before its gradient is computed; of synchronous runs only.
  func begin(_ step: Int)

  /// Whether the contributions to a step cross as floats, also after a warm start.
  func exchangesFloats(at step: Int) -> Bool

  /// Whether contributions are of another kind from a step on, so that what codes of before have left counts no more.
  func changesContributions(at step: Int) -> Bool

  /// Sets the number of samples in the next update, over all ranks; called before each, with the same number on every rank.
  ///
  /// `share` is the update's part of a step: what is defined per step, such as weight decay, is applied in proportion.
  func prepare(samples: Int, share: Float)

  /// Prepares for steps of `count` samples: what is given per step, such as momentum, keeps its meaning in samples.
  ///
  /// The caller scales the rate. With the minibatch of the settings, everything is as before the first call.
  func setMinibatch(_ count: Int)

  /// Makes an optimizer of the same settings that has seen no gradient, for measurements.
  func fresh() -> any Optimizer

  /// What its updates take from the parameters beside the gradient; nil if nothing.
  var decayBeside: DecayBeside? { get }
}

extension Optimizer {
  public func begin(_ step: Int) {}
  public func exchangesFloats(at step: Int) -> Bool { false }
  public func changesContributions(at step: Int) -> Bool { false }
  public func prepare(samples: Int, share: Float) {}
  public func finish(_ parameters: FloatBuffer, rate: Float) {}
  public var decayBeside: DecayBeside? { nil }
  /// This optimizer, if ranks take some of its steps locally; nil if they take each together.
  public var localSteps: (any LocalStepOptimizer)? { self as? any LocalStepOptimizer }
}

/// An optimizer with which ranks take some steps locally, each with its own gradient, between exchanges.
public protocol LocalStepOptimizer: Optimizer {
  /// The number of steps after which all ranks have the same parameters again.
  var stepsPerMeeting: Int { get }

  /// Whether every rank takes step `step` locally, unless it is the last before a meeting.
  func takesLocally(_ step: Int) -> Bool

  /// Makes a local step of the one that has begun, before its gradient is computed.
  func beginLocalStep()

  /// Takes the local step that has begun with a complete contribution of this rank's own.
  func updateLocally(_ parameters: FloatBuffer, with contribution: FloatBuffer, rate: Float)

  /// Makes a contribution of the local steps since the last exchange, without the step under way, whose gradient does not count.
  ///
  /// - Returns: Whether there are any; if there are, the exchange must take place.
  func contributeLocalSteps(to contribution: FloatBuffer) -> Bool
}

/// The inputs of every optimizer, besides its own keys.
public struct OptimizerSettings: Sendable {
  /// The tensors.
  public var layout: TensorLayout
  /// The number of parameters.
  public var count: Int { layout.count }
  /// ρ of the momentum.
  public var momentum: Float
  /// λ of the weight decay.
  public var weightDecay: Float
  /// The samples per step for which the momentum is meant.
  public var minibatch: Int
  /// The number of ranks that share the samples of a step.
  public var shareCount: Int

  /// Creates the settings of a model with these tensors.
  public init(layout: TensorLayout, momentum: Float, weightDecay: Float, minibatch: Int = 256, shareCount: Int = 1) {
    self.layout = layout
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.minibatch = minibatch
    self.shareCount = shareCount
  }

  /// Creates the settings of a model that is one vector of `count` parameters.
  public init(count: Int, momentum: Float, weightDecay: Float, minibatch: Int = 256) {
    self.init(
      layout: TensorLayout([("parameters", [count])]), momentum: momentum, weightDecay: weightDecay, minibatch: minibatch)
  }
}
