internal import Buffers
internal import Codecs

/// An owner of a part of the centre, to which workers' models are bound elastically.
///
/// A push is a worker's x. The owner computes Δ = α(x − centre) once, at the centre as it is, encodes it, and moves the centre by what
/// the code carries; the worker moves by as much the other way: the sum of all models and the centre stays.
/// Source: algorithms §8.
/// - Memory: the shard for each worker, and twice with codes.
final class ElasticOwner: OwnerRule {
  private(set) var version = 0
  let shard: OwnedShard
  private let alpha: Float
  /// What has come from each worker, and then its Δ.
  private let moves: [FloatBuffer]
  /// What the owner knows of each x; empty with floats.
  private let known: [FloatBuffer]

  init(_ shard: OwnedShard, alpha: Float) {
    (self.shard, self.alpha) = (shard, alpha)
    moves = shard.buffers()
    known = shard.forms.codes.codec.isIdentity ? [] : shard.buffers()
  }

  func begin() { for copy in known { copy.baseAddress.update(from: shard.values, count: shard.count) } }

  func room(for worker: Int) -> UnsafeMutablePointer<Float> { moves[worker].baseAddress }

  func take(_ push: Push) {
    guard push.samples > 0, !known.isEmpty, !shard.forms.pushesAreFloats else { return }
    let (x, change) = (known[push.worker].baseAddress, room(for: push.worker))
    for i in 0..<shard.count { x[i] += change[i] }
  }

  func flush() {}

  /// Computes Δ, encodes it, and moves the centre; as a worker may have waited for others, at the centre as it is now.
  func encodeAnswer(to worker: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    let (centre, move) = (shard.values, room(for: worker))
    let areCodes = !shard.forms.pushesAreFloats
    let x = areCodes ? known[worker].baseAddress : move
    for i in 0..<shard.count { move[i] = alpha * (x[i] - centre[i]) }
    let byteCount = shard.forms.encodeForgetfully(shard.index, move, into: code, context: context)
    for i in 0..<shard.count { centre[i] += move[i] }
    if areCodes { for i in 0..<shard.count { x[i] -= move[i] } }
    version += 1
    return byteCount
  }

  func forget() {}

  func contribute(to inventory: inout StateInventory) {}
}
