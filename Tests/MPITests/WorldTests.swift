import MPI
import Testing
import _TestSupport

extension SerialTests {
  @Suite struct WorldTests {
    let world = World.communicator

    @Test func ranksAreCounted() throws {
      #expect(world.rank >= 0 && world.rank < world.count)
      #expect(try world.allGather(world.rank) == Array(0..<world.count))
    }

    @Test func hostAndLibraryHaveNames() {
      #expect(!world.processorName.isEmpty)
      #expect(libraryVersion.contains("MPI"))
      #expect(!libraryVersion.contains("\n"))
    }

    @Test func timePasses() {
      let start = wallTime
      while wallTime - start < 0.001 {}
      #expect(wallTime > start)
    }

    @Test func threadLevelsAreOrdered() {
      #expect(ThreadLevel.allCases == ThreadLevel.allCases.sorted())
      #expect(ThreadLevel.single < .funneled && ThreadLevel.serialized < .multiple)
    }

    @Test func duplicateIsApart() throws {
      let copy = try world.duplicate()
      #expect(copy.rank == world.rank && copy.count == world.count)
      guard world.count > 1 else { return }
      // A message in one is not seen in the other.
      let next = (world.rank + 1) % world.count
      let previous = (world.rank + world.count - 1) % world.count
      let sending = try world.startSend([Int32(1)], to: next, tag: 9)
      _ = try world.probe(from: previous, tag: 9)
      #expect(try copy.probeNow() == nil)
      #expect(try world.receive(Int32.self, from: previous, tag: 9).values == [1])
      try sending.wait()
    }

    @Test func aloneIsOneRank() throws {
      let alone = try world.alone
      #expect(alone.count == 1 && alone.rank == 0)
      #expect(try alone.allReduce(world.rank, .sum) == world.rank)
    }

    @Test func splitByColorAndKey() throws {
      // Ranks in three colours, in reverse order.
      let part = try world.split(color: world.rank % 3, key: -world.rank)
      let members = (0..<world.count).filter { $0 % 3 == world.rank % 3 }.reversed()
      #expect(try part.allGather(world.rank) == Array(members))
      #expect(part.count == members.count)
    }

    @Test func ranksWithoutColorBelongNowhere() throws {
      let color: Int? = world.rank == 0 ? nil : 1
      let part = try world.split(color: color)
      #expect((part == nil) == (world.rank == 0))
      if let part { #expect(part.count == world.count - 1) }
    }

    @Test func splitByHostKeepsOrder() throws {
      let host = try world.splitByHost()
      let members = try host.allGather(world.rank)
      #expect(members == members.sorted() && members.contains(world.rank))
    }

    @Test func nestedCommunicatorsMayBeDropped() throws {
      for round in 0..<20 {
        let part = try world.split(color: (world.rank + round) % 2).duplicate()
        #expect(try part.allReduce(1, .sum) == part.count)
      }
    }
  }
}
