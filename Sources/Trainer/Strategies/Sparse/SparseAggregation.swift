internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI

/// Finds the few values by which a model changes, from the gradients of all ranks.
protocol SparseAggregation: AnyObject {
  /// With every key, as people write it.
  var specification: String { get }
  /// How the values are dealt to shards.
  var shards: ShardMap { get }
  /// The messages of an exchange.
  var rounds: MessageRounds { get }

  /// Takes this rank's gradient, and tells the change of every shard, the same on every rank; collective.
  ///
  /// - Parameters:
  ///   - gradient: This rank's share of the mean gradient, all finite.
  ///   - step: The step, from 0.
  ///   - rate: The learning rate.
  ///   - update: Called for every shard in order with what is to be subtracted from the parameters.
  func aggregate(
    _ gradient: FloatBuffer, step: Int, rate: Float, update: (_ shard: Int, _ change: SparseVector) -> Void
  ) throws

  /// How far a change may be from what it says of a sum: 0 where it is exact, else a share of the norm of the sum.
  var estimationError: Double { get }
  /// What this rank keeps of its gradients that changes will bring; nil where owners keep it, or nobody.
  var remembered: FloatBuffer? { get }
  /// The squared norm of what this rank remembers of gradients.
  var residualSquares: Double { get }
  /// Adds everything that is remembered to the list of everything.
  func contribute(to inventory: inout StateInventory)
  /// Takes back the counters that it contributed.
  func restore(_ counters: [String: String])
  /// Forgets it.
  func forget()
  /// Gives up what has not arrived.
  func abandon()

  /// What this rank sent and received so far.
  var traffic: Traffic { get }
  /// The traffic of an exchange by the format alone; where lists are as long as what was found, the most that it can be.
  var predictedTraffic: Traffic { get }
  /// Time spent waiting for messages so far.
  var waiting: Duration { get }
}

extension SparseAggregation {
  var estimationError: Double { 0 }
  var remembered: FloatBuffer? { nil }

  func restore(_ counters: [String: String]) {}

  func abandon() { rounds.abandon() }

  var traffic: Traffic { rounds.traffic }
  var predictedTraffic: Traffic { rounds.predictedTraffic }
  var waiting: Duration { rounds.waiting }

  /// Takes this rank's gradient and changes the parameters, the same on every rank; returns the seconds that the change took.
  ///
  /// Collective.
  func descend(_ parameters: FloatBuffer, by gradient: FloatBuffer, step: Int, rate: Float) throws -> Double {
    var seconds = 0.0
    let shards = shards
    try aggregate(gradient, step: step, rate: rate) { shard, update in
      let stopwatch = Stopwatch()
      for (index, value) in zip(update.indices, update.values) {
        unsafe parameters.baseAddress[shards.place(of: Int(index), in: shard)] -= value
      }
      seconds += stopwatch.seconds
    }
    return seconds
  }
}

/// Where ranks, and no owners, remember what was not sent.
protocol RankAggregation: SparseAggregation {
  var memory: RankMemory { get }
}

extension RankAggregation {
  var remembered: FloatBuffer? { memory.values }
  var residualSquares: Double { memory.values.sumOfSquares }

  func contribute(to inventory: inout StateInventory) { memory.contribute(to: &inventory) }

  func forget() { memory.clear() }
}

/// What a rank remembers of its own gradients, as changes of parameters: momentum, and what was not sent.
///
///     u ← ρu + g      v ← v + ηu
///
/// Source: algorithms §2.4, practical form; Lin et al. 2018 for the masking of momentum.
final class RankMemory {
  /// v: what was not sent.
  let values: FloatBuffer
  /// u; empty without momentum.
  private let momenta: FloatBuffer
  private let momentum: Float
  /// Whether momentum is forgotten where something was sent.
  private let masksMomentum: Bool

  init(count: Int, momentum: Double, masksMomentum: Bool) {
    values = FloatBuffer(count: count)
    momenta = FloatBuffer(count: momentum > 0 ? count : 0)
    self.momentum = Float(momentum)
    self.masksMomentum = masksMomentum
  }

  /// Adds a gradient at the learning rate `rate`.
  func add(_ gradient: FloatBuffer, rate: Float) {
    let (v, u, g) = unsafe (values.baseAddress, momenta.baseAddress, gradient.baseAddress)
    if momenta.count == 0 {
      for index in 0..<values.count { unsafe v[index] += rate * g[index] }
    } else {
      for index in 0..<values.count {
        unsafe u[index] = momentum * u[index] + g[index]
        unsafe v[index] += rate * u[index]
      }
    }
  }

  /// Forgets what was sent.
  func clear(at index: Int) {
    values[index] = 0
    if masksMomentum && momenta.count > 0 { momenta[index] = 0 }
  }

  /// Forgets everything that was not sent, momentum apart.
  func clearValues() { values.clear() }

  func clear() {
    values.clear()
    momenta.clear()
  }

  func contribute(to inventory: inout StateInventory) {
    inventory.own.append(SavedTensor("residual", of: values))
    if momenta.count > 0 { inventory.own.append(SavedTensor("residualMomentum", of: momenta)) }
  }
}
