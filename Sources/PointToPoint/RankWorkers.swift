internal import Buffers

/// The workers of a rank: worker w is on rank w mod ranks.
package struct RankWorkers: Hashable, Sendable {
  let rank: Int
  let rankCount: Int
  /// The number of workers on each rank.
  let localCount: Int

  /// Those of rank `rank`, of `count` workers in all, a multiple of the ranks.
  package init(of count: Int, rank: Int, rankCount: Int) {
    require(count % rankCount == 0, "\(count) workers on \(rankCount) ranks")
    (self.rank, self.rankCount, localCount) = (rank, rankCount, count / rankCount)
  }

  /// The number of workers of all ranks.
  var count: Int { localCount * rankCount }
  /// The numbers of the workers of this rank.
  package var ids: [Int] { (0..<localCount).map(id) }
  /// The number of a worker of this rank.
  package func id(_ local: Int) -> Int { id(local, of: rank) }
  /// The number of a worker of a rank.
  func id(_ local: Int, of rank: Int) -> Int { local * rankCount + rank }
  /// The rank of a worker.
  package func rank(of worker: Int) -> Int { worker % rankCount }
  /// Whether a worker is one of this rank's.
  func isLocal(_ worker: Int) -> Bool { rank(of: worker) == rank }
  /// The number of a worker among those of its rank.
  package func local(_ worker: Int) -> Int { worker / rankCount }
}
