public import Transport

/// How the ranks of a host take part in an exchange.
public enum Topology: String, CaseIterable, Codable, Sendable {
  /// Hierarchical if several hosts have several ranks each, flat otherwise.
  case auto
  /// Every rank encodes its own gradient.
  case flat
  /// The ranks of a host add their gradients as floats in shared memory, and one encoded copy of each shard leaves the host.
  case hierarchical
}

/// The routes of an exchange: which rank encodes which shard, and which ranks receive which sum.
///
/// A *party* is a set of ranks whose gradients are added as floats before they are encoded: a single rank in a flat exchange,
/// the ranks of a host in a hierarchical one. For each shard one rank of each party, the *agent*, encodes the party's
/// contribution, keeps its residual, and receives the shard's sum for its party. In the owner's party that is the owner. Shard
/// *j* of an owner with index *p* on its host goes to index *p* mod *P* on a host of *P* ranks, so that uneven hosts also share
/// the work.
///
/// It is a pure function of its arguments, the same on every rank. Source: algorithms §11.1 (T6).
public struct ExchangeRoutes: Sendable {
  /// The ranks of each party, in rank order.
  public let parties: [[Int]]
  /// The party of each rank.
  public let partyOfRank: [Int]
  /// For each rank the lowest rank with which it shares memory; itself if it shares none.
  public let leaders: [Int]
  /// The index of each rank in its party.
  private let places: [Int]

  /// Creates the routes between ranks; those with the same leader share memory.
  public init(leaders: [Int], isHierarchical: Bool) {
    self.leaders = leaders
    var parties: [[Int]] = []
    var partyOfLeader: [Int: Int] = [:]
    var (partyOfRank, places): ([Int], [Int]) = ([], [])
    for (rank, leader) in leaders.enumerated() {
      let party = isHierarchical ? partyOfLeader[leader] ?? parties.count : parties.count
      if party == parties.count { parties.append([]) }
      partyOfLeader[leader] = party
      partyOfRank.append(party)
      places.append(parties[party].count)
      parties[party].append(rank)
    }
    self.parties = parties
    self.partyOfRank = partyOfRank
    self.places = places
  }

  /// The number of ranks.
  public var rankCount: Int { leaders.count }

  /// The rank that encodes a party's contribution to a shard, and receives the shard's sum for the party.
  public func agent(of party: Int, forShard shard: Int) -> Int {
    parties[party][places[shard] % parties[party].count]
  }

  /// The ranks that contribute to a shard, in the order in which their contributions are added.
  public func contributors(toShard shard: Int) -> [Int] {
    parties.indices.map { agent(of: $0, forShard: shard) }
  }

  /// Whether `rank` encodes contributions to a shard.
  public func contributes(_ rank: Int, toShard shard: Int) -> Bool {
    agent(of: partyOfRank[rank], forShard: shard) == rank
  }

  /// Whether two ranks share memory.
  public func areOnOneHost(_ a: Int, _ b: Int) -> Bool { leaders[a] == leaders[b] }

  /// The ranks to which an owner sends the sum of its shard by message: the agents of the parties of other hosts.
  public func receivers(ofShard shard: Int) -> [Int] {
    contributors(toShard: shard).filter { !areOnOneHost($0, shard) }
  }

  /// The rank from whose memory `rank` reads the sum of a shard: the owner if they share memory, its party's agent otherwise.
  public func source(ofShard shard: Int, for rank: Int) -> Int {
    areOnOneHost(rank, shard) ? shard : agent(of: partyOfRank[rank], forShard: shard)
  }

  /// Whether an owner can read the contribution of `contributor` directly from its gradient, if it is sent as floats.
  func readsInPlace(_ owner: Int, of contributor: Int) -> Bool {
    parties[partyOfRank[contributor]].count == 1 && areOnOneHost(owner, contributor)
  }
}

extension HostMap {
  /// The routes of an exchange; `auto` and `hierarchical` are flat if no two ranks of several hosts share memory.
  public func routes(_ topology: Topology) -> ExchangeRoutes {
    ExchangeRoutes(leaders: leaders, isHierarchical: topology != .flat && hasNeighboursOnSeveralHosts)
  }
}
