public import Buffers

/// Turns an aggregated gradient into an update of the parameters, piece by piece.
///
/// Every rank does the same arithmetic on the same bits, so that models stay equal without being sent.
public protocol Optimizer: AnyObject {
  /// The state kept between steps, by name, each buffer of the length of the flat buffer; part of a checkpoint.
  var state: [(name: String, values: FloatBuffer)] { get }

  /// Resets the direction accumulated from past gradients, as at the start; what is known of their sizes stays.
  func forgetMomentum()

  /// Updates `range` of the parameters with its gradient, `range.count` values, at the learning rate `rate`.
  func update(_ range: Range<Int>, of parameters: FloatBuffer, with gradient: UnsafePointer<Float>, rate: Float)

  /// Ends an update, after the whole gradient has passed through ``update(_:of:with:rate:)``.
  func finish(_ parameters: FloatBuffer, rate: Float)

  /// Sets the number of samples in the next update, over all ranks; called before each, with the same number on every rank.
  ///
  /// `share` is the update's part of a step: what is defined per step, such as weight decay, is applied in proportion.
  func prepare(samples: Int, share: Float)

  /// Prepares for steps of `count` samples: what is given per step, such as momentum, keeps its meaning in samples.
  ///
  /// The caller scales the rate. With the minibatch of the settings, everything is as before the first call.
  func setMinibatch(_ count: Int)
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

extension Optimizer {
  public func prepare(samples: Int, share: Float) {}
  public func finish(_ parameters: FloatBuffer, rate: Float) {}
}

/// An optimizer chosen before the model is known.
public struct OptimizerRecipe: Sendable {
  /// The time constant of its momentum in samples; nil if the momentum is that of the settings.
  public var timeConstant: Double?
  /// How gradients are scaled between the ranks, before they reach the optimizer; nil for not at all.
  public var scaling: AdaGrad?
  /// Whether a model sliced over several ranks is trained as if it were whole.
  public var worksOnSlices: Bool
  private let make: @Sendable (OptimizerSettings) -> any Optimizer

  /// Creates a recipe that `make` carries out.
  init(
    timeConstant: Double?, scaling: AdaGrad? = nil, worksOnSlices: Bool = true,
    make: @escaping @Sendable (OptimizerSettings) -> any Optimizer
  ) {
    self.worksOnSlices = worksOnSlices
    self.timeConstant = timeConstant
    self.scaling = scaling
    self.make = make
  }

  /// Makes the optimizer.
  public func callAsFunction(_ settings: OptimizerSettings) -> any Optimizer { make(settings) }
}

/// The optimizers of `--optimizer`.
public let optimizers = Registry<OptimizerRecipe>(
  "optimizer",
  [
    .init("sgd", "Stochastic gradient descent with momentum: u ← ρu + g, w ← w − ηu.", keys: MomentumStyle.keys) {
      let style = try MomentumStyle($0)
      return OptimizerRecipe(timeConstant: style.timeConstant) { StochasticGradientDescent($0, style: style) }
    },
    .init(
      "adagrad", "Each value divided by the root of the sum of its squares, then descent as by sgd (Duchi et al. 2011).",
      keys: AdaGrad.keys + MomentumStyle.keys
    ) { specification in
      let (rule, style) = (try AdaGrad(specification), try MomentumStyle(specification))
      guard rule.place == .momentum else {
        return OptimizerRecipe(timeConstant: style.timeConstant, scaling: rule, worksOnSlices: rule.place == .aggregate) {
          StochasticGradientDescent($0, style: style)
        }
      }
      for key in ["gain", "nesterov"] where specification.options[key] != nil {
        throw SpecificationError("'\(specification)': \(key) does not go with place=momentum, which smooths with unit gain")
      }
      return OptimizerRecipe(timeConstant: style.timeConstant, worksOnSlices: false) {
        SmoothedAdaGrad($0, rule: rule, style: style)
      }
    },
  ])
