public import Buffers
internal import MPI

/// Exchanges blocks of matrices among the ranks of a group, in place within a host and by messages between hosts.
///
/// This is the communication of a sliced network: in a *pass*, each rank writes a slot once, publishes it, and reads the blocks
/// that the others have published. Blocks of ranks on the same host are read in place; those from other hosts arrive in memory
/// posted before anything is sent. The order in which ranks arrive does not matter. A rank overwrites a slot only in the next
/// pass, which begins when all its neighbours have ended this one.
///
/// - Cost: the bytes of the blocks meant for other ranks, one message for each up to 52 KB, pieces of that length beyond.
public final class BlockExchange {
  /// The traffic counted so far.
  public var traffic: Traffic { mailbox.traffic + hostTraffic }
  /// Time spent waiting for others so far.
  public private(set) var waiting = Duration.zero
  /// Called with the start and the end of every wait for others.
  public var observer: ((_ start: ContinuousClock.Instant, _ end: ContinuousClock.Instant) -> Void)?

  private let hosts: HostMap
  private let mailbox: Mailbox
  private var memory: BlockMemory?
  private var hostTraffic = Traffic()
  /// The slots published in this pass.
  private var isPublished: [Bool] = []
  private var sampleCount = 0
  /// Passes begun since memory was reserved.
  private var pass = 0

  /// Prepares exchanges among the ranks of `hosts`; ``reserve(_:sampleCount:)`` allocates the memory.
  ///
  /// Collective.
  public init(_ hosts: HostMap) throws {
    self.hosts = hosts
    mailbox = try Mailbox(hosts, slotCount: 0, receiveCount: 0, sendCount: 0)
  }

  /// This rank's index in the group.
  public var slice: Int { hosts.world.rank }
  /// The number of ranks in the group.
  public var sliceCount: Int { hosts.world.count }

  /// Makes room for these slots and this number of samples; their previous contents are lost.
  ///
  /// Collective, outside of passes.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` if a host cannot provide the memory.
  public func reserve(_ slots: [BlockSlot], sampleCount: Int) throws {
    require(slots.allSatisfy { $0.columnCounts.count == sliceCount }, "a slot has columns for each rank")
    try settle()
    try memory?.free()
    memory = try BlockMemory(slots, sampleCount: sampleCount, hosts: hosts)
    func pieceCount(_ blocks: KeyPath<BlockSlot, [Range<Int>]>) -> Int {
      slots.reduce(0) { sum, slot in
        hosts.remoteRanks.reduce(sum) { $0 + Mailbox.pieceCount(of: 4 * slot[keyPath: blocks][$1].count * sampleCount) }
      }
    }
    mailbox.reserve(slotCount: slots.count, receiveCount: pieceCount(\.incoming), sendCount: pieceCount(\.outgoing))
    isPublished = Array(repeating: false, count: slots.count)
    pass = 0
  }

  /// Begins a pass over `sampleCount` samples (equal on all ranks) once no rank still reads the data of the last pass.
  public func begin(sampleCount: Int) throws {
    try settle()
    start(sampleCount: sampleCount)
  }

  /// Begins a pass; no rank still reads the data of the last one (``readers``).
  package func start(sampleCount: Int) {
    let memory = reserved
    require(sampleCount <= memory.sampleCount, "\(sampleCount) samples where \(memory.sampleCount) have room")
    self.sampleCount = sampleCount
    for slot in isPublished.indices { isPublished[slot] = false }
    pass += 1
  }

  /// Where this rank writes a slot.
  public func values(of slot: Int) -> UnsafeMutablePointer<Float> { reserved.values(of: slot) }

  /// Makes what this rank has written to a slot readable by the other ranks.
  public func publish(_ slot: Int) throws { try publish(slot, lengths: nil) }

  /// Makes what this rank has written to a slot readable by the other ranks.
  ///
  /// - Parameters:
  ///   - slot: The slot.
  ///   - lengths: For blocks that are not full: the number of leading floats that travel, of the block for each rank and of the
  ///     block from each rank. Sender and receiver must agree.
  public func publish(_ slot: Int, lengths: (outgoing: [Int], incoming: [Int])?) throws {
    let memory = reserved
    let columns = memory.slots[slot]
    isPublished[slot] = true
    for peer in 0..<sliceCount where peer != slice {
      let count = lengths?.incoming[peer] ?? columns.incoming[peer].count * sampleCount
      if hosts.hostRanks[peer] != nil {
        hostTraffic.hostBytesReceived += count * 4
      } else {
        let bytes = UnsafeMutableRawBufferPointer(start: memory.arrivals(in: slot, from: peer), count: count * 4)
        try mailbox.receive(into: bytes, from: peer, slot: slot)
      }
    }
    for peer in 0..<sliceCount where peer != slice {
      let count = lengths?.outgoing[peer] ?? columns.outgoing[peer].count * sampleCount
      guard count > 0 else { continue }
      if hosts.hostRanks[peer] != nil {
        hostTraffic.messagesSent += 1
        hostTraffic.hostBytesSent += count * 4
      } else {
        let values = memory.values(of: slot) + columns.outgoing[peer].lowerBound * sampleCount
        try mailbox.send(UnsafeRawBufferPointer(start: values, count: count * 4), to: peer, slot: slot)
      }
    }
    memory.published(slot, by: slice)?.store(pass)
  }

  /// The traffic of a slot with full blocks, for one sample.
  package func traffic(of slot: BlockSlot) -> Traffic {
    BlockExchange.traffic(of: slot, rank: slice) { hosts.hostRanks[$0] != nil }
  }

  /// What `rank` sends and receives of a slot with full blocks, for one sample; blocks of neighbours do not leave the host.
  package static func traffic(of slot: BlockSlot, rank: Int, isNeighbour: (Int) -> Bool) -> Traffic {
    var traffic = Traffic()
    for peer in slot.columnCounts.indices where peer != rank {
      let (sent, received) = (slot.outgoing[peer].count * 4, slot.incoming[peer].count * 4)
      if isNeighbour(peer) {
        traffic.messagesSent += sent > 0 ? 1 : 0
        traffic.hostBytesSent += sent
        traffic.hostBytesReceived += received
      } else {
        traffic.messagesSent += Mailbox.pieceCount(of: sent)
        traffic.networkBytesSent += sent
        traffic.networkBytesReceived += received
      }
    }
    return traffic
  }

  /// The block of a slot from `rank`, after waiting for it: samples × columns, valid until the pass ends.
  ///
  /// - Throws: `ExchangeError.timedOut`, naming the rank and the slot, if nothing arrives.
  public func block(_ slot: Int, from rank: Int) throws -> UnsafePointer<Float> {
    let memory = reserved
    let columns = memory.slots[slot].incoming[rank]
    try wait(for: "the exchange of \(memory.slots[slot].name)", awaited: { [rank] }, until: { isThere(slot, from: rank) })
    guard hosts.hostRanks[rank] != nil || rank == slice else { return UnsafePointer(memory.arrivals(in: slot, from: rank)) }
    return UnsafePointer(memory.values(of: slot, by: rank) + columns.lowerBound * sampleCount)
  }

  /// Ends the pass: this rank no longer reads any of its blocks.
  public func end() throws {
    // Blocks that this rank did not use must also have arrived before the next pass posts the same receives.
    try wait(for: "blocks that are still on their way", awaited: { peersUnderWay }, until: { !isUnderWay })
    leave()
  }

  /// Gives up on what has not arrived.
  public func abandon() { mailbox.abandon(keeping: self) }
}

// MARK: - What is there

extension BlockExchange {
  private var reserved: BlockMemory {
    guard let memory else { fatalError("blocks are exchanged before there is room for them") }
    return memory
  }

  /// Whether messages of the pass have yet to arrive or leave.
  package var isUnderWay: Bool { mailbox.isUnderWay }

  /// The ranks with messages under way in either direction.
  package var peersUnderWay: [Int] { mailbox.peers }

  /// Ends the pass; none of its messages is under way.
  package func leave() { reserved.ended(by: slice)?.store(pass) }

  /// Whether the block of a slot from `rank` has arrived.
  package func isThere(_ slot: Int, from rank: Int) -> Bool {
    guard rank != slice else { return true }
    guard let counter = reserved.published(slot, by: rank) else {
      return isPublished[slot] && mailbox.hasArrived(slot: slot, from: rank)
    }
    return counter.load() == pass
  }

  /// The neighbours that still read what this rank wrote in the last pass.
  package var readers: [Int] {
    guard let memory else { return [] }
    return (0..<sliceCount).filter { rank in
      rank != slice && memory.ended(by: rank).map { $0.load() < pass } ?? false
    }
  }

  /// Waits until no neighbour reads what this rank wrote in the last pass.
  private func settle() throws {
    try wait(for: "the end of the last pass", awaited: { readers }, until: { readers.isEmpty })
  }

  /// Lets MPI progress; returns whether a message arrived or left.
  @discardableResult
  package func progress() throws -> Bool { try mailbox.poll() }

  /// Progresses messages until `isDone`, and records the time spent.
  private func wait(for activity: String, awaited: () -> [Int], until isDone: () -> Bool) throws {
    if isDone() { return }
    let start = ContinuousClock.now
    defer {
      let end = ContinuousClock.now
      waiting += end - start
      observer?(start, end)
    }
    try withoutActuallyEscaping(awaited) { try mailbox.wait(for: activity, awaited: $0, until: isDone) }
  }
}
