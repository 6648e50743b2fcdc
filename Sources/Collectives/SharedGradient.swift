public import Buffers
internal import MPI

/// A flat buffer of gradients that the other ranks of the host can read in place.
public final class SharedGradient {
  /// This rank's values.
  public let values: FloatBuffer
  /// Who can read them.
  public let hosts: HostMap
  private let window: SharedWindow?

  /// Allocates `count` zeros on every rank.
  ///
  /// Collective over the world.
  ///
  /// - Throws: `MPIError` where the host cannot give the memory, on all its ranks.
  public init(count: Int, hosts: HostMap) throws {
    self.hosts = hosts
    if let host = hosts.host {
      let window = try SharedWindow(on: host, byteCount: max(count * 4, 64))
      let own = window.memory(of: host.rank)
      values = FloatBuffer(sharing: own.baseAddress!.assumingMemoryBound(to: Float.self), count: count, owner: window)
      self.window = window
    } else {
      values = FloatBuffer(count: count)
      window = nil
    }
  }

  /// The values of `rank`, which is this one or shares its host; nil where they are out of reach.
  func values(of rank: Int) -> UnsafeMutablePointer<Float>? {
    if rank == hosts.world.rank { return values.baseAddress }
    guard let window, let hostRank = hosts.hostRanks[rank] else { return nil }
    return window.memory(of: hostRank).baseAddress!.assumingMemoryBound(to: Float.self)
  }
}
