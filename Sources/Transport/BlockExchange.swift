public import Buffers
internal import MPI

/// Exchanges blocks of matrices among the ranks of a group, in place inside a host and by messages between hosts.
///
/// What the slices of a network need: in a *pass*, each rank writes a slot once, publishes it, and reads the blocks that the
/// others have published. Blocks are read where they lie in the memory of a neighbour; from another host they arrive in memory
/// that is posted before anything is sent. Nothing depends on which rank comes first. A rank overwrites a slot only in the next pass,
/// which begins when all its neighbours have ended this one.
///
/// - Cost: the bytes of the blocks that are meant for other ranks, one message for each up to 52 KB, pieces of that length beyond.
public final class BlockExchange {
  /// The traffic counted so far.
  public var traffic: Traffic { mailbox.traffic + hostTraffic }
  /// Time spent waiting for others so far.
  public private(set) var waiting = Duration.zero
  /// Called with the beginning and the end of every wait for others.
  public var observer: ((_ start: ContinuousClock.Instant, _ end: ContinuousClock.Instant) -> Void)?

  private let hosts: HostMap
  private let mailbox: Mailbox
  private var memory: BlockMemory?
  private var hostTraffic = Traffic()
  /// The slots that were published in this pass.
  private var isPublished: [Bool] = []
  private var sampleCount = 0
  /// Passes begun since memory was reserved.
  private var pass = 0

  /// Prepares exchanges among the ranks of `hosts`; memory comes with ``reserve(_:sampleCount:)``.
  ///
  /// Collective.
  public init(_ hosts: HostMap) throws {
    self.hosts = hosts
    mailbox = try Mailbox(hosts, slotCount: 0, receiveCount: 0, sendCount: 0)
  }

  /// This rank's number in the group.
  public var slice: Int { hosts.world.rank }
  /// The number of ranks in the group.
  public var sliceCount: Int { hosts.world.count }

  /// Makes room for these slots and for as many samples; what they held is lost.
  ///
  /// Collective, outside of passes.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` if a host cannot give the memory.
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

  /// Begins a pass over `sampleCount` samples as soon as no rank reads what the last one left; all ranks give the same number.
  public func begin(sampleCount: Int) throws {
    try settle()
    start(sampleCount: sampleCount)
  }

  /// Begins a pass; no rank reads what the last one left (``readers``).
  package func start(sampleCount: Int) {
    let memory = reserved
    require(sampleCount <= memory.sampleCount, "\(sampleCount) samples where \(memory.sampleCount) have room")
    self.sampleCount = sampleCount
    for slot in isPublished.indices { isPublished[slot] = false }
    pass += 1
  }

  /// Where this rank writes a slot.
  public func values(of slot: Int) -> UnsafeMutablePointer<Float> { reserved.values(of: slot) }

  /// Lets the other ranks read what this one has written to a slot.
  public func publish(_ slot: Int) throws { try publish(slot, lengths: nil) }

  /// Lets the other ranks read what this one has written to a slot.
  ///
  /// - Parameters:
  ///   - slot: The slot.
  ///   - lengths: If blocks are not full: of the block for each rank, and of that from each rank, the floats from its start that
  ///     travel. Sender and receiver give the same.
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

  /// The traffic of a slot whose blocks are full, for one sample.
  package func traffic(of slot: BlockSlot) -> Traffic {
    BlockExchange.traffic(of: slot, rank: slice) { hosts.hostRanks[$0] != nil }
  }

  /// What `rank` sends and receives of a slot whose blocks are full, for one sample; those of neighbours do not leave the host.
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

  /// The block of a slot that comes from `rank`, once it is there: samples × columns, valid until the pass ends.
  ///
  /// - Throws: `ExchangeError.timedOut` naming the rank and the slot if nothing comes.
  public func block(_ slot: Int, from rank: Int) throws -> UnsafePointer<Float> {
    let memory = reserved
    let columns = memory.slots[slot].incoming[rank]
    try wait(for: "the exchange of \(memory.slots[slot].name)", awaited: { [rank] }, until: { isThere(slot, from: rank) })
    guard hosts.hostRanks[rank] != nil || rank == slice else { return UnsafePointer(memory.arrivals(in: slot, from: rank)) }
    return UnsafePointer(memory.values(of: slot, by: rank) + columns.lowerBound * sampleCount)
  }

  /// Ends the pass: this rank reads nothing of it any more.
  public func end() throws {
    // What this rank had no use for must have come in, too, before the next pass posts the same receives.
    try wait(for: "blocks that are still on their way", awaited: { peersUnderWay }, until: { !isUnderWay })
    leave()
  }

  /// Gives up what has not arrived.
  public func abandon() { mailbox.abandon(keeping: self) }
}

// MARK: - What is there

extension BlockExchange {
  private var reserved: BlockMemory {
    guard let memory else { fatalError("blocks are exchanged before there is room for them") }
    return memory
  }

  /// Whether messages of the pass have not arrived or not left.
  package var isUnderWay: Bool { mailbox.isUnderWay }

  /// The ranks to or from which messages are under way.
  package var peersUnderWay: [Int] { mailbox.peers }

  /// Ends the pass; nothing of it is under way.
  package func leave() { reserved.ended(by: slice)?.store(pass) }

  /// Whether the block of a slot from `rank` is there.
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

  /// Lets MPI work; returns whether a message came or went.
  @discardableResult
  package func progress() throws -> Bool { try mailbox.poll() }

  /// Lets messages come and go until `isDone`, and notes the time.
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
