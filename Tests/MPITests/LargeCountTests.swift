import MPI
import Testing
import _TestSupport

/// Runs `body` as if MPI could count to `limit` only, so that small data take the paths of large ones.
func withLimit(_ limit: Int, _ body: () throws -> Void) rethrows {
  let original = LargeCount.limit
  LargeCount.limit = limit
  defer { LargeCount.limit = original }
  try body()
}

extension SerialTests {
  @Suite(.serialized) struct LargeCountTests {
    @Test(arguments: [1, 3, 4, 16]) func messages(limit: Int) throws {
      try withLimit(limit) {
        let tests = MessageTests()
        for count in [0, 1, 7, 16, 33, 1_000] { try tests.roundTheRing(count: count) }
        try tests.typesOfOnesOwn()
        try tests.requestsFinish()
        try tests.persistentMessagesRepeat()
        try tests.bytesAreSentAsTheyAre()
      }
    }

    @Test(arguments: [1, 3, 16]) func collectives(limit: Int) throws {
      try withLimit(limit) {
        let tests = CollectiveTests()
        for count in [0, 1, 5, 33] {
          try tests.broadcastFromEveryRoot(count: count)
          try tests.gatherAtEveryRoot(count: count)
          try tests.scatterFromEveryRoot(count: count)
          try tests.allGatherOfAllForms(count: count)
          try tests.allGatherLeavesGaps(count: count)
          try tests.allToAllOfAllForms(count: count)
        }
      }
    }

    @Test(arguments: [1, 3, 16]) func reductions(limit: Int) throws {
      try withLimit(limit) {
        let tests = ReductionTests()
        for count in [0, 1, 5, 33] {
          try tests.check(count, .sum, { Float($0) }, +)
          try tests.operationsOfOnesOwnKeepOrder(count: count)
        }
      }
    }

    @Test(arguments: [1, 3, 16]) func started(limit: Int) throws {
      try withLimit(limit) {
        let tests = StartedTests()
        for count in [0, 1, 5, 33] {
          try tests.broadcast(count: count)
          try tests.allReduce(count: count)
          try tests.allGather(count: count)
          try tests.allGatherVarying(base: count)
          try tests.reduceScatter(count: count)
          try tests.allToAll(count: count)
        }
      }
    }

    @Test func table() throws {
      try withLimit(5) { try RequestTableTests().bytesArrive(slotCount: 3) }
    }

    /// Needs 4.5 GB and two ranks; run by hand with `MORSE_TEST_JOB=beyondTwoToThe31`.
    @Test(.enabled(if: Job.isRunning("beyondTwoToThe31"), "needs 5 GB: run by hand")) func beyondTwoToThe31() throws {
      let world = World.communicator
      let count = (1 << 31) + 12_345
      let memory = UnsafeMutableBufferPointer<Int8>.allocate(capacity: count)
      defer { memory.deallocate() }
      if world.rank == 0 {
        memory.initialize(repeating: 1)
        memory[count - 1] = 42
        memory[1 << 31] = 43
        try world.send(UnsafeBufferPointer(memory), to: 1, tag: 1)
      } else if world.rank == 1 {
        memory.initialize(repeating: 0)
        let envelope = try world.receive(into: memory, from: 0, tag: 1)
        #expect(envelope.byteCount == count)
        #expect(memory[count - 1] == 42 && memory[1 << 31] == 43 && memory[0] == 1)
        #expect(memory.allSatisfy { $0 != 0 })
      }
      try world.broadcast(memory, root: 0)
      #expect(memory[count - 1] == 42 && memory[1 << 31] == 43)
      try world.allReduce(memory, .sum)
      #expect(memory[0] == Int8(world.count) && memory[count - 1] == Int8(truncatingIfNeeded: 42 * world.count))
    }
  }
}
