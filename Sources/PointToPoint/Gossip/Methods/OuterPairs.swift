internal import Buffers
internal import Kernels

/// Workers that take steps of their own and meet in random pairs, in which each takes an outer step with momentum: NoLoCo.
///
/// φ_i is the model of worker i after the last round, and never equal across workers. In a round, with means over the pair:
///
///     m_i ← μ·m_i + α·mean(x − φ) + γ·(mean(φ) − φ_i);  φ_i ← φ_i + m_i;  x_i ← φ_i
///
/// Both of a pair compute the means by the same expression of the same values. One that stays alone is a pair with itself. Pairings are
/// doubly stochastic, so that the mean of the φ_i takes DiLoCo's step.
/// Source: Kolehmainen et al. 2025; frontier F1.7.
/// - Cost: in a round two models to one other worker, in other steps nothing.
final class OuterPairs: GossipRule {
  let models: WorkerVectors
  let messageByteCount: Int
  private let slow: WorkerVectors
  private let momentum: WorkerVectors
  private let workers: RankWorkers
  private let routes: GossipRoutes
  private let step: OuterPairStep
  private let count: Int

  init(_ workers: RankWorkers, count: Int, routes: GossipRoutes, step: OuterPairStep) {
    (self.workers, self.count, self.routes, self.step) = (workers, count, routes, step)
    models = WorkerVectors(localCount: workers.localCount, count: count)
    slow = WorkerVectors(localCount: workers.localCount, count: count)
    momentum = WorkerVectors(localCount: workers.localCount, count: count)
    messageByteCount = 8 * count
  }

  var state: [GossipState] {
    [
      GossipState(name: "models", buffer: models.all, count: count),
      GossipState(name: "slowModels", buffer: slow.all, count: count),
      GossipState(name: "outerMomenta", buffer: momentum.all, count: count),
    ]
  }

  func start(from model: FloatBuffer) {
    models.fill(with: model)
    slow.fill(with: model)
    momentum.all.clear()
  }

  func write(_ local: Int, step: Int, into message: UnsafeMutableRawPointer) -> Int {
    let slow = slow[local].baseAddress
    message.copyMemory(from: slow, byteCount: 4 * count)
    let change = (message + 4 * count).assumingMemoryBound(to: Float.self)
    subtract(models[local].baseAddress, slow, count: count, into: change)
    return messageByteCount
  }

  func combine(_ local: Int, step number: Int, senders: [Int], message: (Int) -> UnsafeRawPointer) {
    // One worker alone in the run descends plainly.
    guard routes.count > 1, routes.exchanges(in: number) else { return }
    let (model, slow, momentum) = (models[local].baseAddress, slow[local].baseAddress, momentum[local].baseAddress)
    let other = senders.first.map { message($0).assumingMemoryBound(to: Float.self) }
    let (rate, kept, pull) = (step.rate, step.momentum, step.gamma)
    for index in 0..<count {
      let (change, base) = (model[index] - slow[index], slow[index])
      let meanChange = other.map { 0.5 * (change + $0[count + index]) } ?? change
      let meanBase = other.map { 0.5 * (base + $0[index]) } ?? base
      momentum[index] = kept * momentum[index] + rate * meanChange + pull * (meanBase - base)
      slow[index] = base + momentum[index]
      model[index] = slow[index]
    }
  }
}

/// The outer step of workers that meet in random pairs.
package struct OuterPairStep: Hashable, Sendable {
  /// α, how far a worker follows the mean change of a pair.
  package var rate: Float
  /// μ, what is kept of the momentum.
  package var momentum: Float
  /// γ, how far it goes to the mean model of the pair.
  package var gamma: Float

  package init(rate: Float = 0.7, momentum: Float = 0.5, gamma: Float = 0.7) {
    (self.rate, self.momentum, self.gamma) = (rate, momentum, gamma)
  }

  /// What a round of `count` workers leaves, in the long run and in expectation, of E Σ‖φ_i − φ̄‖²; above 1 workers move apart.
  ///
  /// With δ the distances from the mean, m the momenta's and Q the projection onto the differences in pairs, m′ = μm − γQδ and δ′ = δ + m′.
  /// E Q = q on what has no mean, q = K/(2(K−1)) for an even number of workers and 1/2 for an odd one, so that E‖δ‖², E⟨δ,m⟩ and E‖m‖²
  /// follow a linear recursion, whose growth this is.
  package func contraction(of count: Int) -> Double {
    guard count > 1 else { return 0 }
    let q = count % 2 == 0 ? Double(count) / Double(2 * (count - 1)) : 0.5
    let (mu, gamma) = (Double(momentum), Double(gamma))
    var (a, b, c, growth) = (1.0, 0.0, 0.0, 1.0)
    let (settling, rounds) = (500, 2000)
    for round in 0..<settling + rounds {
      let newC = mu * mu * c - 2 * mu * gamma * q * b + gamma * gamma * q * a
      let product = mu * b - gamma * q * a
      (a, b, c) = (a + 2 * product + newC, product + newC, newC)
      let size = abs(a) + abs(b) + abs(c)
      guard size > 1e-300 else { return 0 }
      if round >= settling { growth *= power(size, 1 / Double(rounds)) }
      (a, b, c) = (a / size, b / size, c / size)
    }
    return growth
  }
}
