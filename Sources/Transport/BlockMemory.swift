internal import Buffers
internal import MPI

/// The memory of a block exchange: what this rank writes, for its neighbours to read in place, and what comes from other hosts.
///
/// A rank's part of the window begins with counters, each on its own cache line and written by this rank alone: one for each
/// slot (the last pass in which it was published), and a final one (the last pass that this rank has ended). The slots follow.
final class BlockMemory {
  let slots: [BlockSlot]
  /// The number of samples there is room for.
  let sampleCount: Int
  private let hosts: HostMap
  private let window: SharedWindow?
  private let unshared: ByteBuffer?
  /// For each slot and each rank on another host, where its block arrives.
  private var incoming: [FloatBuffer?]

  /// Allocates the memory; collective over the ranks of `hosts`.
  init(_ slots: [BlockSlot], sampleCount: Int, hosts: HostMap) throws {
    self.slots = slots
    self.sampleCount = sampleCount
    self.hosts = hosts
    let rank = hosts.world.rank
    let byteCount = BlockMemory.offset(of: slots.count, in: slots, by: rank, sampleCount: sampleCount)
    window = try hosts.window(byteCount: byteCount)
    unshared = window == nil ? ByteBuffer(count: byteCount) : nil
    incoming = Array(repeating: nil, count: slots.count * hosts.world.count)
    for (slot, columns) in slots.enumerated() {
      for peer in hosts.remoteRanks {
        incoming[slot * hosts.world.count + peer] = FloatBuffer(count: columns.incoming[peer].count * sampleCount)
      }
    }
  }

  /// Frees the shared memory, which must not be used afterwards; collective.
  func free() throws { try hosts.enter("the release of shared memory") { try window?.free() } }

  /// Where this rank writes a slot.
  func values(of slot: Int) -> UnsafeMutablePointer<Float> { values(of: slot, by: hosts.world.rank) }

  /// Where `rank`, which is this rank or one on the same host, writes a slot.
  func values(of slot: Int, by rank: Int) -> UnsafeMutablePointer<Float> {
    let offset = BlockMemory.offset(of: slot, in: slots, by: rank, sampleCount: sampleCount)
    return (part(of: rank).baseAddress! + offset).assumingMemoryBound(to: Float.self)
  }

  /// Where the block of a slot from `rank`, on another host, arrives.
  func arrivals(in slot: Int, from rank: Int) -> UnsafeMutablePointer<Float> {
    incoming[slot * hosts.world.count + rank]!.baseAddress
  }

  /// The last pass in which `rank` published a slot; nil if its blocks arrive as messages.
  func published(_ slot: Int, by rank: Int) -> SharedCounter? {
    hosts.hostRanks[rank].map { _ in SharedCounter(in: part(of: rank), index: slot) }
  }

  /// The last pass that `rank` has ended; nil if its blocks arrive as messages.
  func ended(by rank: Int) -> SharedCounter? {
    hosts.hostRanks[rank].map { _ in SharedCounter(in: part(of: rank), index: slots.count) }
  }

  private func part(of rank: Int) -> UnsafeMutableRawBufferPointer {
    if let window, let hostRank = hosts.hostRanks[rank] { return window.memory(of: hostRank) }
    require(rank == hosts.world.rank, "rank \(rank) shares no memory with rank \(hosts.world.rank)")
    return unshared!.bytes
  }

  /// Where a slot begins in the part of `rank`; slots begin on cache lines.
  private static func offset(of slot: Int, in slots: [BlockSlot], by rank: Int, sampleCount: Int) -> Int {
    slots[..<slot].reduce((slots.count + 1) * SharedCounter.byteCount) {
      $0 + ($1.columnCounts[rank] * sampleCount * 4 + 63) / 64 * 64
    }
  }
}
