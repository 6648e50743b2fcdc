public import Buffers

/// What the owner of a shard remembers of past sums: a sketch, or the values themselves where no sketch would be smaller; in fp64.
///
/// Source: algorithms §2.3, S_u and S_e.
public final class ShardMemory {
  private let hashes: SketchHashes?
  private let count: Int
  private let cells: UnsafeMutableBufferPointer<Double>
  private let sketch: CountSketch<Double>?
  /// The sketch rounded to fp32, of which estimates are asked.
  private let rounded: CountSketch<Float>?
  private let memory: FloatBuffer

  /// The floats of memory that a shard takes: two for each float of a message.
  public static func floatCount(_ code: SketchCode, shard: Int) -> Int { 2 * code.messageCount(of: shard) }

  /// The memory of a shard, at the floats from `start` on of `memory`, which the caller saves; zero where that is.
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

  /// Multiplies everything with `factor`.
  public func multiply(by factor: Double) { for index in cells.indices { cells[index] *= factor } }

  /// Adds a message of the shard's code.
  public func add(_ message: UnsafePointer<Float>) { for index in cells.indices { cells[index] += Double(message[index]) } }

  /// Adds `factor` times what another memory of the shard holds.
  public func add(_ other: ShardMemory, times factor: Double) {
    for index in cells.indices { cells[index] += factor * other.cells[index] }
  }

  /// Forgets everything.
  public func clear() { cells.update(repeating: 0) }

  /// An estimate of the squared norm of the values.
  public var squaredNorm: Double { sketch?.squaredNorm() ?? cells.reduce(0) { $0 + $1 * $1 } }

  /// The `k` values of the largest magnitude, as estimated; fewer where there are not as many that are not zero.
  public func largest(_ k: Int) -> SparseVector {
    guard let sketch, let rounded else { return withFloats { largestMagnitudes($0, count: count, k: k) } }
    rounded.round(from: sketch)
    return rounded.largestEstimates(k, of: count)
  }

  /// Candidates for the `k` largest values: heavy ones, and others drawn at random (``CountSketch/heavyMix(_:of:seed:step:bucket:shard:)``).
  public func heavyMix(_ k: Int, seed: UInt64, step: Int, shard: Int) -> [UInt32] {
    guard let sketch, let rounded else { return withFloats { largestMagnitudes($0, count: count, k: k).indices } }
    rounded.round(from: sketch)
    return rounded.heavyMix(k, of: count, seed: seed, step: step, shard: shard)
  }

  /// What is estimated at some indices.
  public func estimates(at indices: [UInt32]) -> SparseVector {
    SparseVector(
      indices: indices, values: indices.map { Float(sketch?.estimate(at: Int($0)) ?? cells[Int($0)]) })
  }

  /// Takes values away: those of a vector.
  public func subtract(_ vector: SparseVector) {
    for (index, value) in zip(vector.indices, vector.values) {
      if let sketch { sketch.insert(-Double(value), at: Int(index)) } else { cells[Int(index)] -= Double(value) }
    }
  }

  /// Sets every cell that an index of `vector` goes to to zero.
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
