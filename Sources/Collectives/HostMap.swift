public import MPI

/// How ranks reach one another: through memory where they share a host, by messages otherwise.
public enum Transport: String, CaseIterable, Codable, Sendable {
  /// Shared memory inside a host, messages between hosts.
  case auto
  /// Messages to every rank, on the same host too.
  case messages
}

/// Which ranks share a host with this one, and what the hosts are called.
public final class HostMap: Sendable {
  /// All ranks, or those of a group of them.
  public let world: Communicator
  /// The ranks as people know them: those of the whole job, also in a group.
  public let numbers: [Int]
  /// The ranks of this host, nil where there is nobody to share memory with, or memory is not to be shared.
  public let host: Communicator?
  /// For every rank of the world its rank in `host`, nil where it is reached by messages.
  public let hostRanks: [Int?]
  /// For every rank the name of its host.
  public let hostNames: [String]
  private let transport: Transport
  /// Whether these are all ranks of the job.
  private let isWhole: Bool
  /// For every rank the lowest rank with which it shares memory, itself where it shares none.
  public let leaders: [Int]

  /// Asks every rank for its host.
  ///
  /// Collective; a few small messages.
  public convenience init(_ world: Communicator, transport: Transport = .auto) throws {
    try self.init(world, numbers: Array(0..<world.count), isWhole: true, transport: transport, pretendedHost: nil)
  }

  /// As if this rank were on host `pretendedHost`, which is all or part of its own, for tests of several hosts on one.
  package convenience init(_ world: Communicator, transport: Transport = .auto, pretendedHost: Int?) throws {
    try self.init(
      world, numbers: Array(0..<world.count), isWhole: true, transport: transport, pretendedHost: pretendedHost)
  }

  private init(
    _ world: Communicator, numbers: [Int], isWhole: Bool, transport: Transport, pretendedHost: Int? = nil
  ) throws {
    (self.world, self.numbers, self.isWhole, self.transport) = (world, numbers, isWhole, transport)
    let name = pretendedHost.map { "host\($0)" } ?? world.processorName
    hostNames = try world.allGather(varying: Array(name.utf8)).map { String(decoding: $0, as: UTF8.self) }
    var hostRanks = [Int?](repeating: nil, count: world.count)
    guard world.count > 1, transport == .auto else {
      host = nil
      self.hostRanks = hostRanks
      leaders = Array(0..<world.count)
      return
    }
    let neighbours: Communicator = if let pretendedHost { try world.split(color: pretendedHost) } else { world }
    let local = try neighbours.splitByHost()
    let ranks = try local.allGather([Int64(world.rank)])
    for (hostRank, rank) in ranks.enumerated() { hostRanks[Int(rank)] = hostRank }
    host = local.count > 1 ? local : nil
    self.hostRanks = local.count > 1 ? hostRanks : Array(repeating: nil, count: world.count)
    leaders = try world.allGather([ranks.min() ?? 0]).map(Int.init)
  }

  /// The number of hosts.
  public var hostCount: Int { Set(hostNames).count }

  /// The ranks that are reached by messages.
  public var remoteRanks: [Int] { (0..<world.count).filter { $0 != world.rank && hostRanks[$0] == nil } }

  /// The ranks that give the same `color`, ordered by `key`, as a map of their own; people know its ranks by the numbers that
  /// they have here.
  ///
  /// Collective; a few small messages.
  public func split(color: Int, key: Int) throws -> HostMap {
    let group = try world.split(color: color, key: key)
    let numbers = try group.allGather([Int64(self.numbers[world.rank])]).map { Int($0) }
    return try HostMap(group, numbers: numbers, isWhole: isWhole && group.count == world.count, transport: transport)
  }

  /// Whether some host has several ranks that share memory, and there are several hosts.
  public var hasNeighboursOnSeveralHosts: Bool {
    Set(leaders).count > 1 && Set(leaders).count < world.count
  }

  /// The ways of an exchange; `auto` and `hierarchical` are flat where no two ranks of several hosts share memory.
  public func routes(_ topology: Topology) -> ExchangeRoutes {
    ExchangeRoutes(leaders: leaders, isHierarchical: topology != .flat && hasNeighboursOnSeveralHosts)
  }

  /// A rank as people know it: `rank 3 on node2`.
  public func name(of rank: Int) -> String { "rank \(numbers[rank]) on \(hostNames[rank])" }

  /// A window over the ranks of this host, nil where there is nobody to share memory with.
  ///
  /// Collective over the world.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` on all these ranks where any host has not enough.
  func window(byteCount: Int) throws -> SharedWindow? {
    var window: SharedWindow?
    var failure: MPIError?
    if let host {
      do { window = try SharedWindow(on: host, byteCount: byteCount) } catch let error as MPIError { failure = error }
    }
    // A rank speaks for all: the first of those that failed.
    let failures = try world.allGather(varying: Array((failure?.description ?? "").utf8))
    guard let rank = failures.firstIndex(where: { !$0.isEmpty }) else { return window }
    throw ExchangeError.noSharedMemory(
      host: hostNames[rank], reason: String(decoding: failures[rank], as: UTF8.self), isOnAllRanks: isWhole)
  }
}
