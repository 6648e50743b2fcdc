package import Buffers
internal import MPI

/// What a worker sends to others in a step, and what it makes of what others send: the arithmetic of a method.
///
/// In a step, all workers of a rank write before any of them combines.
protocol GossipRule: AnyObject {
  /// The bytes of a message; the most that it can have if `hasVaryingLength`.
  var messageByteCount: Int { get }
  /// Whether messages may be shorter.
  var hasVaryingLength: Bool { get }
  /// By worker of this rank, the model that updates change; their mean represents the run.
  var models: WorkerVectors { get }
  /// By worker of this rank, the model at which gradients are computed.
  var shown: WorkerVectors { get }
  /// What influences the next step.
  var state: [GossipState] { get }
  /// The groups sent as zeros so far, because they were not finite.
  var nonFiniteGroups: Int { get }

  /// Begins with `model` for every worker.
  func start(from model: FloatBuffer)
  /// Writes what a worker of this rank, the `local`-th, sends in step `step`; returns the number of bytes.
  func write(_ local: Int, step: Int, into message: UnsafeMutableRawPointer) -> Int
  /// Takes what a worker of another rank has sent, once in a step.
  func take(_ message: UnsafeRawPointer, from worker: Int)
  /// Makes a worker's new model of what `senders` have sent in step `step`; `message` gives what each has.
  func combine(_ local: Int, step: Int, senders: [Int], message: (Int) -> UnsafeRawPointer)
  /// Completes a step of a worker.
  func settle(_ local: Int)
  /// Learns from other ranks what the saved state does not hold. Collective.
  func share(over world: Communicator) throws
}

extension GossipRule {
  var hasVaryingLength: Bool { false }
  var shown: WorkerVectors { models }
  var nonFiniteGroups: Int { 0 }
  func take(_ message: UnsafeRawPointer, from worker: Int) {}
  func settle(_ local: Int) {}
  func share(over world: Communicator) throws {}
}

/// State of the workers of a rank: one vector for each, in the order of their numbers.
package struct GossipState {
  /// Its name in files.
  package let name: String
  /// The values of all workers of the rank.
  package let buffer: FloatBuffer
  /// The values of a worker.
  package let count: Int
}

/// A vector for each worker of a rank, one after another in memory.
struct WorkerVectors {
  let all: FloatBuffer
  private let each: [FloatBuffer]

  /// Zeros, or what is in `memory`, which may be longer.
  init(localCount: Int, count: Int, in memory: FloatBuffer? = nil) {
    let all = memory ?? FloatBuffer(count: localCount * count)
    self.all = all
    each = (0..<localCount).map { FloatBuffer(sharing: all.baseAddress + $0 * count, count: count, owner: all) }
  }

  subscript(local: Int) -> FloatBuffer { each[local] }

  /// The vectors.
  var list: [FloatBuffer] { each }

  func fill(with model: FloatBuffer) { for vector in each { vector.copy(from: model) } }
}

/// A term of a weighted sum.
struct WeightedTerm {
  let weight: Double
  let values: UnsafePointer<Float>
}

/// Sets `result`, which may be one of the terms, to Σ weight·values/divisor: added in the given order in fp64, and rounded once.
///
/// Whole weights make equal values their own mean.
func mix(_ terms: [WeightedTerm], divisor: Double = 1, count: Int, into result: UnsafeMutablePointer<Float>) {
  addUp(terms, count: count) { values, weight, index in
    weight * Double(values[index])
  } set: { index, sum in
    result[index] = Float(sum / divisor)
  }
}

/// Adds what `product` makes of the terms of each value, in the given order in fp64, and calls `set` with the sums, block by block.
@inline(__always)
func addUp(
  _ terms: [WeightedTerm], count: Int, product: (_ values: UnsafePointer<Float>, _ weight: Double, _ index: Int) -> Double,
  set: (_ index: Int, _ sum: Double) -> Void
) {
  let size = 1024
  withUnsafeTemporaryAllocation(of: Double.self, capacity: size) { sums in
    for start in stride(from: 0, to: count, by: size) {
      let length = min(size, count - start)
      for index in 0..<length { sums[index] = 0 }
      for term in terms {
        let (values, weight) = (term.values, term.weight)
        for index in 0..<length { sums[index] += product(values, weight, start + index) }
      }
      for index in 0..<length { set(start + index, sums[index]) }
    }
  }
}
