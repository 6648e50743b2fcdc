public import Buffers
internal import MPI

/// A flat gradient buffer that the other ranks of the host can read in place.
public final class SharedGradient {
  /// This rank's values.
  public let values: FloatBuffer
  /// The ranks; those on this host can read the values.
  public let hosts: HostMap
  private let slots: SharedSlots?

  /// Allocates `count` zeros on every rank.
  ///
  /// Collective over the world.
  ///
  /// - Parameters:
  ///   - count: The number of values.
  ///   - hosts: The ranks.
  ///   - isShared: Whether neighbours read it at all; false for aggregations whose entries say that they do not.
  /// - Throws: `ExchangeError.noSharedMemory`, on all ranks of a host that cannot provide the memory.
  public init(count: Int, hosts: HostMap, isShared: Bool = true) throws {
    self.hosts = hosts
    slots = isShared ? try SharedSlots(hosts) { _ in [count * 4] } : nil
    values =
      slots.map {
        let own = $0.address(of: 0, by: hosts.world.rank)
        return FloatBuffer(sharing: own.assumingMemoryBound(to: Float.self), count: count, owner: $0)
      } ?? FloatBuffer(count: count)
  }

  /// The values of `rank`, which is this rank or one on its host; nil if they are out of reach.
  package func values(of rank: Int) -> UnsafeMutablePointer<Float>? {
    if rank == hosts.world.rank { return values.baseAddress }
    guard let slots, slots.isShared(with: rank) else { return nil }
    return slots.address(of: 0, by: rank).assumingMemoryBound(to: Float.self)
  }
}
