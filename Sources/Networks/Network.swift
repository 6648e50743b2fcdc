public import Buffers

/// A model that classifies, with its parameters in a flat buffer that the caller owns.
///
/// A network keeps only the activations of the samples it works on: the same network computes with any parameters of its
/// layout. It is used by one thread at a time.
public protocol Network: AnyObject {
  /// How parameters, and their gradient, lie in a flat buffer: in backward order, output layer first.
  var layout: TensorLayout { get }
  /// The number of values of a sample.
  var inputCount: Int { get }
  /// The number of classes.
  var classCount: Int { get }
  /// Called between the products of two layers, forward and backward, where it is set: a caller with no core to spare
  /// carries its communication on there.
  var interlude: (() -> Void)? { get set }

  /// This network with its layers split over the stripes of `exchange`, of which this rank holds one; nil where this kind of
  /// network cannot be split.
  func striped(over exchange: any StripeExchange) -> (any StripedNetwork)?

  /// Sets `parameters` to the random start that follows from `seed`, the same bits on every machine.
  func initialize(_ parameters: FloatBuffer, seed: UInt64)

  /// Sets `gradient` to `scale` · Σ over the minibatch's samples of the gradient of the cross-entropy.
  ///
  /// A minibatch without samples has the gradient +0. Values that are not finite flow through to the loss and the gradient.
  ///
  /// - Parameters:
  ///   - batch: The samples; a class outside of 0 ..< `classCount` is a programmer's mistake.
  ///   - parameters: In the layout of this network.
  ///   - scale: 1/N, where N is the number of samples of the step over all ranks.
  ///   - gradient: In the layout of this network; what it held is lost.
  ///   - ready: Called with the index of a tensor once its gradient is final, in the order of the layout.
  /// - Returns: The loss (without `scale`) and the number of samples classified correctly.
  /// - Throws: Where the network is spread over several ranks and one of them cannot be reached; on one rank it never throws.
  func gradient(
    of batch: Minibatch, parameters: FloatBuffer, scale: Float, into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void
  ) throws -> BatchResult

  /// The loss of a minibatch, and the logarithms of the posteriors where wanted.
  ///
  /// - Parameters:
  ///   - batch: The samples.
  ///   - parameters: In the layout of this network.
  ///   - logPosteriors: Set to samples × classes, by rows; room for more is left as it is.
  /// - Returns: The loss and the number of samples classified correctly, the same bits as from `gradient`.
  /// - Throws: As `gradient`.
  func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer?) throws -> BatchResult
}

extension Network {
  /// Most kinds of networks cannot be split.
  public func striped(over exchange: any StripeExchange) -> (any StripedNetwork)? { nil }
}

/// What a network says of a minibatch.
public struct BatchResult: Hashable, Sendable {
  /// Σ −log p(class of the sample), in nats; NaN where activations are not finite.
  public var lossSum: Double
  /// The number of samples whose most probable class is theirs; the lowest class wins a tie.
  public var correct: Int
  /// The number of samples.
  public var count: Int

  /// The result of no samples, or of those given.
  public init(lossSum: Double = 0, correct: Int = 0, count: Int = 0) {
    self.lossSum = lossSum
    self.correct = correct
    self.count = count
  }
}
