import MPI
import Testing
import _TestSupport

extension SerialTests {
  @Suite struct RequestTableTests {
    let world = World.communicator

    /// The bytes that `source` sends in its message number `slot`.
    func bytes(_ source: Int, _ slot: Int) -> [UInt8] { (0..<slot * 13 + 1).map { UInt8(($0 + source * 3 + slot) % 256) } }

    @Test(arguments: [1, 3, 20]) func bytesArrive(slotCount: Int) throws {
      let next = (world.rank + 1) % world.count
      let previous = (world.rank + world.count - 1) % world.count
      let table = RequestTable(on: try world.duplicate(), slotCount: 2 * slotCount)
      let room = slotCount * 13 + 20
      let received = UnsafeMutableRawBufferPointer.allocate(byteCount: slotCount * room, alignment: 64)
      let sent = UnsafeMutableRawBufferPointer.allocate(byteCount: slotCount * room, alignment: 64)
      defer {
        received.deallocate()
        sent.deallocate()
      }
      for slot in 0..<slotCount {
        let place = UnsafeMutableRawBufferPointer(rebasing: received[slot * room..<(slot + 1) * room])
        try table.receive(into: place, from: previous, tag: slot, slot: slot)
      }
      #expect(table.activeCount == slotCount)
      for slot in (0..<slotCount).reversed() {
        let message = bytes(world.rank, slot)
        let place = UnsafeMutableRawBufferPointer(rebasing: sent[slot * room..<slot * room + message.count])
        place.copyBytes(from: message)
        try table.send(UnsafeRawBufferPointer(place), to: next, tag: slot, slot: slotCount + slot)
      }
      var seen: Set<Int> = []
      while table.activeCount > 0 {
        try table.testSome { slot, byteCount in
          #expect(seen.insert(slot).inserted)
          #expect(!table.isActive(slot: slot))
          if slot < slotCount {
            #expect(byteCount == bytes(previous, slot).count)
            #expect(Array(received[slot * room..<slot * room + byteCount]) == bytes(previous, slot))
          } else {
            #expect(byteCount == 0)
          }
        }
      }
      #expect(seen == Set(0..<2 * slotCount))
      #expect(try table.testSome { _, _ in Issue.record("nothing is under way") } == 0)
    }

    @Test func slotsAreReusedInTheCallback() throws {
      let next = (world.rank + 1) % world.count
      let previous = (world.rank + world.count - 1) % world.count
      let table = RequestTable(on: world, slotCount: 2)
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 64)
      defer { memory.deallocate() }
      let received = UnsafeMutableRawBufferPointer(rebasing: memory[0..<8])
      let sent = UnsafeMutableRawBufferPointer(rebasing: memory[8..<16])
      var round = 0
      func start() throws {
        sent.storeBytes(of: round * 10 + world.rank, as: Int.self)
        try table.receive(into: received, from: previous, tag: 77, slot: 0)
        try table.send(UnsafeRawBufferPointer(sent), to: next, tag: 77, slot: 1)
      }
      try start()
      while round < 10 {
        try table.testSome { slot, _ in
          if slot == 0 { #expect(received.load(as: Int.self) == round * 10 + previous) }
          guard table.activeCount == 0 else { return }
        }
        if table.activeCount == 0 {
          round += 1
          if round < 10 { try start() }
        }
      }
      try table.waitAll()
    }

    @Test func waitAllWaits() throws {
      let table = RequestTable(on: world, slotCount: 3)
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 128, alignment: 64)
      defer { memory.deallocate() }
      let next = (world.rank + 1) % world.count
      let previous = (world.rank + world.count - 1) % world.count
      memory[64] = UInt8(world.rank)
      try table.receive(into: .init(rebasing: memory[0..<64]), from: previous, tag: 78, slot: 2)
      try table.send(.init(rebasing: memory[64..<65]), to: next, tag: 78, slot: 0)
      try table.waitAll()
      #expect(table.activeCount == 0 && memory[0] == UInt8(previous))
    }

    @Test func cancelFreesAllSlots() throws {
      let communicator = try world.duplicate()
      let table = RequestTable(on: communicator, slotCount: 4)
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 64)
      defer { memory.deallocate() }
      for slot in 0..<4 { try table.receive(into: memory, from: anySource, tag: slot, slot: slot) }
      table.cancelAll()
      #expect(table.activeCount == 0)
      try world.barrier()
    }

    @Test(.ranks(atLeast: 2)) func truncationIsThrown() throws {
      let communicator = try world.duplicate()
      let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 64)
      defer { memory.deallocate() }
      if world.rank == 0 {
        try communicator.send(UnsafeRawBufferPointer(memory), to: 1, tag: 1)
      } else if world.rank == 1 {
        let table = RequestTable(on: communicator, slotCount: 2)
        try table.receive(into: .init(rebasing: memory[0..<8]), from: 0, tag: 1, slot: 1)
        let error = #expect(throws: MPIError.self) {
          while table.activeCount > 0 { try table.testSome { _, _ in } }
        }
        #expect(error?.isTruncation == true && error?.operation == "MPI_Testsome")
      }
      try world.barrier()
    }
  }
}
