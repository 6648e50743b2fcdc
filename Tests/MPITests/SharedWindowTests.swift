import MPI
import Testing
import _TestSupport

extension SerialTests {
  @Suite struct SharedWindowTests {
    let world = World.communicator

    @Test(arguments: [0, 1, 64, 5_000, World.count < 4 ? 1 << 20 : 1 << 17]) func partsAreSharedAndZero(byteCount: Int) throws {
      let host = try world.splitByHost()
      // Ranks differ in what they need.
      let needs = (0..<host.count).map { byteCount + $0 * 100 }
      let window = try SharedWindow(on: host, byteCount: needs[host.rank])
      for rank in 0..<host.count {
        let part = window.memory(of: rank)
        #expect(part.count == needs[rank])
        #expect(part.allSatisfy { $0 == 0 })
        if !part.isEmpty { #expect(UInt(bitPattern: part.baseAddress) % 4_096 == 0) }
      }
      try host.barrier()
      let mine = window.memory(of: host.rank)
      for index in mine.indices { mine[index] = UInt8((index + host.rank) % 251) }
      try host.barrier()
      for rank in 0..<host.count {
        #expect(window.memory(of: rank).enumerated().allSatisfy { $1 == UInt8(($0 + rank) % 251) })
      }
      try host.barrier()
      try window.free()
    }

    @Test func oneRankMayNeedNothing() throws {
      let host = try world.splitByHost()
      let window = try SharedWindow(on: host, byteCount: host.rank == 0 ? 256 : 0)
      if host.rank == 0 { window.memory(of: 0)[0] = 9 }
      try host.barrier()
      #expect(window.memory(of: 0)[0] == 9)
      try host.barrier()
      try window.free()
    }

    @Test func countersSynchronise() throws {
      let host = try world.splitByHost()
      let window = try SharedWindow(on: host, byteCount: SharedCounter.byteCount + 8)
      let counters = (0..<host.count).map { SharedCounter(in: window.memory(of: $0), index: 0) }
      func payload(_ rank: Int) -> UnsafeMutablePointer<Int> {
        (window.memory(of: rank).baseAddress! + SharedCounter.byteCount).assumingMemoryBound(to: Int.self)
      }
      let next = (host.rank + 1) % host.count
      for round in 1...200 {
        // All wait for all before the payload changes.
        payload(host.rank).pointee = round * 1_000 + host.rank
        counters[host.rank].store(2 * round - 1)
        while counters[next].load() < 2 * round - 1 { try yieldToOthers(host) }
        #expect(payload(next).pointee == round * 1_000 + next)
        counters[host.rank].store(2 * round)
        for counter in counters { while counter.load() < 2 * round { try yieldToOthers(host) } }
      }
      try host.barrier()
      counters[0].add(1)
      try host.barrier()
      #expect(counters[0].load() == 400 + host.count)
      try host.barrier()
      try window.free()
    }

    /// More ranks than cores: a call of MPI lets another rank run.
    func yieldToOthers(_ host: Communicator) throws { if host.count > 1 { _ = try host.probeNow() } }

    @Test(.ranks(atLeast: 2)) func tooMuchIsAnErrorOnAllRanks() throws {
      let host = try world.splitByHost()
      let error = #expect(throws: MPIError.self) {
        _ = try SharedWindow(on: host, byteCount: host.rank == 1 ? 1 << 50 : 64)
      }
      #expect("\(error!)".contains("MPI_Win_allocate_shared"))
      // The communicator is still good.
      #expect(try host.allReduce(1, .sum) == host.count)
    }

    @Test func droppedWindowsAreFreedAtTheEnd() throws {
      _ = try SharedWindow(on: try world.splitByHost(), byteCount: 128)
    }
  }
}
