internal import Buffers
internal import Codecs

/// What a worker does with its gradients, what it pushes, and what it does with the answers of owners.
///
/// A worker computes the gradients of a block of minibatches, one after another at its ``values``. Then it pushes to each owner, and
/// goes on when all have answered; a pipelined one computes its next block meanwhile.
protocol WorkerRule: AnyObject {
  /// The values at which the next gradient is computed.
  var values: FloatBuffer { get }
  /// Whether the next push asks for an answer with values.
  var pulls: Bool { get }
  /// The groups of its pushes that were sent as zeros because they were not finite; those without a residual are not its own.
  var nonFiniteGroups: Int { get }
  /// Begins a segment, for which all ranks have the values `model`.
  func begin(at model: FloatBuffer)
  /// Takes the gradient of a minibatch, the mean over its samples; without samples there is none.
  func take(_ gradient: FloatBuffer, of minibatch: Int, samples: Int, endsBlock: Bool)
  /// Encodes the push to the owner of `shard`; returns the number of bytes.
  func encodePush(to shard: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int
  /// Notes that all shards have been pushed.
  func endPush()
  /// Takes the answer of an owner; a pipelined worker is computing, and its ``values`` stay.
  func take(answer code: UnsafeRawPointer, of shard: Int)
  /// Goes on from the answers of all owners.
  func goOn()
  /// Discards what past gradients have left behind.
  func forget()
  /// Adds what must be saved at a meeting.
  func contribute(to inventory: inout StateInventory, index: Int)
}

extension WorkerRule {
  /// Adds the residual of the pushes of this rank's worker `index`, if there is one.
  func contribute(_ coder: GroupCoder, to inventory: inout StateInventory, index: Int) {
    guard coder.residual.count > 0 else { return }
    inventory.tensors.append(SavedTensor(index == 0 ? "residual" : "residual.\(index)", .summed, of: coder.residual))
  }
}
