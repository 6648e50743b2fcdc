internal import MPI
internal import Transport

/// The memory of one exchange: what this rank encodes, and what the ranks of its host let it read in place.
///
/// A rank's part has counters: for each shard, the number of segments of this rank's contribution to it that are ready, and of
/// segments of its sum that arrived from another host; then the number of segments of its own shard's sum that are ready, and of
/// values of its gradient. Counters only grow; an exchange counts from where the previous one ended. Its slots are the codes of
/// all shards (the contributions), those of its own shard (the sum), and those of the shards of other hosts (the sums that came by
/// message). No lock or barrier is needed: a rank overwrites codes only in an exchange that began after every reader had finished
/// with them.
final class ExchangeMemory {
  /// The buffer in which this rank encodes its contributions, for all segments.
  let contributions: UnsafeMutableRawPointer
  /// The buffer in which this rank encodes the sum of its own shard.
  let sums: UnsafeMutableRawPointer
  /// The buffer in which the sums of other shards arrive by message, for all segments.
  let arrivals: UnsafeMutableRawPointer
  private let slots: SharedSlots
  private let rankCount: Int

  /// The slots of a rank's part.
  private enum Slot: Int { case contributions, sums, arrivals }

  /// Allocates the memory.
  ///
  /// Collective over the ranks of a host.
  ///
  /// - Parameters:
  ///   - geometry: The geometry of the exchange.
  ///   - hosts: The map of the ranks that share memory.
  ///   - keepsContributions: Whether contributions are encoded into this memory at all; plain floats are read directly from the
  ///     gradient.
  init(_ geometry: ExchangeGeometry, hosts: HostMap, keepsContributions: Bool) throws {
    rankCount = hosts.world.count
    let (rank, codeByteCount) = (hosts.world.rank, geometry.codeSpaceByteCount)
    let slots = try SharedSlots(hosts, counterCount: 2 * rankCount + 2) { rank in
      [
        keepsContributions ? codeByteCount : 0, geometry.codeSpace(ofShard: rank).count,
        hosts.remoteRanks.isEmpty ? 0 : codeByteCount,
      ]
    }
    self.slots = slots
    func own(_ slot: Slot) -> UnsafeMutableRawPointer { slots.address(of: slot.rawValue, by: rank) }
    (contributions, sums, arrivals) = (own(.contributions), own(.sums), own(.arrivals))
  }

  /// Whether another `rank` reads this memory in place.
  func isShared(with rank: Int) -> Bool { slots.isShared(with: rank) }

  /// The contributions of `rank`, which is this rank or on its host.
  func contributions(of rank: Int) -> UnsafeRawPointer { address(of: .contributions, by: rank) }

  /// The sum of the shard of `rank`, which is this rank or on its host.
  func sums(of rank: Int) -> UnsafeRawPointer { address(of: .sums, by: rank) }

  /// The sums that arrived at `rank`, which is this rank or on its host.
  func arrivals(of rank: Int) -> UnsafeRawPointer { address(of: .arrivals, by: rank) }

  private func address(of slot: Slot, by rank: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(slots.address(of: slot.rawValue, by: rank))
  }

  /// The counter of the segments of `writer`'s contribution to the shard of `owner` that are ready.
  func contributionCounter(of writer: Int, to owner: Int) -> SharedCounter {
    slots.counter(owner, of: writer)
  }

  /// The counter of the segments of the sum of a shard that arrived at `receiver` by message.
  func arrivalCounter(of receiver: Int, shard: Int) -> SharedCounter {
    slots.counter(rankCount + shard, of: receiver)
  }

  /// The counter of the segments of the sum of `owner`'s shard that are ready.
  func sumCounter(of owner: Int) -> SharedCounter {
    slots.counter(2 * rankCount, of: owner)
  }

  /// The counter of the values of `rank`'s gradient that are final.
  func readyCounter(of rank: Int) -> SharedCounter {
    slots.counter(2 * rankCount + 1, of: rank)
  }
}
