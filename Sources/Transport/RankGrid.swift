internal import Buffers
internal import MPI

/// The ranks of a job on a grid of K × P: P ranks share samples and hold one slice of the model each, and K ranks hold the same
/// slice and exchange its gradient.
///
/// Ranks of one host are adjacent, and so are the P ranks that share samples: rank r of ``all`` has slice r mod P and share r
/// div P of the samples. With P = 1 this is plain data parallelism, and nothing is split or renumbered.
/// Source: Seide et al. 2014, data × model parallelism; algorithms §1.12.
public struct RankGrid: Sendable {
  /// All ranks, in grid order; people know them by their numbers in the job.
  public let all: HostMap
  /// P, the number of slices of a model.
  public let sliceCount: Int
  /// The K ranks that hold the same slice as this one, in the order of their shares.
  public let dataGroup: HostMap
  /// The P ranks that have the same share of the samples as this one, in the order of their slices; nil if P = 1.
  public let modelGroup: HostMap?

  /// Arranges the ranks of `hosts`, whose number must be a multiple of `sliceCount`.
  ///
  /// Collective; a few small messages, none for one slice.
  public init(_ hosts: HostMap, sliceCount: Int = 1) throws {
    let count = hosts.world.count
    require(
      sliceCount > 0 && count % sliceCount == 0, "\(count) ranks are not a multiple of \(sliceCount) slices")
    self.sliceCount = sliceCount
    guard sliceCount > 1 else {
      (all, dataGroup, modelGroup) = (hosts, hosts, nil)
      return
    }
    let order = RankGrid.order(of: hosts.hostNames)
    let isInOrder = order == Array(0..<count)
    let all = isInOrder ? hosts : try hosts.split(color: 0, key: order.firstIndex(of: hosts.world.rank)!)
    let rank = all.world.rank
    self.all = all
    dataGroup = try all.split(color: rank % sliceCount, key: rank)
    modelGroup = try all.split(color: rank / sliceCount, key: rank)
  }

  /// The same grid, as if no other rank held this rank's slice of the model: nothing is exchanged, and all else is unchanged.
  ///
  /// Collective; a few small messages.
  package func withoutExchange() throws -> RankGrid {
    let alone = try all.split(color: all.world.rank, key: 0)
    return RankGrid(all: all, sliceCount: sliceCount, dataGroup: alone, modelGroup: modelGroup)
  }

  private init(all: HostMap, sliceCount: Int, dataGroup: HostMap, modelGroup: HostMap?) {
    (self.all, self.sliceCount, self.dataGroup, self.modelGroup) = (all, sliceCount, dataGroup, modelGroup)
  }

  /// K, the number of shares of the samples.
  public var shareCount: Int { all.world.count / sliceCount }
  /// This rank's share of the samples.
  public var share: Int { all.world.rank / sliceCount }
  /// This rank's slice of the model.
  public var slice: Int { all.world.rank % sliceCount }

  /// The ranks host by host, with hosts in the order of their lowest ranks.
  package static func order(of hostNames: [String]) -> [Int] {
    var ranks: [String: [Int]] = [:]
    for (rank, name) in hostNames.enumerated() { ranks[name, default: []].append(rank) }
    return ranks.values.sorted { $0[0] < $1[0] }.flatMap { $0 }
  }
}
