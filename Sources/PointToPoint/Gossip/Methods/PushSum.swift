internal import Buffers
internal import MPI

/// Every worker splits its model, and a weight that begins at 1, equally among itself and those it sends to, and adds what it receives:
/// stochastic gradient push.
///
///     x_i ← Σ_j p_ij x_j,  ω_i ← Σ_j p_ij ω_j,  with p_ij = 1/(1 + targets of j);  z_i = x_i/ω_i
///
/// Some receive more than others; z_i, at which gradients are computed, is freed of that. Σx_i and Σω_i = K stay, but for the rounding
/// of each x_i and ω_i. A sender's share is taken by who receives it, of the whole model, so that nothing is rounded twice.
/// Source: Assran et al. 2019 (SGP); algorithms §10.5.
/// - Cost: a model and 4 bytes to each target in every step.
final class PushSum: GossipRule {
  /// The x_i.
  let models: WorkerVectors
  /// The z_i.
  let shown: WorkerVectors
  let messageByteCount: Int
  private let weights: FloatBuffer
  private let workers: RankWorkers
  private let routes: GossipRoutes
  private let count: Int

  init(_ workers: RankWorkers, count: Int, routes: GossipRoutes) {
    (self.workers, self.count, self.routes) = (workers, count, routes)
    models = WorkerVectors(localCount: workers.localCount, count: count)
    shown = WorkerVectors(localCount: workers.localCount, count: count)
    weights = FloatBuffer(count: workers.localCount)
    messageByteCount = 4 * count + 4
  }

  var state: [GossipState] {
    [
      GossipState(name: "models", buffer: models.all, count: count),
      GossipState(name: "pushWeights", buffer: weights, count: 1),
    ]
  }

  func start(from model: FloatBuffer) {
    models.fill(with: model)
    for local in 0..<workers.localCount {
      weights[local] = 1
      settle(local)
    }
  }

  func write(_ local: Int, step: Int, into message: UnsafeMutableRawPointer) -> Int {
    message.storeBytes(of: weights[local], as: Float.self)
    (message + 4).copyMemory(from: models[local].baseAddress, byteCount: 4 * count)
    return messageByteCount
  }

  func combine(_ local: Int, step: Int, senders: [Int], message: (Int) -> UnsafeRawPointer) {
    let (own, receivers, model) = (workers.id(local), routes.receivers(in: step), models[local])
    guard !senders.isEmpty || !receivers[own].isEmpty else { return }
    var weight = 0.0
    let terms = (senders + [own]).sorted().map { worker in
      let share = 1 / Double(1 + receivers[worker].count)
      guard worker != own else {
        weight += share * Double(weights[local])
        return WeightedTerm(weight: share, values: UnsafePointer(model.baseAddress))
      }
      let message = message(worker)
      weight += share * Double(message.load(as: Float.self))
      return WeightedTerm(weight: share, values: (message + 4).assumingMemoryBound(to: Float.self))
    }
    mix(terms, count: count, into: model.baseAddress)
    weights[local] = Float(weight)
  }

  func settle(_ local: Int) {
    let (model, shown, weight) = (models[local].baseAddress, shown[local].baseAddress, weights[local])
    for index in 0..<count { shown[index] = model[index] / weight }
  }

  func share(over world: Communicator) throws { for local in 0..<workers.localCount { settle(local) } }
}
