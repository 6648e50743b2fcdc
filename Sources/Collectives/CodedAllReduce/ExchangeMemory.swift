internal import Buffers
internal import MPI
internal import Transport

/// The memory of one exchange: what this rank encodes, and what the ranks of its host let it read in place.
///
/// A rank's part of the window begins with counters, each on a cache line of its own and written by this rank alone: for each
/// shard, how many segments of my contribution to it are ready, and how many segments of its sum have come to me from another
/// host; then how many segments of my own shard's sum are ready, and how many values of my gradient are. Counters only grow; an
/// exchange counts from where the one before it ended. Codes follow: those of all shards (the contributions), those of the own
/// shard (the sum), and those of the shards of other hosts (the sums that came by message). No lock and no barrier is needed: a
/// rank overwrites codes only in an exchange that began after every reader had finished with them.
final class ExchangeMemory {
  /// Where this rank encodes its contributions: a buffer for all segments.
  let contributions: UnsafeMutableRawPointer
  /// Where this rank encodes the sum of its own shard.
  let sums: UnsafeMutableRawPointer
  /// Where the sums of other shards come by message: a buffer for all segments.
  let arrivals: UnsafeMutableRawPointer
  private let unshared: ByteBuffer?
  private let window: SharedWindow?
  private let hosts: HostMap
  private let geometry: ExchangeGeometry
  private let own: UnsafeMutableRawBufferPointer
  private let countersByteCount: Int
  private let contributionByteCount: Int

  /// Allocates the memory.
  ///
  /// Collective over the ranks of a host.
  ///
  /// - Parameters:
  ///   - geometry: What is exchanged.
  ///   - hosts: Who shares memory.
  ///   - keepsContributions: Whether contributions are encoded into this memory at all; plain floats are read where
  ///     the gradient lies.
  init(_ geometry: ExchangeGeometry, hosts: HostMap, keepsContributions: Bool) throws {
    self.geometry = geometry
    self.hosts = hosts
    contributionByteCount = keepsContributions ? geometry.codeSpaceByteCount : 0
    countersByteCount = (2 * hosts.world.count + 2) * SharedCounter.byteCount
    let arrivalByteCount = hosts.remoteRanks.isEmpty ? 0 : geometry.codeSpaceByteCount
    let sumByteCount = geometry.codeSpace(ofShard: hosts.world.rank).count
    let byteCount = countersByteCount + contributionByteCount + sumByteCount + arrivalByteCount
    window = try hosts.window(byteCount: byteCount)
    if let window, let host = hosts.host {
      own = window.memory(of: host.rank)
      unshared = nil
    } else {
      let buffer = ByteBuffer(count: byteCount)
      own = buffer.bytes
      unshared = buffer
    }
    contributions = own.baseAddress! + countersByteCount
    sums = contributions + contributionByteCount
    arrivals = sums + sumByteCount
  }

  /// Whether `rank`, another one, reads this memory in place.
  func isShared(with rank: Int) -> Bool { rank != hosts.world.rank && hosts.hostRanks[rank] != nil }

  /// The contributions of `rank`, which is this one or shares the host.
  func contributions(of rank: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(part(of: rank).baseAddress! + countersByteCount)
  }

  /// The sum of the shard of `rank`, which is this one or shares the host.
  func sums(of rank: Int) -> UnsafeRawPointer {
    contributions(of: rank) + contributionByteCount
  }

  /// The sums that came to `rank`, which is this one or shares the host.
  func arrivals(of rank: Int) -> UnsafeRawPointer {
    sums(of: rank) + geometry.codeSpace(ofShard: rank).count
  }

  /// Counts the segments of `writer`'s contribution to the shard of `owner` that are ready.
  func contributionCounter(of writer: Int, to owner: Int) -> SharedCounter {
    SharedCounter(in: part(of: writer), index: owner)
  }

  /// Counts the segments of the sum of a shard that have come to `receiver` by message.
  func arrivalCounter(of receiver: Int, shard: Int) -> SharedCounter {
    SharedCounter(in: part(of: receiver), index: hosts.world.count + shard)
  }

  /// Counts the segments of the sum of `owner`'s shard that are ready.
  func sumCounter(of owner: Int) -> SharedCounter {
    SharedCounter(in: part(of: owner), index: 2 * hosts.world.count)
  }

  /// Counts the values of `rank`'s gradient that are final.
  func readyCounter(of rank: Int) -> SharedCounter {
    SharedCounter(in: part(of: rank), index: 2 * hosts.world.count + 1)
  }

  private func part(of rank: Int) -> UnsafeMutableRawBufferPointer {
    if rank == hosts.world.rank { return own }
    guard let window, let hostRank = hosts.hostRanks[rank] else {
      fatalError("rank \(rank) shares no memory with rank \(hosts.world.rank)")
    }
    return window.memory(of: hostRank)
  }
}
