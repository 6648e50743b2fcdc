import Buffers
import Codecs
import Testing

/// What the owners of shards remember, and with which hash functions: against arithmetic of 128 bits and plain sums in fp64.
@Suite struct ShardMemoryTests {
  /// The message of a shard's values.
  private func message(_ values: [Float], of shard: Int, _ code: SketchCode) -> [Float] {
    let message = FloatBuffer(count: code.messageCount(of: shard))
    values.withUnsafeBufferPointer { code.encode($0.baseAddress!, of: shard, into: message.baseAddress) }
    return (0..<message.count).map { message[$0] }
  }

  /// The number of a shard is part of the address of its coefficients (algorithms §2.6).
  @Test(arguments: SketchHashes.Family.allCases) func everyShardHasFunctionsOfItsOwn(_ family: SketchHashes.Family) throws {
    // Five shards of as many values and columns, so that nothing but the functions differs.
    let shards = ShardMap(count: 5 * 4096, shardCount: 5)
    let seed: UInt64 = 0x1234_5678_9ABC_DEF0
    let code = try SketchCode(family, rows: 3, columns: 5 * 300, shards: shards, seed: seed, specification: "")
    let values = Gradients.integers.values(4096)
    var messages: Set<[Float]> = []
    for shard in 0..<5 {
      #expect(code.messageCount(of: shard) == 3 * 300)
      let found = message(values, of: shard, code)
      #expect(found == ReferenceHashes(family, rows: 3, columns: 300, seed: seed, shard: shard).table(values), "shard \(shard)")
      messages.insert(found)
    }
    #expect(messages.count == 5)
  }

  /// A memory of a shard that is a sketch, or the values themselves, and the code of its messages.
  private func memory(isSketch: Bool) throws -> (ShardMemory, SketchCode) {
    let code = try SketchCode(
      .block, rows: 3, columns: isSketch ? 256 : 2000, shards: ShardMap(count: 2000, shardCount: 1), seed: 3, specification: "")
    #expect((code.hashes[0] != nil) == isSketch)
    return (ShardMemory(code, shard: 0, in: FloatBuffer(count: ShardMemory.floatCount(code, shard: 0)), at: 0), code)
  }

  /// What fp32 would round away is there when the large part is gone, whichever way it came in.
  @Test(arguments: [true, false]) func sumsAreKeptInDoublePrecision(isSketch: Bool) throws {
    let (large, small) = (Float(1 << 24), Float(1))
    for way in 0..<4 {
      let (memory, code) = try memory(isSketch: isSketch)
      let (other, _) = try self.memory(isSketch: isSketch)
      func add(_ value: Float, at place: Int = 7) {
        var values = [Float](repeating: 0, count: 2000)
        values[place] = value
        memory.add(message(values, of: 0, code))
      }
      add(large)
      switch way {
      case 0: add(small)
      case 1:
        other.add(message((0..<2000).map { $0 == 7 ? small : 0 }, of: 0, code))
        memory.add(other, times: 1)
      case 2: memory.subtract(SparseVector(indices: [7], values: [-small]))
      default:
        // 3 · (2²⁴ + 1) needs 26 digits.
        add(small)
        memory.multiply(by: 3)
        for value in [2 * large, large, 2] { memory.subtract(SparseVector(indices: [7], values: [value])) }
      }
      if way < 3 { add(-large) }
      #expect(memory.estimates(at: [7]).values == [small], "way \(way)")
      #expect(memory.largest(1) == SparseVector(indices: [7], values: [small]), "way \(way)")
    }
  }

  /// Sums, multiples and norms against the table of a reference in fp64.
  @Test func everythingThatIsRememberedIsLinear() throws {
    let shards = ShardMap(count: 5000, shardCount: 1)
    let code = try SketchCode(.mersenne61, rows: 3, columns: 401, shards: shards, seed: 11, specification: "")
    let reference = ReferenceHashes(.mersenne61, rows: 3, columns: 401, seed: 11)
    let (x, y) = (Gradients.integers.values(5000), Gradients.integers.values(5000, seed: 2))
    let room = FloatBuffer(count: 2 * ShardMemory.floatCount(code, shard: 0))
    let memory = ShardMemory(code, shard: 0, in: room, at: 0)
    let other = ShardMemory(code, shard: 0, in: room, at: ShardMemory.floatCount(code, shard: 0))
    memory.add(message(x, of: 0, code))
    memory.multiply(by: 0.9)
    other.add(message(y, of: 0, code))
    memory.add(other, times: 0.3)
    let (tableX, tableY) = (reference.table(x), reference.table(y))
    var table = zip(tableX, tableY).map { 0.9 * Double($0) + 0.3 * Double($1) }
    memory.subtract(SparseVector(indices: [40, 4000], values: [2.5, -7]))
    for j in 0..<3 {
      for (i, value) in [(40, 2.5), (4000, -7.0)] {
        table[j * 401 + reference.cell(i, row: j)] -= Double(reference.sign(i, row: j)) * value
      }
    }
    memory.clear(at: SparseVector(indices: [77], values: [123]))
    for j in 0..<3 { table[j * 401 + reference.cell(77, row: j)] = 0 }
    for i in stride(from: 0, to: 5000, by: 13) {
      let terms = (0..<3).map { Double(reference.sign(i, row: $0)) * table[$0 * 401 + reference.cell(i, row: $0)] }
      let found = Double(memory.estimates(at: [UInt32(i)]).values[0])
      #expect(abs(found - terms.sorted()[1]) <= 1e-6 * abs(found) + 1e-9, "value \(i)")
    }
    let energies = (0..<3).map { j in table[j * 401..<(j + 1) * 401].reduce(0) { $0 + $1 * $1 } }.sorted()
    #expect(abs(memory.squaredNorm / energies[1] - 1) < 1e-12)
    memory.clear()
    #expect(memory.squaredNorm == 0 && memory.largest(5).count == 0)
  }
}
