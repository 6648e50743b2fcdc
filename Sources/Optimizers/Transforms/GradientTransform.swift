package import Buffers
package import Collectives
package import Transport

/// A rank's transform of its contribution before encoding: tensor by tensor, as each becomes final and is still in the cache.
package protocol RankTransform: Stateful {
  /// Transforms the gradient of tensor `index`.
  ///
  /// - Parameters:
  ///   - index: The index of the tensor in the layout.
  ///   - gradient: This rank's contribution, of the length of the layout.
  ///   - parameters: The model that it was computed with.
  ///   - share: The part of a step that the contribution stands for, over all ranks.
  func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float)
  /// Keeps the state changes of the last gradient. Without this call the gradient leaves no trace.
  func commit()
}

/// A shard owner's transform of the sum of the contributions before it is encoded a second time.
///
/// Only for coded all-reduces, which have such owners.
package protocol OwnerTransform: Stateful {
  /// Prepares for the sums of the ranges that this rank owns; collective.
  ///
  /// - Parameters:
  ///   - ownedRanges: The ranges of the flat buffer that this rank owns.
  ///   - isRestorable: Whether an exchange may be discarded.
  ///   - hosts: All ranks, including those with other slices of the model.
  func attach(ownedRanges: [Range<Int>], isRestorable: Bool, hosts: HostMap) throws
  /// Prepares for the sums of a new exchange.
  func begin()
  /// Transforms a piece of a sum; called once for every owned value, by the thread that drives the exchange.
  func transform(_ range: Range<Int>, _ values: UnsafeMutablePointer<Float>)
  /// Ends the exchange by `deliver` and passes its result, ready for the update, to `sink`; collective.
  func deliver(into sink: Sink, by deliver: (Sink) throws -> Void) throws
  /// Converts the owners' residual back to units of a gradient, on a rank that owns everything.
  func restoreUnits(of remainder: FloatBuffer)
  /// The traffic outside the exchange.
  var traffic: Traffic { get }
  /// Seconds spent here outside the exchange, including the update of the model.
  var seconds: Double { get }
}

/// Every rank's transform of the aggregated gradient before the optimizer; it needs the whole gradient, with its norm.
package protocol UpdateTransform: Stateful {
  /// Transforms the gradient; every rank does the same to the same bits.
  ///
  /// - Parameters:
  ///   - gradient: The aggregated gradient of this rank's slice of the model.
  ///   - squaredNorm: The square of the norm of the whole gradient.
  ///   - share: The part of a step that it stands for.
  func transform(_ gradient: FloatBuffer, squaredNorm: Double, share: Double)
}
