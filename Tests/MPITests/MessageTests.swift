import MPI
import Testing
import _TestSupport

extension SerialTests {
  @Suite struct MessageTests {
    let world = World.communicator
    var next: Int { (world.rank + 1) % world.count }
    var previous: Int { (world.rank + world.count - 1) % world.count }

    /// The values that `rank` sends.
    func values(of rank: Int, count: Int) -> [Int32] { (0..<count).map { Int32(rank * 1_000 + $0) } }

    // On one rank these are messages to oneself: the local world starts MPI for them.
    @Test(arguments: [0, 1, 2, 1_000, 100_000])
    func roundTheRing(count: Int) throws {
      let message = try world.exchange(values(of: world.rank, count: count), to: next, from: previous, tag: 3)
      #expect(message.values == values(of: previous, count: count))
      #expect(message.source == previous && message.tag == 3)
    }

    @Test(.ranks(atLeast: 2)) func fromAnyoneWithAnyTag() throws {
      if world.rank == 0 {
        var seen: Set<Int> = []
        for _ in 1..<world.count {
          let message = try world.receive(Double.self, from: anySource, tag: anyTag)
          #expect(message.values == [Double(message.source), Double(message.tag)])
          #expect(message.tag == 10 + message.source)
          seen.insert(message.source)
        }
        #expect(seen == Set(1..<world.count))
      } else {
        try world.send([Double(world.rank), Double(10 + world.rank)], to: 0, tag: 10 + world.rank)
      }
      try world.barrier()
    }

    @Test(.ranks(atLeast: 2)) func tagsSelectMessages() throws {
      if world.rank == 0 {
        try world.send([Int8(1)], to: 1, tag: 1)
        try world.send([Int8(2)], to: 1, tag: 2)
      } else if world.rank == 1 {
        #expect(try world.receive(Int8.self, from: 0, tag: 2).values == [2])
        #expect(try world.receive(Int8.self, from: 0, tag: 1).values == [1])
      }
    }

    @Test(.ranks(atLeast: 2)) func probeTellsLength() throws {
      if world.rank == 0 {
        try world.send([Float](repeating: 1.5, count: 7), to: 1, tag: 5)
        #expect(try world.receiveValue(UInt8.self, from: 1) == 9)
      } else if world.rank == 1 {
        let envelope = try world.probe(from: anySource, tag: 5)
        #expect(envelope.source == 0 && envelope.tag == 5 && envelope.byteCount == 28 && envelope.count(of: Float.self) == 7)
        var room = [Float](repeating: 0, count: 10)
        let received = try world.receive(into: &room, from: envelope.source, tag: envelope.tag)
        #expect(received == envelope)
        #expect(room == [1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 0, 0, 0])
        try world.send(UInt8(9), to: 0)
      }
    }

    @Test(.ranks(atLeast: 2)) func longerMessageThanRoomIsAnError() throws {
      if world.rank == 0 {
        try world.send([Int32](repeating: 1, count: 10), to: 1, tag: 6)
      } else if world.rank == 1 {
        var room = [Int32](repeating: 0, count: 4)
        let error = #expect(throws: MPIError.self) { try world.receive(into: &room, from: 0, tag: 6) }
        #expect(error?.isTruncation == true)
        #expect(error?.operation == "MPI_Recv")
        #expect("\(error!)".contains("MPI_Recv") && "\(error!)".contains("truncated"))
      }
      try world.barrier()
    }

    @Test(.ranks(atLeast: 2)) func synchronousSendArrives() throws {
      if world.rank == 0 {
        try world.sendSynchronously([UInt64.max], to: 1, tag: 4)
      } else if world.rank == 1 {
        #expect(try world.receive(UInt64.self, from: 0, tag: 4).values == [UInt64.max])
      }
    }

    @Test func bytesAreSentAsTheyAre() throws {
      let sent = (0..<100).map { UInt8(($0 * 7 + world.rank) % 256) }
      var received = [UInt8](repeating: 0, count: 100)
      let request = try world.startSend(sent, to: next, tag: 8)
      let envelope = try received.withUnsafeMutableBytes { try world.receive(into: $0, from: previous, tag: 8) }
      try request.wait()
      #expect(envelope.byteCount == 100)
      #expect(received == (0..<100).map { UInt8(($0 * 7 + previous) % 256) })
    }

    struct Point: Datatype, Equatable {
      var x: Double
      var name: UInt8
    }

    @Test func typesOfOnesOwn() throws {
      let points = (0..<5).map { Point(x: Double($0) / 3, name: UInt8(world.rank)) }
      let message = try world.exchange(points, to: next, from: previous)
      #expect(message.values == (0..<5).map { Point(x: Double($0) / 3, name: UInt8(previous)) })
    }

    @Test func requestsFinish() throws {
      var receiving = try world.startReceive(Int64.self, capacity: 8, from: previous, tag: 11)
      let sending = try world.startSend([Int64(world.rank), -1], to: next, tag: 11)
      while try !receiving.isDone() {}
      let message = try receiving.wait()
      #expect(message.values == [Int64(previous), -1] && message.source == previous)
      try sending.wait()
    }

    @Test func receiveCanBeWithdrawn() throws {
      let receiving = try world.startReceive(Int8.self, capacity: 1, from: anySource, tag: 12_345)
      #expect(try receiving.cancel())
      try world.barrier()
    }

    @Test func persistentMessagesRepeat() throws {
      let receiving = try world.persistentReceive(repeating: Float(0), count: 3, from: previous, tag: 13)
      let sending = try world.persistentSend(repeating: Float(0), count: 3, to: next, tag: 13)
      for round in 0..<5 {
        for index in 0..<3 { sending[index] = Float(world.rank * 100 + round * 10 + index) }
        try receiving.start()
        try sending.start()
        let envelope = try receiving.wait()
        try sending.wait()
        #expect(envelope.source == previous && envelope.count(of: Float.self) == 3)
        #expect(receiving.withValues { Array($0) } == (0..<3).map { Float(previous * 100 + round * 10 + $0) })
      }
    }
  }
}
