internal import Buffers
package import MPI

/// Memory of which every rank has a part that its neighbours on the host read in place: counters, and behind them slots.
///
/// Each counter has a cache line of its own, and slots begin on cache lines. A part is written by its rank alone, and only a
/// counter tells what may be read: there are no locks and no barriers. A rank without neighbours has its part, too. Gradients,
/// codes, records and blocks all lie in such slots; what ranks on other hosts need travels by a ``Mailbox``.
package final class SharedSlots {
  private let hosts: HostMap
  private let window: SharedWindow?
  /// The part of a rank without neighbours.
  private let unshared: ByteBuffer?
  private let counterCount: Int
  /// For this rank and its neighbours, where each slot begins in the rank's part; empty for others.
  private let starts: [[Int]]

  /// Allocates zeroed memory for `counterCount` counters, and for slots of `byteCounts` bytes, in each rank's part.
  ///
  /// Collective over the ranks of `hosts`.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` if a host cannot provide the memory.
  package init(_ hosts: HostMap, counterCount: Int = 0, byteCounts: (_ rank: Int) -> [Int]) throws {
    self.hosts = hosts
    self.counterCount = counterCount
    let own = hosts.world.rank
    let ends = (0..<hosts.world.count).map { rank in
      guard rank == own || hosts.hostRanks[rank] != nil else { return [Int]() }
      return byteCounts(rank).reduce(into: [counterCount * SharedCounter.byteCount]) {
        $0.append($0.last! + ($1 + SharedCounter.byteCount - 1) / SharedCounter.byteCount * SharedCounter.byteCount)
      }
    }
    starts = ends.map { $0.dropLast() }
    window = try hosts.window(byteCount: ends[own].last!)
    unshared = window == nil ? ByteBuffer(count: ends[own].last!) : nil
  }

  /// Whether another `rank` reads this rank's part in place.
  package func isShared(with rank: Int) -> Bool { rank != hosts.world.rank && hosts.hostRanks[rank] != nil }

  /// Where a slot of `rank`, which is this rank or a neighbour, begins.
  package func address(of slot: Int, by rank: Int) -> UnsafeMutableRawPointer {
    part(of: rank).baseAddress! + starts[rank][slot]
  }

  /// A counter of `rank`, which is this rank or a neighbour.
  package func counter(_ index: Int, of rank: Int) -> SharedCounter {
    require(index < counterCount, "there is no counter \(index) among \(counterCount)")
    return SharedCounter(in: part(of: rank), index: index)
  }

  /// The counter with which a slot of `rank` begins, if slots hold their own.
  package func counter(inSlot slot: Int, of rank: Int) -> SharedCounter {
    SharedCounter(in: part(of: rank), index: starts[rank][slot] / SharedCounter.byteCount)
  }

  /// Frees the shared memory, which must not be used afterwards; collective.
  package func free() throws { try hosts.enter("the release of shared memory") { try window?.free() } }

  private func part(of rank: Int) -> UnsafeMutableRawBufferPointer {
    if let window, let hostRank = hosts.hostRanks[rank] { return window.memory(of: hostRank) }
    require(rank == hosts.world.rank, "rank \(rank) shares no memory with rank \(hosts.world.rank)")
    return unshared!.bytes
  }
}
