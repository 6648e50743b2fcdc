import MPI
import Testing
import _TestSupport

extension SerialTests {
  /// Mistakes of the caller: a world of one without MPI and every other world refuse them with the same words.
  @Suite(.serialized) struct MistakeTests {
    let world = World.communicator

    /// Every part of `words` is in the sentence that is thrown.
    func refused(_ words: String..., body: () throws -> Void) {
      let error = #expect(throws: MPIError.self) { try body() }
      for word in words { #expect("\(error!)".contains(word), "\(error!)") }
    }

    @Test func ranks() throws {
      let memory = UnsafeMutableBufferPointer<Int>.allocate(capacity: 1)
      defer { memory.deallocate() }
      for rank in [-3, -2, world.count, Int(Int32.max) + 1, Int.max, Int.min] {
        let words = "there is no rank \(rank) among \(world.count)"
        refused(words, "send") { try world.send([1], to: rank) }
        refused(words) { try world.send(1, to: rank) }
        refused(words) { try world.sendSynchronously([1], to: rank) }
        refused(words) { _ = try world.startSend([1], to: rank) }
        refused(words) { _ = try world.persistentSend(repeating: 1, count: 1, to: rank) }
        refused(words) { _ = try world.receive(Int.self, from: rank) }
        refused(words) { _ = try world.receiveValue(Int.self, from: rank) }
        refused(words) { _ = try world.startReceive(Int.self, capacity: 1, from: rank) }
        refused(words) { _ = try world.startReceive(into: memory, from: rank) }
        refused(words) { _ = try world.persistentReceive(repeating: 1, count: 1, from: rank) }
        refused(words) { _ = try world.probe(from: rank) }
        refused(words) { _ = try world.probeNow(from: rank) }
        refused(words) { _ = try world.exchange([1], to: rank, from: 0) }
        let table = RequestTable(on: world, slotCount: 1)
        refused(words) { try table.send(UnsafeRawBufferPointer(memory), to: rank, tag: 0, slot: 0) }
        refused(words) { try table.receive(into: UnsafeMutableRawBufferPointer(memory), from: rank, tag: 0, slot: 0) }
      }
    }

    @Test func roots() throws {
      let memory = UnsafeMutableBufferPointer<Int>.allocate(capacity: 1)
      defer { memory.deallocate() }
      for root in [-1, world.count, Int.max] {
        let words = "there is no rank \(root) among \(world.count)"
        var values = [1]
        refused(words, "root") { _ = try world.broadcast(1, root: root) }
        refused(words) { try world.broadcast(&values, root: root) }
        refused(words) { _ = try world.broadcast(varying: [1], root: root) }
        refused(words) { _ = try world.startBroadcast(memory, root: root) }
        refused(words) { _ = try world.gather([1], root: root) }
        refused(words) { _ = try world.gather(varying: [1], root: root) }
        refused(words) { _ = try world.scatter([1], root: root) }
        refused(words) { _ = try world.scatter(varying: [[1]], root: root) }
        refused(words) { _ = try world.reduce([1], .sum, root: root) }
      }
    }

    @Test func tags() throws {
      for tag in [-2, Int(Int32.max) + 1, Int.max, Int.min] {
        let words = "not \(tag)"
        refused(words, "tag", "0 to ") { try world.send([1], to: 0, tag: tag) }
        refused(words) { try world.send(1, to: 0, tag: tag) }
        refused(words) { try world.sendSynchronously([1], to: 0, tag: tag) }
        refused(words) { _ = try world.startSend([1], to: 0, tag: tag) }
        refused(words) { _ = try world.persistentSend(repeating: 1, count: 1, to: 0, tag: tag) }
        refused(words) { _ = try world.exchange([1], to: 0, from: 0, tag: tag) }
        refused(words) { _ = try world.receive(Int.self, from: 0, tag: tag) }
        refused(words) { _ = try world.startReceive(Int.self, capacity: 1, from: 0, tag: tag) }
        refused(words) { _ = try world.persistentReceive(repeating: 1, count: 1, from: 0, tag: tag) }
        refused(words) { _ = try world.probe(tag: tag) }
        refused(words) { _ = try world.probeNow(tag: tag) }
      }
      // Any tag may be received, none be sent.
      refused("not -1") { try world.send([1], to: 0, tag: anyTag) }
      #expect(try world.probeNow(from: anySource, tag: anyTag) == nil)
    }

    @Test func coloursAndKeys() throws {
      for color in [-1, Int(Int32.max) + 1, Int.max, Int.min] {
        refused("colour", "not \(color)", "0 to 2147483647") { _ = try world.split(color: color) }
      }
      for key in [Int(Int32.max) + 1, Int.min] { refused("key", "not \(key)") { _ = try world.split(color: 0, key: key) } }
      #expect(try world.split(color: Int(Int32.max), key: Int(Int32.min)).count == world.count)
    }

    @Test func countsThatDoNotFit() throws {
      let count = world.count
      let more = Array(repeating: 0..<1, count: count + 1)
      refused("\(count + 1) ranges for \(count) ranks") { _ = try world.reduceScatter([1, 2, 3], ranges: more, .sum) }
      refused("\(count + 1) arrays") { _ = try world.allToAll(varying: [[Int]](repeating: [], count: count + 1)) }
      refused("-1 values") { _ = try world.startReceive(Int.self, capacity: -1, from: 0) }
      refused("-1 values") { _ = try world.persistentSend(repeating: 0, count: -1, to: 0) }
      if count > 1 { refused("\(count + 1) values") { _ = try world.allToAll(Array(0...count)) } }
    }

    @Test func partsOfAValue() throws {
      let next = (world.rank + 1) % world.count
      let previous = (world.rank + world.count - 1) % world.count
      let bytes: [UInt8] = [1, 2, 3]
      var sendings = 0
      func send() throws {
        let sending = try world.startSend(bytes, to: next, tag: 61)
        sendings += 1
        _ = consume sending
      }
      try send()
      #expect(try world.probe(from: previous, tag: 61).count(of: Int32.self) == 0)
      refused("3 bytes", "Int32 of 4 bytes", "rank \(previous)", "tag 61") {
        _ = try world.receive(Int32.self, from: previous, tag: 61)
      }
      try send()
      refused("3 bytes", "Int32 of 4 bytes") { _ = try world.receiveValue(Int32.self, from: previous, tag: 61) }
      try send()
      refused("3 bytes", "Int32 of 4 bytes") {
        var values: [Int32] = [0, 0]
        try world.receive(into: &values, from: previous, tag: 61)
      }
      try send()
      refused("3 bytes", "Int32 of 4 bytes") {
        _ = try world.startReceive(Int32.self, capacity: 4, from: previous, tag: 61).wait()
      }
      try send()
      refused("3 bytes", "Int32 of 4 bytes") {
        let receiving = try world.persistentReceive(repeating: Int32(0), count: 2, from: previous, tag: 61)
        try receiving.start()
        try receiving.wait()
      }
      #expect(sendings == 5)
      // None is left over.
      try world.barrier()
      #expect(try world.probeNow(from: anySource, tag: 61) == nil)
      try world.barrier()
    }

    @Test(.enabled(if: Job.isRunning("afterTheEnd"), "a program of this suite")) func afterTheEnd() throws {
      let (world, error, envelope, part) = withMPI { world in
        let sending = try world.startSend([1, 2, 3], to: world.rank, tag: 3)
        let envelope = try world.probe(from: world.rank, tag: 3)
        var room = [0]
        var found: MPIError?
        do { try world.receive(into: &room, from: world.rank, tag: 3) } catch let error as MPIError { found = error }
        try sending.wait()
        return (world, found!, envelope, try world.split(color: 0))
      }
      #expect(error.isTruncation && error.errorClass == 15 && "\(error)".contains("truncated"))
      #expect(envelope.byteCount == 24 && envelope.count(of: Int.self) == 3 && envelope == envelope)
      for communicator in [world, part] {
        #expect(throws: MPIError.self) { try communicator.barrier() }
        #expect(throws: MPIError.self) { _ = try communicator.allReduce(1, .sum) }
        #expect(throws: MPIError.self) { _ = try communicator.allGather([1]) }
        #expect(throws: MPIError.self) { try communicator.send([1], to: 0) }
        #expect(throws: MPIError.self) { _ = try communicator.startBarrier() }
        #expect(throws: MPIError.self) { _ = try communicator.split(color: 0) }
        #expect(throws: MPIError.self) { _ = try communicator.duplicate() }
      }
      _ = world.processorName
      print("after the end: all well")
    }

    @Test(.outsideMPI, arguments: [nil, 1, 2]) func whatOutlivesMPIStaysUsable(ranks: Int?) throws {
      let job = Job.test("afterTheEnd")
      let result = try ranks.map { try job.run(ranks: $0) } ?? job.run()
      #expect(result.status == 0, "\(result.standardError)\(result.standardOutput)")
      #expect(result.standardOutput.contains("after the end: all well"))
    }

    @Test(.enabled(if: Job.isRunning("nestedWorld"), "a program of this suite")) func nestedWorld() {
      withMPI { _ in withMPI { world in print("never reached by \(world.rank)") } }
    }

    @Test(.enabled(if: Job.isRunning("secondWorld"), "a program of this suite")) func secondWorld() {
      withMPI { world in print("first of \(world.count)") }
      withMPI { world in print("never reached by \(world.rank)") }
    }

    @Test(.outsideMPI, arguments: [nil, 1, 2]) func aWorldIsEnteredOnce(ranks: Int?) throws {
      for (name, words) in [
        ("nestedWorld", "withMPI: it was called within withMPI; hand the world that is there on instead\n"),
        ("secondWorld", "withMPI: it was called a second time, but MPI runs once in a process\n"),
      ] {
        let job = Job.test(name)
        let result = try ranks.map { try job.run(ranks: $0) } ?? job.run()
        #expect(result.status != 0 && result.status < 128 && !result.isTimedOut, "\(name): \(result.status)")
        #expect(result.standardError.contains(words), "\(name): \(result.standardError)")
        #expect(!result.standardOutput.contains("never reached"))
      }
    }
  }
}
