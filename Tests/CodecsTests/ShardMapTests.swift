import Buffers
import Codecs
import Testing

@Suite struct ShardMapTests {
  @Test(arguments: [0, 1, 1023, 1024, 1025, 5000, 70_000], [1, 2, 3, 64]) func everyValueIsInOneShard(
    _ count: Int, _ shardCount: Int
  ) {
    let shards = ShardMap(count: count, shardCount: shardCount)
    let values = FloatBuffer(count: count)
    for index in 0..<count { values[index] = Float(index) }
    var seen = Array(repeating: false, count: count)
    for shard in 0..<shardCount {
      let size = shards.count(of: shard)
      #expect(shards.ranges(of: shard).reduce(0) { $0 + $1.count } == size)
      let mine = FloatBuffer(count: size)
      shards.gather(shard, from: values.baseAddress, into: mine.baseAddress)
      for index in 0..<size {
        let place = shards.place(of: index, in: shard)
        if seen[place] || mine[index] != Float(place) || place / 1024 % shardCount != shard {
          Issue.record("value \(index) of shard \(shard) is \(place)")
        }
        seen[place] = true
      }
    }
    #expect(!seen.contains(false))
  }

  /// A sketch of every shard, against the sketch of the shard's values by itself; integers add exactly.
  @Test(arguments: [SketchHashes.Family.block, .mersenne61]) func messagesOfSumsAreSumsOfMessages(_ family: SketchHashes.Family)
    throws
  {
    let shards = ShardMap(count: 20_000, shardCount: 3)
    let code = try SketchCode(family, rows: 3, columns: 1500, shards: shards, seed: 7, specification: "")
    #expect((0..<3).reduce(0) { $0 + code.messageCount(of: $1) } == 3 * 1500)
    let random = Philox(seed: 3, purpose: .tests)
    for shard in 0..<3 {
      let count = shards.count(of: shard)
      let vectors = (0..<2).map { vector in (0..<count).map { Float(Int(random.word($0, tensor: vector) % 200) - 100) } }
      let sum = zip(vectors[0], vectors[1]).map { $0 + $1 }
      let messages = (vectors + [sum]).map { vector in
        let message = FloatBuffer(count: code.messageCount(of: shard))
        message.values.update(repeating: .nan)
        code.encode(vector, of: shard, into: message.baseAddress)
        return Array(message.values)
      }
      #expect(zip(messages[0], messages[1]).map { $0 + $1 } == messages[2])
      let hashes = try #require(code.hashes[shard])
      let sketch = CountSketch<Float>(hashes)
      for (index, value) in sum.enumerated() { sketch.insert(value, at: index) }
      #expect(Array(sketch.table) == messages[2])
    }
    #expect(code.hashes[0] != code.hashes[1])
  }

  @Test func whatASketchWouldNotMakeSmallerIsSentAsItIs() throws {
    let code = try SketchCode(
      .mersenne61, rows: 5, columns: 500, shards: ShardMap(count: 2000, shardCount: 2), seed: 1, specification: "")
    #expect(code.hashes == [nil, nil] && code.messageCount(of: 0) == 1024 && code.messageCount(of: 1) == 976)
  }
}
