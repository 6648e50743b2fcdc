public import Buffers

/// A classifier with its parameters in a flat buffer that the caller owns.
///
/// A network keeps only the activations of the samples it works on, so it computes with any parameters of its layout. Not
/// thread-safe.
public protocol Network: AnyObject {
  /// How parameters, and their gradient, lie in a flat buffer: in backward order, output layer first.
  var layout: TensorLayout { get }
  /// The number of values of a sample.
  var inputCount: Int { get }
  /// The number of classes.
  var classCount: Int { get }
  /// The number of classes that are predicted for a sample: 1, or one for each position of a text.
  var targetCount: Int { get }
  /// If set, called between the products of two layers, forward and backward: a caller without a spare core progresses its
  /// communication there.
  var betweenLayers: (() -> Void)? { get set }

  /// What normalizations have seen of the batches in training; nil if the network has none.
  var statistics: RunningStatistics? { get }

  /// Makes the batch of the last gradient part of ``statistics``: its step was done.
  func accept()

  /// This network with its layers split over the slices of `exchange`, of which this rank holds one.
  ///
  /// Nil if this kind of network cannot be split.
  func sliced(over exchange: any SliceExchange) -> (any SlicedNetwork)?

  /// Sets `parameters` to the random initial values that follow from `seed`, bitwise identical on every machine.
  func initialize(_ parameters: FloatBuffer, seed: UInt64)

  /// Sets `gradient` to `scale` · Σ over the minibatch's samples of the gradient of the cross-entropy, which is the mean over the
  /// targets of a sample.
  ///
  /// An empty minibatch has the gradient +0. Non-finite values propagate to the loss and the gradient.
  ///
  /// - Parameters:
  ///   - batch: The samples; a class outside of 0 ..< `classCount` is a programming error.
  ///   - parameters: In the layout of this network.
  ///   - scale: 1/N, where N is the number of samples of the step over all ranks.
  ///   - gradient: In the layout of this network; its previous contents are lost.
  ///   - ready: Called with the index of a tensor once its gradient is final, in the order of the layout.
  /// - Returns: The loss (without `scale`) and the number of targets predicted correctly.
  /// - Throws: If the network is split over several ranks, or shares statistics with them, and one of them cannot be reached; never
  ///   on one rank.
  func gradient(
    of batch: Minibatch, parameters: FloatBuffer, scale: Float, into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void
  ) throws -> BatchResult

  /// The loss of a minibatch and, if requested, the log posteriors.
  ///
  /// - Parameters:
  ///   - batch: The samples.
  ///   - parameters: In the layout of this network.
  ///   - logPosteriors: Set to one row of classes for each target; values beyond that are left unchanged.
  /// - Returns: The loss and the number of targets predicted correctly, the same bits as from `gradient` if nothing is random in it.
  /// - Throws: As `gradient`.
  func evaluate(_ batch: Minibatch, parameters: FloatBuffer, logPosteriors: FloatBuffer?) throws -> BatchResult
}

extension Network {
  /// One, unless a network overrides it.
  public var targetCount: Int { 1 }

  /// Most kinds of networks keep nothing of a batch.
  public var statistics: RunningStatistics? { nil }

  /// Nothing.
  public func accept() {}

  /// Most kinds of networks cannot be split.
  public func sliced(over exchange: any SliceExchange) -> (any SlicedNetwork)? { nil }
}

/// A network's result on a minibatch.
public struct BatchResult: Hashable, Sendable {
  /// Σ over the samples of the mean over their targets of −log p(target), in nats; NaN if activations are not finite.
  public var lossSum: Double
  /// The number of targets that are the most probable class; the lowest class wins a tie.
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

extension Network {
  /// Sets the gradient of an empty minibatch, zeros, and reports all tensors as ready.
  func gradientOfNoSamples(into gradient: FloatBuffer, ready: (_ tensor: Int) -> Void) -> BatchResult {
    gradient.clear()
    layout.tensors.indices.forEach(ready)
    return BatchResult()
  }
}
