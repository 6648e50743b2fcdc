public import Buffers

/// Past sums kept by the owner of a shard, in fp64: a sketch, or the values themselves if no sketch would be smaller.
///
/// Source: algorithms §2.3, S_u and S_e.
public final class ShardMemory {
  private let hashes: SketchHashes?
  private let count: Int
  private let cells: UnsafeMutableBufferPointer<Double>
  private let sketch: CountSketch<Double>?
  /// The sketch rounded to fp32, from which estimates are read.
  private let rounded: CountSketch<Float>?
  private let memory: FloatBuffer

  /// The number of floats of memory for a shard: two for each float of a message.
  public static func floatCount(_ code: SketchCode, shard: Int) -> Int { 2 * code.messageCount(of: shard) }

  /// The same with the sketch rounded to fp32, if there is one, which lies elsewhere.
  public static func mostFloats(_ code: SketchCode, shard: Int) -> Int {
    (code.hashes[shard] == nil ? 2 : 3) * code.messageCount(of: shard)
  }

  /// Creates the memory of a shard in the floats of `memory` from `start` on, which the caller saves; zero if these are zero.
  public init(_ code: SketchCode, shard: Int, in memory: FloatBuffer, at start: Int) {
    (hashes, self.memory) = (code.hashes[shard], memory)
    count = code.shards.count(of: shard)
    let base = UnsafeMutableRawPointer(memory.baseAddress + start)
    cells = UnsafeMutableBufferPointer(
      start: base.assumingMemoryBound(to: Double.self), count: code.messageCount(of: shard))
    sketch = hashes.map {
      CountSketch($0, in: ByteBuffer(sharing: base, count: CountSketch<Double>.byteCount($0), owner: memory))
    }
    rounded = hashes.map { CountSketch($0) }
  }

  /// Multiplies everything by `factor`.
  public func multiply(by factor: Double) { for index in cells.indices { cells[index] *= factor } }

  /// Adds a message of the shard's code.
  public func add(_ message: UnsafePointer<Float>) { for index in cells.indices { cells[index] += Double(message[index]) } }

  /// Adds `factor` times the contents of another memory of the shard.
  public func add(_ other: ShardMemory, times factor: Double) {
    for index in cells.indices { cells[index] += factor * other.cells[index] }
  }

  /// Sets everything to zero.
  public func clear() { cells.update(repeating: 0) }

  /// An estimate of the squared norm of the values.
  public var squaredNorm: Double { sketch?.squaredNorm() ?? cells.reduce(0) { $0 + $1 * $1 } }

  /// The `k` values of largest estimated magnitude, or fewer if fewer are nonzero.
  public func largest(_ k: Int) -> SparseVector {
    guard let sketch, let rounded else { return withFloats { largestMagnitudes($0, count: count, k: k) } }
    rounded.round(from: sketch)
    return rounded.largestEstimates(k, of: count)
  }

  /// Candidates for the `k` largest values: heavy ones, and others drawn at random.
  ///
  /// See ``CountSketch/heavyMix(_:of:seed:step:bucket:shard:)``.
  public func heavyMix(_ k: Int, seed: UInt64, step: Int, shard: Int) -> [UInt32] {
    guard let sketch, let rounded else { return withFloats { largestMagnitudes($0, count: count, k: k).indices } }
    rounded.round(from: sketch)
    return rounded.heavyMix(k, of: count, seed: seed, step: step, shard: shard)
  }

  /// The estimates at the given indices.
  public func estimates(at indices: [UInt32]) -> SparseVector {
    SparseVector(
      indices: indices, values: indices.map { Float(sketch?.estimate(at: Int($0)) ?? cells[Int($0)]) })
  }

  /// Subtracts the values of a vector.
  public func subtract(_ vector: SparseVector) {
    for (index, value) in zip(vector.indices, vector.values) {
      if let sketch { sketch.insert(-Double(value), at: Int(index)) } else { cells[Int(index)] -= Double(value) }
    }
  }

  /// Sets every cell to zero that an index of `vector` hashes to.
  public func clear(at vector: SparseVector) {
    for index in vector.indices { if let sketch { sketch.clear(at: Int(index)) } else { cells[Int(index)] = 0 } }
  }

  private func withFloats<Result>(_ body: (UnsafePointer<Float>) -> Result) -> Result {
    cells.map { Float($0) }.withUnsafeBufferPointer { values in
      // An empty array has no address.
      values.baseAddress.map(body) ?? withUnsafeTemporaryAllocation(of: Float.self, capacity: 1) { body($0.baseAddress!) }
    }
  }
}
