import MPI
import Testing
import _TestSupport

extension SerialTests {
  /// Collective operations that go on while the program does.
  @Suite struct StartedTests {
    let world = World.communicator
    var ranks: Range<Int> { 0..<world.count }

    /// A copy of `values` in memory of its own, until `body` is done.
    func withMemory<T: Datatype>(_ values: [T], _ body: (UnsafeMutableBufferPointer<T>) throws -> Void) rethrows -> [T] {
      let memory = UnsafeMutableBufferPointer<T>.allocate(capacity: max(values.count, 1))
      defer { memory.deallocate() }
      let buffer = UnsafeMutableBufferPointer(rebasing: memory[..<values.count])
      _ = buffer.initialize(from: values)
      try body(buffer)
      return Array(buffer)
    }

    @Test func barrierHoldsUntilAllCame() throws {
      var request = try world.startBarrier()
      while try !request.isDone() {}
      try request.wait()
    }

    @Test(arguments: awkwardCounts) func broadcast(count: Int) throws {
      let root = world.count - 1
      let copy = try withMemory((0..<count).map { Float($0 + world.rank) }) { try world.startBroadcast($0, root: root).wait() }
      #expect(copy == (0..<count).map { Float($0 + root) })
    }

    @Test(arguments: awkwardCounts) func allReduce(count: Int) throws {
      let expected = (0..<count).map { index in ranks.reduce(0) { $0 + Double(index + $1) } }
      let values = (0..<count).map { Double($0 + world.rank) }
      #expect(try withMemory(values) { try world.startAllReduce($0, .sum).wait() } == expected)
      #expect(try world.startAllReduce(values, .sum).wait() == expected)
      let custom = Operation<Double>.combining { $0 + $1 }
      #expect(try world.startAllReduce(values, custom).wait() == expected)
    }

    @Test(arguments: awkwardCounts) func allGather(count: Int) throws {
      let gathered = try withMemory([Int32](repeating: -1, count: count * world.count)) { buffer in
        _ = try withMemory((0..<count).map { Int32($0 + world.rank * 1_000) }) {
          try world.startAllGather(UnsafeBufferPointer($0), into: buffer).wait()
        }
      }
      #expect(gathered == ranks.flatMap { rank in (0..<count).map { Int32($0 + rank * 1_000) } })
    }

    @Test(arguments: awkwardCounts) func allGatherVarying(base: Int) throws {
      let counts = ranks.map { ($0 * base) % 4 }
      let ends = counts.indices.map { counts[...$0].reduce(0, +) }
      let ranges = ranks.map { ends[$0] - counts[$0]..<ends[$0] }
      let expected = ranks.flatMap { rank in (0..<counts[rank]).map { UInt8($0 + rank * 10) } }
      let mine = Array(expected[ranges[world.rank]])
      let gathered = try withMemory([UInt8](repeating: 255, count: ends.last!)) { buffer in
        _ = try withMemory(mine) {
          try world.startAllGather(varying: UnsafeBufferPointer($0), into: buffer, ranges: ranges).wait()
        }
      }
      #expect(gathered == expected)
    }

    @Test(arguments: awkwardCounts) func reduceScatter(count: Int) throws {
      let cuts = (0...world.count).map { count * $0 / world.count }
      let ranges = ranks.map { cuts[$0]..<cuts[$0 + 1] }
      let block = try withMemory([Float](repeating: -1, count: ranges[world.rank].count)) { block in
        _ = try withMemory((0..<count).map { Float($0 * (world.rank + 1)) }) {
          try world.startReduceScatter(UnsafeBufferPointer($0), into: block, ranges: ranges, .sum).wait()
        }
      }
      let factor = world.count * (world.count + 1) / 2
      #expect(block == ranges[world.rank].map { Float($0 * factor) })
    }

    @Test(arguments: awkwardCounts) func allToAll(count: Int) throws {
      let sent = ranks.flatMap { destination in (0..<count).map { Int64(world.rank * 100_000 + destination * 1_000 + $0) } }
      let expected = ranks.flatMap { source in (0..<count).map { Int64(source * 100_000 + world.rank * 1_000 + $0) } }
      let ranges = ranks.map { $0 * count..<($0 + 1) * count }
      for isVarying in [false, true] {
        let received = try withMemory(sent.map { _ in Int64(-1) }) { buffer in
          _ = try withMemory(sent) {
            let source = UnsafeBufferPointer($0)
            if isVarying {
              try world.startAllToAll(varying: source, ranges: ranges, into: buffer, ranges: ranges).wait()
            } else {
              try world.startAllToAll(source, into: buffer).wait()
            }
          }
        }
        #expect(received == expected)
      }
    }

    @Test func severalAtATime() throws {
      let first = try world.startAllReduce([Float(world.rank)], .sum)
      let second = try world.startAllReduce([Float(1)], .sum)
      #expect(try second.wait() == [Float(world.count)])
      #expect(try first.wait() == [Float(world.count * (world.count - 1) / 2)])
    }
  }
}
