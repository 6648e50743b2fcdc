import MPI
import Testing
import _TestSupport

extension SerialTests {
  /// Mistakes that stop the program.
  @Suite(.outsideMPI) struct MisuseTests {
    @Test func slotInUse() async {
      await #expect(processExitsWith: .failure) {
        let world = try Communicator.startWorld()
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8, alignment: 8)
        let table = RequestTable(on: world, slotCount: 1)
        try table.receive(into: memory, from: 0, tag: 0, slot: 0)
        try table.receive(into: memory, from: 0, tag: 0, slot: 0)
      }
    }

    @Test func persistentRequestUsedInFlight() async {
      await #expect(processExitsWith: .failure) {
        let world = try Communicator.startWorld()
        let request = try world.persistentReceive(repeating: Int8(0), count: 1, from: 0)
        try request.start()
        request[0] = 1
      }
    }

    @Test func noSuchRank() async {
      await #expect(processExitsWith: .failure) { try Communicator.startWorld().send([1], to: 1) }
    }

    @Test func windowAfterFree() async {
      await #expect(processExitsWith: .failure) {
        let window = try SharedWindow(on: try Communicator.startWorld(), byteCount: 8)
        try window.free()
        _ = window.memory(of: 0)
      }
    }

    @Test func blocksThatDoNotFit() async {
      await #expect(processExitsWith: .failure) {
        let world = try Communicator.startWorld()
        _ = try world.reduceScatter([1, 2, 3], ranges: [0..<2], .sum)
      }
    }
  }
}
