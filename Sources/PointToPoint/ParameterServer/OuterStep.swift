internal import Buffers
internal import Codecs

/// How owners apply what the own steps of a worker have changed, its pseudo-gradient Ψ.
///
/// Each arrival is applied at once with a weight p, w ← w − αpΨ; with momentum every K-th also moves v ← μv + ΣpΨ over the last K, and
/// w ← w − αμv: Nesterov's momentum, delayed until all have contributed on average, because momentum on each stale Ψ is what hurts.
/// Source: frontier F1.4; Liu et al. 2024, "Asynchronous local-SGD training for language modeling".
public struct OuterStep: Hashable, Sendable {
  /// The weight p of a Ψ that is τ pushes old, of one of K workers.
  public enum Weight: String, CaseIterable, Hashable, Sendable {
    /// 1/√(K(1 + τ)).
    case stale
    /// 1/√K.
    case root
    /// 1/K.
    case mean
    /// 1.
    case one

    /// p.
    public func value(staleness: Int, workerCount: Int) -> Float {
      switch self {
      case .stale: Float(1 / Double(workerCount * (1 + staleness)).squareRoot())
      case .root: Float(1 / Double(workerCount).squareRoot())
      case .mean: 1 / Float(workerCount)
      case .one: 1
      }
    }
  }

  /// α.
  public var rate: Float
  /// μ.
  public var momentum: Float
  /// How p is found.
  public var weight: Weight

  /// An outer step.
  public init(rate: Float, momentum: Float, weight: Weight) {
    (self.rate, self.momentum, self.weight) = (rate, momentum, weight)
  }
}

/// An owner that applies the pseudo-gradients of workers by an outer step.
///
/// - Memory: the shard for each worker, once more, and twice with momentum.
final class LocalStepsOwner: OwnerRule {
  private(set) var version = 0
  let shard: OwnedShard
  private let outer: OuterStep
  private let held: HeldShards
  /// Ψ.
  private let change: FloatBuffer
  /// v, and ΣpΨ since it last moved; empty without momentum.
  private let velocity: FloatBuffer
  private let sum: FloatBuffer
  /// The pushes since v last moved, those without a change among them.
  private var arrivals = 0

  init(_ shard: OwnedShard, _ outer: OuterStep) {
    (self.shard, self.outer) = (shard, outer)
    held = HeldShards(shard)
    change = FloatBuffer(count: shard.count)
    velocity = FloatBuffer(count: outer.momentum == 0 ? 0 : shard.count)
    sum = FloatBuffer(count: velocity.count)
  }

  func begin() { held.begin() }

  func room(for worker: Int) -> UnsafeMutablePointer<Float> { change.baseAddress }

  func take(_ push: Push) {
    let (w, change) = (shard.values, change.baseAddress)
    if push.samples > 0 {
      let p = outer.weight.value(staleness: push.staleness, workerCount: shard.workerCount)
      let length = outer.rate * p
      for i in 0..<shard.count { w[i] -= length * change[i] }
      for i in 0..<sum.count { sum.baseAddress[i] += p * change[i] }
      version += 1
    }
    arrivals += 1
    if arrivals == shard.workerCount { move() }
  }

  /// Moves the momentum, and the shard by it.
  private func move() {
    arrivals = 0
    guard velocity.count > 0 else { return }
    let (w, v, sum) = (shard.values, velocity.baseAddress, sum.baseAddress)
    let length = outer.rate * outer.momentum
    for i in 0..<shard.count {
      v[i] = outer.momentum * v[i] + sum[i]
      w[i] -= length * v[i]
    }
    self.sum.clear()
  }

  /// A meeting before all have pushed, because a stop was requested, moves the momentum, too.
  func flush() { if arrivals > 0 { move() } }

  func encodeAnswer(to worker: Int, into code: UnsafeMutableRawPointer, context: EncodingContext) -> Int {
    held.encodePull(by: worker, into: code, context: context)
  }

  func forget() {
    velocity.clear()
    sum.clear()
  }

  func contribute(to inventory: inout StateInventory) {
    guard velocity.count > 0 else { return }
    inventory.tensors.append(SavedTensor("outerMomentum", .owned([shard.elements]), of: velocity))
  }
}
