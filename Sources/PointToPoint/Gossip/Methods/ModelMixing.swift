internal import Buffers

/// Every worker's model becomes the weighted mean of its own and its neighbours': x_i ← Σ_j w_ij x_j.
///
/// Weights are exact fractions, and terms are added in the order of the workers' numbers: equal models stay as they are, and Σx_i changes
/// by half an ulp of each value at most.
/// Source: Lian et al. 2017 (D-PSGD); algorithms §10.2.
/// - Cost: a model to each neighbour in every step.
final class ModelMixing: GossipRule {
  let models: WorkerVectors
  let messageByteCount: Int
  private let workers: RankWorkers
  private let matrix: MixingMatrix
  private let count: Int

  init(_ workers: RankWorkers, count: Int, matrix: MixingMatrix) {
    (self.workers, self.count, self.matrix) = (workers, count, matrix)
    models = WorkerVectors(localCount: workers.localCount, count: count)
    messageByteCount = 4 * count
  }

  var state: [GossipState] { [GossipState(name: "models", buffer: models.all, count: count)] }

  func start(from model: FloatBuffer) { models.fill(with: model) }

  func write(_ local: Int, step: Int, into message: UnsafeMutableRawPointer) -> Int {
    message.copyMemory(from: models[local].baseAddress, byteCount: messageByteCount)
    return messageByteCount
  }

  func combine(_ local: Int, step: Int, senders: [Int], message: (Int) -> UnsafeRawPointer) {
    guard !senders.isEmpty else { return }
    let (own, model) = (workers.id(local), models[local])
    let terms = (senders + [own]).sorted().map { worker in
      WeightedTerm(
        weight: Double(matrix.numerators[own][worker]),
        values: worker == own ? UnsafePointer(model.baseAddress) : message(worker).assumingMemoryBound(to: Float.self))
    }
    mix(terms, divisor: Double(matrix.denominator), count: count, into: model.baseAddress)
  }
}
