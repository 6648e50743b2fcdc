internal import Buffers
internal import Codecs
internal import Kernels

/// An owner of a part of the centre, to which workers' models are bound elastically.
///
/// A push is a worker's x. The owner computes Δ = α(x − centre) once, at the centre as it is, encodes it, and moves the centre by what
/// the code carries; the worker moves by as much the other way: the sum of all models and the centre stays.
///
/// If all differences are taken together, every worker's is that to the same centre, which moves once all are answered:
/// centre ← centre + Σ Δ_i, in the order of the workers. Then no bit depends on who comes first.
/// Source: algorithms §8.
/// - Memory: the shard for each worker, and twice with codes.
final class ElasticOwner: OwnerRule {
  private(set) var version = 0
  let shard: OwnedShard
  private let alpha: Float
  private let isTogether: Bool
  /// What has come from each worker, and then its Δ.
  private let moves: [FloatBuffer]
  /// What the owner knows of each x; empty with floats.
  private let known: [FloatBuffer]
  /// Of pushes that are taken together: who has pushed, and how many are answered.
  private var round: (workers: [Int], answers: Int) = ([], 0)

  init(_ shard: OwnedShard, alpha: Float, together: Bool) {
    (self.shard, self.alpha, isTogether) = (shard, alpha, together)
    moves = shard.buffers()
    known = shard.forms.codes.codec.isIdentity ? [] : shard.buffers()
  }

  func begin() {
    round = ([], 0)
    for copy in known { copy.baseAddress.update(from: shard.values, count: shard.count) }
  }

  func room(for worker: Int) -> UnsafeMutablePointer<Float> { moves[worker].baseAddress }

  func take(_ push: Push) {
    guard push.samples > 0 else { return }
    round.workers.append(push.worker)
    guard !known.isEmpty, !shard.forms.pushesAreFloats else { return }
    add(room(for: push.worker), count: shard.count, to: known[push.worker].baseAddress)
  }

  func flush() {}

  /// Computes Δ, encodes it, and moves the centre, or once all of a round are answered; as a worker may have waited for others, at the
  /// centre as it is now.
  func encodeAnswer(to worker: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    let (centre, move) = (shard.values, room(for: worker))
    let areCodes = !shard.forms.pushesAreFloats
    let x = areCodes ? known[worker].baseAddress : move
    for i in 0..<shard.count { move[i] = alpha * (x[i] - centre[i]) }
    let byteCount = shard.forms.encodeForgetfully(shard.index, move, into: code, context: context)
    if areCodes { subtract(x, move, count: shard.count, into: x) }
    // Those of a round have the same version.
    if !isTogether || round.answers == 0 { version += 1 }
    round.answers += 1
    guard !isTogether || round.answers == round.workers.count else { return byteCount }
    for mover in isTogether ? round.workers.sorted() : [worker] {
      add(room(for: mover), count: shard.count, to: centre)
    }
    round = ([], 0)
    return byteCount
  }

  func forget() {}

  func contribute(to inventory: inout StateInventory) {}
}
