import MPI
import Testing
import _TestSupport

/// What a program throws that has requests open.
struct Interruption: Error, CustomStringConvertible {
  var description: String { "the words of the program" }
}

extension SerialTests {
  /// Requests whose scope is left by an error.
  @Suite(.serialized) struct GivenUpTests {
    let world = World.communicator
    var next: Int { (world.rank + 1) % world.count }
    var previous: Int { (world.rank + world.count - 1) % world.count }

    /// Afterwards all ranks still understand one another.
    ///
    /// Before the barrier an open receive of another rank might take the message.
    func worldIsWell() throws {
      try world.barrier()
      let message = try world.exchange([world.rank, -1], to: next, from: previous, tag: 99)
      #expect(message.values == [previous, -1])
      #expect(try world.allReduce(1, .sum) == world.count)
    }

    /// Begins with `begin` and throws; the error must arrive here.
    func interrupted<Value>(_ begin: () throws -> Request<Value>) throws {
      #expect(throws: Interruption.self) {
        let request = try begin()
        _ = consume request
        throw Interruption()
      }
      #expect(throws: Interruption.self) {
        var request = try begin()
        _ = try request.isDone()
        throw Interruption()
      }
    }

    @Test func receives() throws {
      try interrupted { try world.startReceive(Int.self, capacity: 2, from: anySource) }
      let memory = UnsafeMutableBufferPointer<Int>.allocate(capacity: 4)
      try interrupted { try world.startReceive(into: memory, from: previous, tag: 99) }
      memory.deallocate()
      // Those that were withdrawn take no message away.
      try worldIsWell()
    }

    @Test(arguments: [1, 1_000_000]) func sends(count: Int) throws {
      let values = (0..<count).map { Int32($0 &+ world.rank) }
      try interrupted { try world.startSend(values, to: next, tag: 41) }
      // What was sent arrives, from memory that was kept.
      for _ in 0..<2 {
        let message = try world.receive(Int32.self, from: previous, tag: 41)
        #expect(message.values == (0..<count).map { Int32($0 &+ previous) })
      }
      try worldIsWell()
    }

    @Test(arguments: [1, 100_000]) func collectives(count: Int) throws {
      let custom = Operation<Int32>.combining { $0 &+ $1 }
      try interrupted { try world.startBarrier() }
      try interrupted { try world.startAllReduce([Int32](repeating: 1, count: count), .sum) }
      try interrupted { try world.startAllReduce([Int32](repeating: 1, count: count), custom) }
      // Memory that is lent must stay in this case; the ranks come at different times.
      let memory = UnsafeMutableBufferPointer<Int32>.allocate(capacity: (2 * count + 1) * world.count)
      memory.initialize(repeating: 3)
      let all = UnsafeMutableBufferPointer(rebasing: memory[..<(count * world.count)])
      let block = UnsafeMutableBufferPointer(rebasing: memory[(count * world.count)..<(count * world.count + count)])
      let ranges = (0..<world.count).map { $0 * count..<($0 + 1) * count }
      try interrupted { try world.startBroadcast(block, root: world.count - 1) }
      try interrupted { try world.startAllGather(UnsafeBufferPointer(block), into: all) }
      try interrupted { try world.startAllGather(varying: nil, into: all, ranges: ranges) }
      try interrupted { try world.startReduceScatter(UnsafeBufferPointer(all), into: block, ranges: ranges, .sum) }
      let other = UnsafeMutableBufferPointer<Int32>.allocate(capacity: count * world.count)
      try interrupted { try world.startAllToAll(UnsafeBufferPointer(all), into: other) }
      try interrupted {
        try world.startAllToAll(varying: UnsafeBufferPointer(all), ranges: ranges, into: other, ranges: ranges)
      }
      try worldIsWell()
      try world.barrier()
      memory.deallocate()
      other.deallocate()
    }

    @Test func onCommunicatorsThatGo() throws {
      #expect(throws: Interruption.self) {
        let copy = try world.duplicate()
        let receiving = try copy.startReceive(Int.self, capacity: 1, from: anySource)
        let summing = try copy.startAllReduce([1.5], .sum)
        _ = consume receiving
        _ = consume summing
        throw Interruption()
      }
      try worldIsWell()
    }

    @Test func persistentRequests() throws {
      for begin in [true, false] {
        #expect(throws: Interruption.self) {
          let receiving = try world.persistentReceive(repeating: 0, count: 2, from: previous, tag: 99)
          if begin { try receiving.start() }
          throw Interruption()
        }
      }
      #expect(throws: Interruption.self) {
        let sending = try world.persistentSend(repeating: world.rank, count: 100_000, to: next, tag: 42)
        try sending.start()
        throw Interruption()
      }
      #expect(try world.receive(Int.self, from: previous, tag: 42).values == Array(repeating: previous, count: 100_000))
      try worldIsWell()
    }

    @Test func tables() throws {
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 128, alignment: 64)
      defer { memory.deallocate() }
      memory[64] = UInt8(world.rank)
      #expect(throws: Interruption.self) {
        let table = RequestTable(on: world, slotCount: 3)
        try table.receive(into: .init(rebasing: memory[..<64]), from: previous, tag: 99, slot: 0)
        try table.send(.init(rebasing: memory[64..<65]), to: next, tag: 43, slot: 1)
        throw Interruption()
      }
      #expect(try world.receiveValue(UInt8.self, from: previous, tag: 43) == UInt8(previous))
      try worldIsWell()
    }

    @Test func operationsThatFailed() throws {
      // A message that is too long, found by isDone(): the request is still there when the error leaves.
      let sending = try world.startSend([1, 2, 3], to: next, tag: 44)
      let error = #expect(throws: MPIError.self) {
        var receiving = try world.startReceive(Int.self, capacity: 1, from: previous, tag: 44)
        while try !receiving.isDone() {}
      }
      #expect(error?.isTruncation == true)
      try sending.wait()
      try worldIsWell()
    }

    @Test func collectivesAreNotWithdrawn() throws {
      let values = (0..<50_000).map { Int32($0 % 100) }
      let custom = Operation<Int32>.combining { $0 &+ $1 }
      for operation in [.sum, custom] {
        #expect(try !world.startAllReduce(values, operation).cancel())
        #expect(try world.startAllReduce(values, operation).wait() == values.map { $0 * Int32(world.count) })
      }
      #expect(try !world.startBarrier().cancel())
      try worldIsWell()
    }

    @Test(.enabled(if: Job.isRunning("throwWithOpenRequest"), "a program of this suite")) func throwWithOpenRequest() {
      withMPI { world in
        let receiving = try world.startReceive(Int8.self, capacity: 1, from: anySource, tag: 1)
        let sending = try world.startSend([Int](repeating: 1, count: 1_000_000), to: 0, tag: 2)
        let summing = try world.startAllReduce([Float](repeating: 1, count: 1_000_000), .sum)
        let persistent = try world.persistentReceive(repeating: 0, count: 1, from: 0, tag: 3)
        try persistent.start()
        if world.rank == world.count - 1 { throw Interruption() }
        _ = (try summing.wait(), try sending.wait(), try receiving.wait())
      }
    }

    @Test(.outsideMPI, arguments: [nil, 1, 2, 3]) func theWordsOfTheProgramArrive(ranks: Int?) throws {
      let job = Job.test("throwWithOpenRequest")
      let result = try ranks.map { try job.run(ranks: $0) } ?? job.run()
      #expect(result.status == 70 && !result.isTimedOut)
      #expect(result.standardError.contains("the words of the program\n"))
      #expect(!result.standardError.contains("dropped"))
    }

    @Test(.enabled(if: Job.isRunning("dropRequest"), "a program of this suite")) func dropRequest() {
      withMPI { world in
        _ = try world.startReceive(Int8.self, capacity: 1, from: anySource)
        try world.barrier()
      }
    }

    @Test(.outsideMPI, arguments: [nil, 2]) func aProgramThatForgotARequestSaysSo(ranks: Int?) throws {
      let job = Job.test("dropRequest")
      let result = try ranks.map { try job.run(ranks: $0) } ?? job.run()
      #expect(result.status == 0)
      #expect(result.standardError.contains("a request was dropped before wait()"))
    }
  }
}
