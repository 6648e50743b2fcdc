internal import Buffers
internal import Codecs

/// A push that an owner has decoded.
struct Push {
  let worker: Int
  /// The first minibatch of its block.
  let minibatch: Int
  /// The number of samples of its gradients; 0 for a push without any.
  let samples: Int
  /// The number of its gradients.
  let gradientCount: Int
  /// The updates of the shard since the worker pulled the values at which it computed.
  let staleness: Int
  /// t, the minibatches that have been pushed so far, those of this push among them.
  let number: Int
}

/// What an owner does with the pushes of workers to its shard, and what it answers.
protocol OwnerRule: AnyObject {
  /// The number of updates of the shard so far.
  var version: Int { get }
  /// Begins a segment, for which all workers know the values of the shard.
  func begin()
  /// Where the push of a worker is decoded to.
  func room(for worker: Int) -> UnsafeMutablePointer<Float>
  /// Takes a push that has been decoded there.
  func take(_ push: Push)
  /// Decodes a push, if it has samples, and takes it.
  func take(_ push: Push, of code: UnsafeRawPointer)
  /// The shard.
  var shard: OwnedShard { get }
  /// Applies what is pending at the end of a segment.
  func flush()
  /// Encodes the answer to a worker's push; returns the number of bytes.
  func encodeAnswer(to worker: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int
  /// Discards what past pushes have left behind.
  func forget()
  /// Adds what must be saved at a meeting.
  func contribute(to inventory: inout StateInventory)
}

extension OwnerRule {
  func take(_ push: Push, of code: UnsafeRawPointer) {
    if push.samples > 0 { shard.forms.decode(shard.index, code, setting: room(for: push.worker)) }
    take(push)
  }
}

/// The shard of the model that an owner keeps, and how it travels.
struct OwnedShard {
  let index: Int
  /// The values in the flat buffer.
  let elements: Range<Int>
  let parameters: FloatBuffer
  let forms: ShardForms
  let workerCount: Int

  var count: Int { elements.count }
  var values: UnsafeMutablePointer<Float> { parameters.baseAddress + elements.lowerBound }

  /// A buffer of the shard's size for each worker.
  func buffers() -> [FloatBuffer] { (0..<workerCount).map { _ in FloatBuffer(count: count) } }
}

/// What each worker holds of a shard: what it pulls is encoded as the difference to that, so that nothing is lost.
final class HeldShards {
  private let shard: OwnedShard
  private let copies: [FloatBuffer]

  init(_ shard: OwnedShard) {
    self.shard = shard
    copies = shard.buffers()
  }

  /// What `worker` holds.
  subscript(worker: Int) -> UnsafeMutablePointer<Float> { copies[worker].baseAddress }

  /// Notes that all workers have got the values of the shard.
  func begin() { for copy in copies { copy.baseAddress.update(from: shard.values, count: shard.count) } }

  /// Encodes what a worker pulls.
  func encodePull(by worker: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    shard.forms.encodePull(shard.index, of: shard.values, by: self[worker], into: code, context: context)
  }
}
