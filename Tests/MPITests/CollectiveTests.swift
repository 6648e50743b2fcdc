import MPI
import Testing
import _TestSupport

/// Counts around nothing, one, and the number of ranks.
let awkwardCounts = [0, 1, 2, 3, 5, 7, 8, 9, 1_000]

extension SerialTests {
  @Suite struct CollectiveTests {
    let world = World.communicator
    var ranks: Range<Int> { 0..<world.count }

    /// What `rank` has for `index`.
    func value(_ rank: Int, _ index: Int) -> Int32 { Int32(rank * 10_000 + index) }
    func values(_ rank: Int, _ count: Int) -> [Int32] { (0..<count).map { value(rank, $0) } }
    /// A count that differs among ranks and is 0 on some.
    func unevenCount(_ rank: Int, _ base: Int) -> Int { (rank * base) % 5 + (rank == 1 ? 0 : base / 3) }

    @Test(arguments: awkwardCounts) func broadcastFromEveryRoot(count: Int) throws {
      for root in ranks {
        var copy = world.rank == root ? values(root, count) : Array(repeating: -1, count: count)
        try world.broadcast(&copy, root: root)
        #expect(copy == values(root, count))
        #expect(try world.broadcast(varying: world.rank == root ? values(root, count) : [], root: root) == values(root, count))
      }
      #expect(try world.broadcast(Double(world.rank + 1) / 3) == 1.0 / 3)
    }

    @Test(arguments: awkwardCounts) func gatherAtEveryRoot(count: Int) throws {
      for root in ranks {
        let flat = try world.gather(values(world.rank, count), root: root)
        let arrays = try world.gather(varying: values(world.rank, unevenCount(world.rank, count)), root: root)
        if world.rank == root {
          #expect(flat == ranks.flatMap { values($0, count) })
          #expect(arrays == ranks.map { values($0, unevenCount($0, count)) })
        } else {
          #expect(flat == nil && arrays == nil)
        }
      }
    }

    @Test(arguments: awkwardCounts) func scatterFromEveryRoot(count: Int) throws {
      for root in ranks {
        let blocks = ranks.flatMap { values($0, count) }
        #expect(try world.scatter(world.rank == root ? blocks : [], root: root) == values(world.rank, count))
        let arrays = ranks.map { values($0, unevenCount($0, count)) }
        let mine = try world.scatter(varying: world.rank == root ? arrays : [], root: root)
        #expect(mine == arrays[world.rank])
      }
    }

    @Test(arguments: awkwardCounts) func allGatherOfAllForms(count: Int) throws {
      let expected = ranks.flatMap { values($0, count) }
      #expect(try world.allGather(values(world.rank, count)) == expected)

      var inPlace = [Int32](repeating: -1, count: count * world.count)
      inPlace.replaceSubrange(world.rank * count..<(world.rank + 1) * count, with: values(world.rank, count))
      try inPlace.withUnsafeMutableBufferPointer { try world.allGather(inPlace: $0) }
      #expect(inPlace == expected)

      let arrays = try world.allGather(varying: values(world.rank, unevenCount(world.rank, count)))
      #expect(arrays == ranks.map { values($0, unevenCount($0, count)) })
    }

    @Test(arguments: awkwardCounts) func allGatherLeavesGaps(count: Int) throws {
      // Blocks in reverse order with a gap between them.
      var ranges: [Range<Int>] = []
      for rank in ranks {
        let behind = (rank + 1..<world.count).reduce(0) { $0 + unevenCount($1, count) + 1 }
        ranges.append(behind..<behind + unevenCount(rank, count))
      }
      let total = ranges[0].upperBound + 1
      for isInPlace in [false, true] {
        var buffer = [Int32](repeating: -7, count: total)
        let block = values(world.rank, ranges[world.rank].count)
        if isInPlace { buffer.replaceSubrange(ranges[world.rank], with: block) }
        try block.withUnsafeBufferPointer { block in
          try buffer.withUnsafeMutableBufferPointer {
            try world.allGather(varying: isInPlace ? nil : block, into: $0, ranges: ranges)
          }
        }
        var expected = [Int32](repeating: -7, count: total)
        for rank in ranks { expected.replaceSubrange(ranges[rank], with: values(rank, ranges[rank].count)) }
        #expect(buffer == expected)
      }
    }

    @Test(arguments: awkwardCounts) func allToAllOfAllForms(count: Int) throws {
      // Rank r sends to rank s values that name both.
      func block(_ source: Int, _ destination: Int, _ count: Int) -> [Int32] { values(source * 10 + destination, count) }
      let sent = ranks.flatMap { block(world.rank, $0, count) }
      #expect(try world.allToAll(sent) == ranks.flatMap { block($0, world.rank, count) })

      func uneven(_ source: Int, _ destination: Int) -> Int { unevenCount(source + 2 * destination, count) }
      let arrays = ranks.map { block(world.rank, $0, uneven(world.rank, $0)) }
      #expect(try world.allToAll(varying: arrays) == ranks.map { block($0, world.rank, uneven($0, world.rank)) })
    }

    /// Ranges need not begin at 0, also of a group of one rank.
    @Test func allToAllOfRanges() throws {
      for group in [world, try world.split(color: world.rank)!] {
        let source = (0..<4 * group.count + 2).map { Int32(100 * group.rank + $0) }
        for isStarted in [false, true] {
          var buffer = [Int32](repeating: -7, count: 4 * group.count + 3)
          try source.withUnsafeBufferPointer { source in
            try buffer.withUnsafeMutableBufferPointer { buffer in
              let (sent, received) = (
                (0..<group.count).map { 4 * $0 + 2..<4 * $0 + 5 }, (0..<group.count).map { 4 * $0 + 3..<4 * $0 + 6 }
              )
              if isStarted {
                try group.startAllToAll(varying: source, ranges: sent, into: buffer, ranges: received).wait()
              } else {
                try group.allToAll(varying: source, ranges: sent, into: buffer, ranges: received)
              }
            }
          }
          for rank in 0..<group.count {
            let values = (0..<3).map { Int32(100 * rank + 4 * group.rank + 2 + $0) }
            #expect(Array(buffer[4 * rank + 3..<4 * rank + 6]) == values, "\(group.count) \(isStarted)")
          }
          #expect(buffer[0..<3].allSatisfy { $0 == -7 })
        }
      }
    }

    @Test func scalarsOfAllTypes() throws {
      func check<T: Datatype & Equatable & BinaryInteger>(_ type: T.Type) throws {
        #expect(try world.allGather(T(world.rank)) == ranks.map { T($0) })
        #expect(try world.broadcast(T(world.rank + 3)) == 3)
      }
      try check(Int8.self)
      try check(UInt8.self)
      try check(Int16.self)
      try check(UInt16.self)
      try check(Int32.self)
      try check(UInt32.self)
      try check(Int64.self)
      try check(UInt64.self)
      try check(Int.self)
      try check(UInt.self)
      #expect(try world.allGather(Float(world.rank) / 2) == ranks.map { Float($0) / 2 })
      #expect(try world.allGather(Double(world.rank) / 2) == ranks.map { Double($0) / 2 })
    }

    @Test func partsOfTheWorldWorkAtTheSameTime() throws {
      let part = try world.split(color: world.rank % 2)
      let members = ranks.filter { $0 % 2 == world.rank % 2 }
      #expect(try part.allGather(values(world.rank, 3)) == members.flatMap { values($0, 3) })
    }
  }
}
