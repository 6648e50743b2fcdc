public import MPI
internal import Synchronization

/// How ranks reach one another: through shared memory on the same host, by messages otherwise.
public enum Transport: String, CaseIterable, Codable, Sendable {
  /// Shared memory within a host, messages between hosts.
  case auto
  /// Messages to every rank, including those on the same host.
  case messages
}

/// Which ranks share a host with this one, and the names of the hosts.
public final class HostMap: Sendable {
  /// All ranks, or those of a group.
  public let world: Communicator
  /// The ranks' numbers for people: those of the whole job, even in a group.
  public let numbers: [Int]
  /// The ranks of this host; nil if there are no others to share memory with, or memory is not to be shared.
  public let host: Communicator?
  /// For every rank of the world, its rank in `host`; nil if it is reached by messages.
  public let hostRanks: [Int?]
  /// For every rank, the name of its host.
  public let hostNames: [String]
  /// How long these ranks wait for one another.
  public let patience: Patience
  private let transport: Transport
  /// Whether these are all ranks of the job.
  private let isWhole: Bool
  /// The ranks' names for people: `rank 3 on node2`.
  private let names: [String]
  /// The name of this rank's host if it is pretended.
  private let pretendedHost: String?
  private let neighbours: Neighbours
  /// For every rank, the lowest rank with which it shares memory; itself if it shares none.
  public let leaders: [Int]
  /// The windows over the ranks of this host, in the order of their creation.
  private let windows = Mutex<[SharedWindow]>([])

  /// Asks every rank for its host.
  ///
  /// Collective; a few small messages. This call, and everything made from the map, waits with `patience`.
  ///
  /// - Throws: `ExchangeError.timedOut` if a rank stays away.
  public convenience init(_ world: Communicator, transport: Transport = .auto, patience: Patience = Patience()) throws {
    try self.init(world, transport: transport, patience: patience, pretendedHost: nil)
  }

  /// Creates a map as if this rank were on host `pretendedHost`, all or part of its own, for tests of several hosts on one.
  package convenience init(
    _ world: Communicator, transport: Transport = .auto, patience: Patience = Patience(), pretendedHost: Int?
  ) throws {
    try self.init(
      world, numbers: Array(0..<world.count), isWhole: true, transport: transport, patience: patience,
      hostName: pretendedHost.map { "host\($0)" })
  }

  /// `hostName` is that of a pretended host.
  private init(
    _ world: Communicator, numbers: [Int], isWhole: Bool, transport: Transport, patience: Patience, hostName: String?
  ) throws {
    (self.world, self.numbers, self.isWhole, self.transport, self.patience) = (world, numbers, isWhole, transport, patience)
    pretendedHost = hostName
    let call = RollCall(
      world,
      WaitingRanks(rank: world.rank, names: numbers.map { "rank \($0)" }, patience: patience, neighbours: nil))
    let activity = "the start, where ranks tell their hosts"
    let answer = "\(Neighbours.answer(of: world))\n\(hostName ?? world.processorName)"
    let answers = try call.gather(Array(answer.utf8), activity: activity).map {
      String(decoding: $0, as: UTF8.self).split(separator: "\n").map(String.init)
    }
    neighbours = Neighbours(rank: world.rank, answers: answers.map { $0.first ?? "" })
    let hostNames = answers.map { $0.last ?? "" }
    self.hostNames = hostNames
    names = zip(numbers, hostNames).map { "rank \($0) on \($1)" }
    var hostRanks = [Int?](repeating: nil, count: world.count)
    guard world.count > 1, transport == .auto else {
      host = nil
      self.hostRanks = hostRanks
      leaders = Array(0..<world.count)
      return
    }
    let (local, ranks) = try call.enter(activity) {
      let color = hostNames.firstIndex(of: hostNames[world.rank])!
      let local = try (hostName == nil ? world : world.split(color: color)).splitByHost()
      return (local, try local.allGather([Int64(world.rank)]))
    }
    for (hostRank, rank) in ranks.enumerated() { hostRanks[Int(rank)] = hostRank }
    host = local.count > 1 ? local : nil
    self.hostRanks = local.count > 1 ? hostRanks : Array(repeating: nil, count: world.count)
    let first = UInt64(ranks.min() ?? 0)
    leaders = try call.gather(withUnsafeBytes(of: first, Array.init), activity: activity).map { bytes in
      Int(bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
    }
  }

  /// The number of hosts.
  public var hostCount: Int { Set(hostNames).count }

  /// For every rank, whether it shares memory with this one: bytes for it stay inside the host.
  package var insideHost: [Bool] { hostRanks.map { $0 != nil } }

  /// The ranks reached by messages.
  public var remoteRanks: [Int] { (0..<world.count).filter { $0 != world.rank && hostRanks[$0] == nil } }

  /// The ranks with the same `color`, ordered by `key`, as a map of their own; they are named by their numbers in this map.
  ///
  /// Collective; a few small messages.
  public func split(color: Int, key: Int) throws -> HostMap {
    let (group, numbers) = try enter("the arrangement of ranks") {
      let group = try world.split(color: color, key: key)
      return (group, try group.allGather([Int64(self.numbers[world.rank])]).map { Int($0) })
    }
    return try HostMap(
      group, numbers: numbers, isWhole: isWhole && group.count == world.count, transport: transport, patience: patience,
      hostName: pretendedHost)
  }

  /// Whether there are several hosts, and at least one has several ranks that share memory.
  public var hasNeighboursOnSeveralHosts: Bool {
    Set(leaders).count > 1 && Set(leaders).count < world.count
  }

  /// A rank's name for people: `rank 3 on node2`.
  public func name(of rank: Int) -> String { names[rank] }

  /// Waits until all ranks have reached the same point; collective.
  ///
  /// - Throws: `ExchangeError.timedOut` naming the ranks that have not.
  public func meet(_ activity: String) throws { try call.meet(activity) }

  /// Runs a collective MPI call after all ranks have met, because MPI itself would wait forever for a missing rank; collective.
  ///
  /// - Throws: `ExchangeError.timedOut` if a rank stays away, and what `body` throws.
  package func enter<Result>(_ activity: String, _ body: () throws -> Result) throws -> Result {
    try call.enter(activity, body)
  }

  /// A communicator of the same ranks whose messages never mix with others; collective.
  package func duplicate() throws -> Communicator { try enter("the start of an exchange") { try world.duplicate() } }

  private var call: RollCall { RollCall(world, waitingRanks) }

  /// The ranks that a watchdog may name.
  package var waitingRanks: WaitingRanks { waitingRanks(with: patience) }
  package func waitingRanks(with patience: Patience) -> WaitingRanks {
    WaitingRanks(rank: world.rank, names: names, patience: patience, neighbours: neighbours)
  }

  /// Runs `body`, then frees all memory shared through this map meanwhile; what was made there must no longer be used.
  ///
  /// Collective: the ranks of a host wait for one another at the end. If `body` throws, nothing is freed.
  package func releasingMemory<Result>(_ body: () throws -> Result) throws -> Result {
    let count = windows.withLock { $0.count }
    let result = try body()
    let made = windows.withLock { windows in
      defer { windows.removeSubrange(count...) }
      return windows[count...].filter { !$0.isFreed }
    }
    try release(made)
    return result
  }

  /// Runs `body`; returns its result and the release of all memory that was shared through this map meanwhile, which is collective.
  package func notingMemory<Result>(_ body: () throws -> Result) throws -> (result: Result, release: () throws -> Void) {
    let count = windows.withLock { $0.count }
    let result = try body()
    let made = windows.withLock { Array($0[count...]) }
    return (
      result,
      { [self] in
        windows.withLock { windows in windows.removeAll { window in made.contains { $0 === window } } }
        try release(made.filter { !$0.isFreed })
      }
    )
  }

  /// The answers of all ranks, by rank, each of 1000 bytes at most; collective.
  ///
  /// - Throws: `ExchangeError.timedOut` naming the ranks that have not answered.
  package func gather(_ answer: [UInt8], activity: String) throws -> [[UInt8]] { try call.gather(answer, activity: activity) }

  /// Watches from now on the end of this process, which waits for the others in MPI.
  package func watchEnd() { call.watchEnd() }

  /// Frees shared memory of this host; collective over the world.
  private func release(_ windows: [SharedWindow]) throws {
    try enter("the release of shared memory") { for window in windows { try window.free() } }
  }

  /// A window over the ranks of this host; nil if there are no others to share memory with.
  ///
  /// Collective over the world.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` on all these ranks if any host does not have enough memory.
  package func window(byteCount: Int) throws -> SharedWindow? {
    var window: SharedWindow?
    var failure: MPIError?
    let activity = "the allocation of shared memory"
    try enter(activity) {
      guard let host else { return }
      do { window = try SharedWindow(on: host, byteCount: byteCount) } catch let error as MPIError { failure = error }
    }
    // One rank reports for all: the first of those that failed.
    let failures = try call.gather(Array((failure?.description ?? "").utf8), activity: activity)
    guard let rank = failures.firstIndex(where: { !$0.isEmpty }) else {
      if let window { windows.withLock { $0.append(window) } }
      return window
    }
    // A host that has its memory frees it if another has none.
    try release([window].compactMap { $0 })
    throw ExchangeError.noSharedMemory(
      host: hostNames[rank], reason: String(decoding: failures[rank], as: UTF8.self), isOnAllRanks: isWhole)
  }
}
