internal import Buffers
internal import MPI

/// The memory of a block exchange: what this rank writes, for its neighbours to read in place, and what comes from other hosts.
///
/// A rank's part has a counter for each slot (the last pass in which it was published), and a final one (the last pass that this
/// rank has ended).
final class BlockMemory {
  let slots: [BlockSlot]
  /// The number of samples there is room for.
  let sampleCount: Int
  private let hosts: HostMap
  private let memory: SharedSlots
  /// For each slot and each rank on another host, where its block arrives.
  private var incoming: [FloatBuffer?]

  /// Allocates the memory; collective over the ranks of `hosts`.
  init(_ slots: [BlockSlot], sampleCount: Int, hosts: HostMap) throws {
    self.slots = slots
    self.sampleCount = sampleCount
    self.hosts = hosts
    memory = try SharedSlots(hosts, counterCount: slots.count + 1) { rank in
      slots.map { 4 * $0.columnCounts[rank] * sampleCount }
    }
    incoming = Array(repeating: nil, count: slots.count * hosts.world.count)
    for (slot, columns) in slots.enumerated() {
      for peer in hosts.remoteRanks {
        incoming[slot * hosts.world.count + peer] = FloatBuffer(count: columns.incoming[peer].count * sampleCount)
      }
    }
  }

  /// Frees the shared memory, which must not be used afterwards; collective.
  func free() throws { try memory.free() }

  /// Where this rank writes a slot.
  func values(of slot: Int) -> UnsafeMutablePointer<Float> { values(of: slot, by: hosts.world.rank) }

  /// Where `rank`, which is this rank or one on the same host, writes a slot.
  func values(of slot: Int, by rank: Int) -> UnsafeMutablePointer<Float> {
    memory.address(of: slot, by: rank).assumingMemoryBound(to: Float.self)
  }

  /// Where the block of a slot from `rank`, on another host, arrives.
  func arrivals(in slot: Int, from rank: Int) -> UnsafeMutablePointer<Float> {
    incoming[slot * hosts.world.count + rank]!.baseAddress
  }

  /// The last pass in which `rank` published a slot; nil if its blocks arrive as messages.
  func published(_ slot: Int, by rank: Int) -> SharedCounter? {
    hosts.hostRanks[rank].map { _ in memory.counter(slot, of: rank) }
  }

  /// The last pass that `rank` has ended; nil if its blocks arrive as messages.
  func ended(by rank: Int) -> SharedCounter? {
    hosts.hostRanks[rank].map { _ in memory.counter(slots.count, of: rank) }
  }
}
