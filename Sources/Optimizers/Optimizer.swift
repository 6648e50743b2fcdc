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

  /// The number of steps after which all ranks have the same parameters again, if they take some of them alone; 1 if they do after each.
  var stepsPerMeeting: Int { get }

  /// Whether every rank takes step `step` alone, with its own gradient, unless it is the last before a meeting.
  func takesAlone(_ step: Int) -> Bool

  /// Says of the step that has begun that it is taken alone.
  func beginAlone()

  /// Takes the step that has begun with a complete contribution of this rank's own.
  func updateAlone(_ parameters: FloatBuffer, with contribution: FloatBuffer, rate: Float)

  /// Makes a contribution of the steps taken alone since the last exchange, without the step under way, whose gradient does not count.
  ///
  /// - Returns: Whether there are any; if there are, the exchange must take place.
  func contributeStepsAlone(to contribution: FloatBuffer) -> Bool

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
  public var stepsPerMeeting: Int { 1 }
  public func takesAlone(_ step: Int) -> Bool { false }
  public func beginAlone() { fatalError("ranks take each step together") }
  public func updateAlone(_ parameters: FloatBuffer, with contribution: FloatBuffer, rate: Float) {
    fatalError("ranks take each step together")
  }
  public func contributeStepsAlone(to contribution: FloatBuffer) -> Bool { false }
  public func exchangesFloats(at step: Int) -> Bool { false }
  public func changesContributions(at step: Int) -> Bool { false }
  public func prepare(samples: Int, share: Float) {}
  public func finish(_ parameters: FloatBuffer, rate: Float) {}
  public var decayBeside: DecayBeside? { nil }
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

  /// Creates the settings of a model with these tensors.
  public init(layout: TensorLayout, momentum: Float, weightDecay: Float, minibatch: Int = 256) {
    self.layout = layout
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.minibatch = minibatch
  }

  /// Creates the settings of a model that is one vector of `count` parameters.
  public init(count: Int, momentum: Float, weightDecay: Float, minibatch: Int = 256) {
    self.init(
      layout: TensorLayout([("parameters", [count])]), momentum: momentum, weightDecay: weightDecay, minibatch: minibatch)
  }
}
