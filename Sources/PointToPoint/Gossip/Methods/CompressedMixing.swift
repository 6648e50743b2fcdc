internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI

/// Workers mix public copies of their models, which all who hold them change by the same codes: CHOCO-SGD.
///
///     q_i = 𝒞(x_i − x̂_i), sent to the neighbours;  x̂_j ← x̂_j + q_j wherever it is held;  x_i ← x_i + γ·Σ_j w_ij (x̂_j − x̂_i)
///
/// x_i − x̂_i is the memory of what codes could not carry: there is no other. Copies begin at the common start. Every difference is
/// taken of the same bits in both directions, so that Σx_i is changed by the rounding of the x_i alone, whatever the code loses.
///
/// A group whose values are not finite is sent as zeros.
/// Source: Koloskova, Stich and Jaggi 2019; algorithms §10.3, in the order that is analysed there.
/// - Cost: a code of the model to each neighbour in every step. A rank holds a model, its copy, and a copy for each of its neighbours.
final class CompressedMixing: GossipRule {
  let models: WorkerVectors
  private let workers: RankWorkers
  private let matrix: MixingMatrix
  private let gamma: Double
  private let seed: UInt64
  private let codes: ShardCodes
  private let coder: GroupCoder
  private let known: WorkerVectors
  /// The public copies of workers of other ranks.
  private let copies: [Int: FloatBuffer]
  private let scratch: FloatBuffer

  /// - Parameters:
  ///   - workers: Those of this rank.
  ///   - layout: That of a model.
  ///   - matrix: The weights.
  ///   - codec: The code of a difference.
  ///   - gamma: γ, the share of the way to the mean of the copies.
  ///   - seed: The seed of random codes.
  init(_ workers: RankWorkers, layout: TensorLayout, matrix: MixingMatrix, codec: any Codec, gamma: Double, seed: UInt64) {
    (self.workers, self.matrix, self.gamma, self.seed) = (workers, matrix, gamma, seed)
    let count = layout.count
    codes = ShardCodes(layout, codec: codec, shardCount: 1)
    coder = GroupCoder(codec, count: count)
    models = WorkerVectors(localCount: workers.localCount, count: count)
    known = WorkerVectors(localCount: workers.localCount, count: count)
    let neighbours = (0..<workers.localCount).flatMap { local in
      matrix.numerators[workers.id(local)].indices.filter { matrix.numerators[workers.id(local)][$0] > 0 }
    }
    let remote = Set(neighbours.filter { !workers.isLocal($0) })
    copies = Dictionary(uniqueKeysWithValues: remote.map { ($0, FloatBuffer(count: count)) })
    scratch = FloatBuffer(count: count)
  }

  var messageByteCount: Int { codes.byteCount(of: 0) }
  var hasVaryingLength: Bool { codes.codec.hasVaryingLength }
  var nonFiniteGroups: Int { coder.nonFiniteGroups }

  private var count: Int { scratch.count }

  var state: [GossipState] {
    [
      GossipState(name: "models", buffer: models.all, count: count),
      GossipState(name: "publicCopies", buffer: known.all, count: count),
    ]
  }

  /// The public copy of a worker that this rank knows.
  private func copy(of worker: Int) -> FloatBuffer {
    workers.isLocal(worker) ? known[workers.local(worker)] : copies[worker]!
  }

  func start(from model: FloatBuffer) {
    models.fill(with: model)
    known.fill(with: model)
    for copy in copies.values { copy.copy(from: model) }
  }

  func write(_ local: Int, step: Int, into message: UnsafeMutableRawPointer) -> Int {
    let difference = scratch.baseAddress
    subtract(models[local].baseAddress, known[local].baseAddress, count: count, into: difference)
    coder.clear()
    let context = EncodingContext(seed: seed, step: step, stream: CodeStreams().contributions(of: workers.id(local)))
    let byteCount = codes.encode(0, difference, by: coder, at: 0, into: message, context: context)
    take(message, from: workers.id(local))
    return byteCount
  }

  func take(_ message: UnsafeRawPointer, from worker: Int) {
    codes.decode(0, message, by: coder, setting: scratch.baseAddress)
    add(scratch.baseAddress, count: count, to: copy(of: worker).baseAddress)
  }

  func combine(_ local: Int, step: Int, senders: [Int], message: (Int) -> UnsafeRawPointer) {
    guard !senders.isEmpty else { return }
    let own = workers.id(local)
    let terms = senders.map {
      WeightedTerm(weight: Double(matrix.numerators[own][$0]), values: UnsafePointer(copy(of: $0).baseAddress))
    }
    let (model, known) = (models[local].baseAddress, known[local].baseAddress)
    let factor = gamma / Double(matrix.denominator)
    addUp(terms, count: count) { values, weight, index in
      weight * (Double(values[index]) - Double(known[index]))
    } set: { index, sum in
      model[index] = Float(Double(model[index]) + factor * sum)
    }
  }

  func share(over world: Communicator) throws {
    for worker in 0..<matrix.count {
      let isKnown = workers.isLocal(worker) || copies[worker] != nil
      try world.broadcast((isKnown ? copy(of: worker) : scratch).values, root: workers.rank(of: worker))
    }
  }
}
