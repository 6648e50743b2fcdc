import MPI
import Testing
import _TestSupport

extension SerialTests {
  /// What users of MPI rely on beyond single operations.
  @Suite(.serialized) struct BehaviourTests {
    let world = World.communicator
    var ranks: Range<Int> { 0..<world.count }
    var next: Int { (world.rank + 1) % world.count }
    var previous: Int { (world.rank + world.count - 1) % world.count }

    @Test func messagesToOneself() throws {
      try world.send([1, 2], to: world.rank, tag: 21)
      try world.send([Double](), to: world.rank, tag: 22)
      let envelope = try world.probe(from: anySource, tag: 21)
      #expect(envelope.source == world.rank && envelope.count(of: Int.self) == 2)
      #expect(try world.probeNow(from: world.rank, tag: 22)?.byteCount == 0)
      #expect(try world.receive(Double.self, from: anySource, tag: 22).values == [])
      #expect(try world.receive(Int.self, from: world.rank).values == [1, 2])
      let large = (0..<300_000).map { Int32($0) }
      let sending = try world.startSend(large, to: world.rank, tag: 23)
      #expect(try world.receive(Int32.self, from: world.rank, tag: 23).values == large)
      try sending.wait()
      try world.barrier()
    }

    @Test func emptyMessages() throws {
      let sending = try world.startSend([Float](), to: next, tag: 31)
      var nothing: [Float] = []
      let envelope = try world.receive(into: &nothing, from: previous, tag: 31)
      try sending.wait()
      #expect(envelope.byteCount == 0 && envelope.source == previous && envelope.tag == 31)
      let second = try world.startSend([Float](), to: next, tag: 32)
      let message = try world.startReceive(Float.self, capacity: 0, from: anySource, tag: 32).wait()
      try second.wait()
      #expect(message.values == [] && message.source == previous)
      let third = try world.startSend([Float](), to: next, tag: 33)
      #expect(throws: MPIError.self) { _ = try world.receiveValue(Float.self, from: previous, tag: 33) }
      try third.wait()
    }

    @Test func emptyCollectives() throws {
      let none: [Int32] = []
      var values = none
      try world.allReduce(&values, .sum)
      try world.scan(&values, .sum)
      try world.exclusiveScan(&values, .sum, initial: 0)
      #expect(values == [])
      #expect(try world.broadcast(varying: none) == [])
      #expect(try world.allGather(varying: none) == ranks.map { _ in [] })
      #expect(try world.allToAll(varying: ranks.map { _ in none }) == ranks.map { _ in [] })
      #expect(try world.scatter(varying: ranks.map { _ in none }) == [])
      #expect(try world.gather(varying: none) == (world.rank == 0 ? ranks.map { _ in [] } : nil))
      #expect(try world.startAllReduce(none, .sum).wait() == [])
    }

    /// Only one rank has values.
    @Test func varyingFormsWithOneRanksValues() throws {
      for owner in ranks {
        let mine = world.rank == owner ? (0..<100_000).map { Float($0) } : []
        let all = try world.allGather(varying: mine)
        #expect(all.map(\.count) == ranks.map { $0 == owner ? 100_000 : 0 } && all[owner].last == 99_999)
        let spread = try world.allToAll(varying: ranks.map { $0 == owner ? [Float($0), Float(world.rank)] : [] })
        #expect(spread == ranks.map { world.rank == owner ? [Float(owner), Float($0)] : [] })
        let part = try world.scatter(varying: ranks.map { [Float](repeating: Float($0), count: $0 * 1_000) }, root: owner)
        #expect(part == [Float](repeating: Float(world.rank), count: world.rank * 1_000))
      }
    }

    @Test func messagesKeepTheirOrder() throws {
      var sendings = 0
      let table = RequestTable(on: world, slotCount: 20)
      let memory = UnsafeMutableBufferPointer<Int>.allocate(capacity: 20)
      defer { memory.deallocate() }
      for slot in 0..<20 {
        memory[slot] = slot
        let value = UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: memory[slot..<slot + 1]))
        try table.send(value, to: next, tag: 34, slot: slot)
        sendings += 1
      }
      for slot in 0..<20 { #expect(try world.receiveValue(Int.self, from: previous, tag: 34) == slot) }
      try table.waitAll()
      #expect(sendings == 20 && table.activeCount == 0)
    }

    /// The order of the ranks counts, also where MPI cuts the data or goes on while the program does.
    @Test(arguments: [1, 7, 1_000, 40_000, World.count < 4 ? 300_000 : 100_000]) func orderOfOperationsOfOnesOwn(count: Int)
      throws
    {
      typealias Affine = ReductionTests.Affine
      let compose = Operation<Affine>.combining { $0.then($1) }
      func value(_ rank: Int, _ index: Int) -> Affine {
        Affine(a: Int64((rank * 5 + index) % 7 + 1), b: Int64((rank + index) % 11))
      }
      let mine = (0..<count).map { value(world.rank, $0) }
      let expected = (0..<count).map { index in ranks.dropFirst().reduce(value(0, index)) { $0.then(value($1, index)) } }
      var reduced = mine
      try world.allReduce(&reduced, compose)
      #expect(reduced == expected)
      for root in Set([0, world.count / 2, world.count - 1]).sorted() {
        #expect(try world.reduce(mine, compose, root: root) == (world.rank == root ? expected : nil))
      }
      #expect(try world.startAllReduce(mine, compose).wait() == expected)
      let cuts = ranks.map { count * $0 / world.count } + [count]
      let ranges = ranks.map { cuts[$0]..<cuts[$0 + 1] }
      #expect(try world.reduceScatter(mine, ranges: ranges, compose) == Array(expected[ranges[world.rank]]))
      let source = UnsafeMutableBufferPointer<Affine>.allocate(capacity: count)
      let block = UnsafeMutableBufferPointer<Affine>.allocate(capacity: ranges[world.rank].count)
      defer {
        source.deallocate()
        block.deallocate()
      }
      _ = source.initialize(from: mine)
      try world.startReduceScatter(UnsafeBufferPointer(source), into: block, ranges: ranges, compose).wait()
      #expect(Array(block) == Array(expected[ranges[world.rank]]))
    }

    @Test func aloneIsOneForAll() throws {
      // Whether a launcher started the process or not.
      try world.alone.send([5], to: 0, tag: 4)
      #expect(try world.alone.receive(Int.self, from: 0, tag: 4).values == [5])
      try world.duplicate().alone.send([6], to: 0, tag: 4)
      #expect(try world.alone.receive(Int.self, from: 0, tag: 4).values == [6])
    }

    @Test func partsOfPartsTalk() throws {
      let half = try world.split(color: world.rank % 2, key: -world.rank)
      let copy = try half.duplicate()
      let nobody = try world.split(color: Int?.none)
      #expect(nobody == nil)
      #expect(try copy.allReduce(world.rank, .max) == ranks.last { $0 % 2 == world.rank % 2 })
      #expect(try copy.broadcast(world.rank) == ranks.last { $0 % 2 == world.rank % 2 })
    }
  }
}
