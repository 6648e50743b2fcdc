internal import Buffers
internal import MPI
internal import Transport

/// The memory of one exchange: what this rank encodes, and what the ranks of its host let it read in place.
///
/// A rank's part of the window begins with counters, each on its own cache line and written by this rank alone: for each shard,
/// the number of segments of this rank's contribution to it that are ready, and of segments of its sum that arrived from
/// another host; then the number of segments of its own shard's sum that are ready, and of values of its gradient. Counters
/// only grow; an exchange counts from where the previous one ended. Codes follow: those of all shards (the contributions),
/// those of its own shard (the sum), and those of the shards of other hosts (the sums that came by message). No lock or barrier
/// is needed: a rank overwrites codes only in an exchange that began after every reader had finished with them.
final class ExchangeMemory {
  /// The buffer in which this rank encodes its contributions, for all segments.
  let contributions: UnsafeMutableRawPointer
  /// The buffer in which this rank encodes the sum of its own shard.
  let sums: UnsafeMutableRawPointer
  /// The buffer in which the sums of other shards arrive by message, for all segments.
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
  ///   - geometry: The geometry of the exchange.
  ///   - hosts: The map of the ranks that share memory.
  ///   - keepsContributions: Whether contributions are encoded into this memory at all; plain floats are read directly from the
  ///     gradient.
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

  /// Whether another `rank` reads this memory in place.
  func isShared(with rank: Int) -> Bool { rank != hosts.world.rank && hosts.hostRanks[rank] != nil }

  /// The contributions of `rank`, which is this rank or on its host.
  func contributions(of rank: Int) -> UnsafeRawPointer {
    UnsafeRawPointer(part(of: rank).baseAddress! + countersByteCount)
  }

  /// The sum of the shard of `rank`, which is this rank or on its host.
  func sums(of rank: Int) -> UnsafeRawPointer {
    contributions(of: rank) + contributionByteCount
  }

  /// The sums that arrived at `rank`, which is this rank or on its host.
  func arrivals(of rank: Int) -> UnsafeRawPointer {
    sums(of: rank) + geometry.codeSpace(ofShard: rank).count
  }

  /// The counter of the segments of `writer`'s contribution to the shard of `owner` that are ready.
  func contributionCounter(of writer: Int, to owner: Int) -> SharedCounter {
    SharedCounter(in: part(of: writer), index: owner)
  }

  /// The counter of the segments of the sum of a shard that arrived at `receiver` by message.
  func arrivalCounter(of receiver: Int, shard: Int) -> SharedCounter {
    SharedCounter(in: part(of: receiver), index: hosts.world.count + shard)
  }

  /// The counter of the segments of the sum of `owner`'s shard that are ready.
  func sumCounter(of owner: Int) -> SharedCounter {
    SharedCounter(in: part(of: owner), index: 2 * hosts.world.count)
  }

  /// The counter of the values of `rank`'s gradient that are final.
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
