internal import Codecs
internal import MPI
internal import Transport

/// What one rank does in an exchange: all that follows for it from the geometry and the routes.
struct ExchangeRoles {
  let rank: Int
  let rankCount: Int
  let routes: ExchangeRoutes
  /// Whether some ranks are reached by messages.
  let hasRemoteRanks: Bool
  /// The ranks whose gradients are added before this one encodes, this one too.
  let party: [Int]
  /// The ranks whose contributions to the own shard are added, in this order.
  let contributors: [Int]
  /// The contributors whose memory this rank reads.
  let readContributors: [Int]
  /// The shards whose sums this rank reads in another's memory, and in whose.
  let readShards: [(owner: Int, source: Int)]
  /// The segments that this rank encodes, in this order: one for each owner in turn, bucket by bucket.
  let encodingOrder: [Segment]
  /// The values whose sums this rank owns.
  let ownedRanges: [Range<Int>]
  /// Whether what is exchanged are floats, which are read where they lie.
  private let isIdentity: Bool

  init(_ geometry: ExchangeGeometry, _ routes: ExchangeRoutes, _ hosts: HostMap, isIdentity: Bool) {
    let rank = hosts.world.rank
    (self.rank, rankCount, self.routes, self.isIdentity) = (rank, hosts.world.count, routes, isIdentity)
    hasRemoteRanks = !hosts.remoteRanks.isEmpty
    party = routes.parties[routes.partyOfRank[rank]]
    contributors = routes.contributors(toShard: rank)
    readContributors = contributors.filter { $0 != rank && hosts.hostRanks[$0] != nil }
    readShards = (0..<rankCount).filter { $0 != rank }.map { ($0, routes.source(ofShard: $0, for: rank)) }
      .filter { $0.source != rank }
    encodingOrder = geometry.encodingOrder(of: rank, over: routes, isIdentity: isIdentity)
    ownedRanges = geometry.elements(ofShard: rank)
  }

  /// Whether contributions of `contributor` to the own shard are read where its gradient lies.
  func readsInPlace(_ contributor: Int) -> Bool { isIdentity && routes.readsInPlace(rank, of: contributor) }
}
