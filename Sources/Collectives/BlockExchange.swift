public import Buffers
internal import MPI

/// Exchanges blocks of matrices among the ranks of a group, in place inside a host and by messages between hosts.
///
/// What the stripes of a network need: in a *pass*, each rank writes a slot once, publishes it, and reads the blocks that the
/// others have published. Blocks are read where they lie in the memory of a neighbour; from another host they arrive in memory
/// that is posted before anything is sent. Nothing depends on who comes first. A rank overwrites a slot only in the next pass,
/// which begins when all its neighbours have ended this one.
///
/// - Cost: the bytes of the blocks that are meant for other ranks, one message for each up to 52 KB, pieces of that length beyond.
public final class BlockExchange {
  /// The traffic counted so far.
  public private(set) var traffic = Traffic()
  /// Time spent waiting for others so far.
  public private(set) var waiting = Duration.zero
  /// Told of every wait for others: its beginning and its end.
  public var observer: ((_ start: ContinuousClock.Instant, _ end: ContinuousClock.Instant) -> Void)?

  private let hosts: HostMap
  private let world: Communicator
  private var memory: BlockMemory?
  private var receives: RequestTable
  private var sends: RequestTable
  /// For each slot and rank, how many pieces of its block have not arrived in this pass; more than any before they are awaited.
  private var missing: [Int] = []
  /// For each slot and rank, the floats of its block in this pass.
  private var incomingCounts: [Int] = []
  /// For each slot and rank, the requests of its pieces begin here.
  private var firstReceives: [Int] = []
  private var firstSends: [Int] = []
  /// The slot and rank that a request belongs to, as an index like those above.
  private var ownersOfReceives: [Int] = []
  private var ownersOfSends: [Int] = []
  private var sampleCount = 0
  /// Passes begun since memory was reserved.
  private var pass = 0
  private var watchdog: Watchdog

  /// The floats of a message: 52 KB, for above 64 KB Open MPI would change to a slower protocol.
  private static let pieceLength = 13_312

  /// Prepares exchanges among the ranks of `hosts`; memory comes with ``reserve(_:sampleCount:)``.
  ///
  /// Collective.
  public init(_ hosts: HostMap) throws {
    self.hosts = hosts
    world = try hosts.duplicate()
    receives = RequestTable(on: world, slotCount: 0)
    sends = RequestTable(on: world, slotCount: 0)
    watchdog = Watchdog(hosts.waitingRanks)
  }

  /// This rank's number in the group.
  public var stripe: Int { world.rank }
  /// The number of ranks in the group.
  public var stripeCount: Int { world.count }

  /// Makes room for these slots and for as many samples; what they held is lost.
  ///
  /// Collective, outside of passes.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` where a host cannot give the memory.
  public func reserve(_ slots: [BlockSlot], sampleCount: Int) throws {
    precondition(slots.allSatisfy { $0.columnCounts.count == world.count }, "a slot has columns for each rank")
    try settle()
    try memory?.free()
    memory = try BlockMemory(slots, sampleCount: sampleCount, hosts: hosts)
    (firstReceives, ownersOfReceives) = requests(of: slots.map(\.incoming), sampleCount: sampleCount)
    (firstSends, ownersOfSends) = requests(of: slots.map(\.outgoing), sampleCount: sampleCount)
    receives = RequestTable(on: world, slotCount: ownersOfReceives.count)
    sends = RequestTable(on: world, slotCount: ownersOfSends.count)
    missing = Array(repeating: 0, count: slots.count * world.count)
    incomingCounts = missing
    pass = 0
  }

  /// The requests that blocks need: where those of each slot and rank begin, and whom each belongs to.
  private func requests(of blocks: [[Range<Int>]], sampleCount: Int) -> (firsts: [Int], owners: [Int]) {
    var (firsts, owners): ([Int], [Int]) = ([], [])
    for (index, block) in blocks.joined().enumerated() {
      firsts.append(owners.count)
      guard hosts.hostRanks[index % world.count] == nil else { continue }
      owners += Array(repeating: index, count: pieceCount(of: block.count * sampleCount))
    }
    return (firsts, owners)
  }

  /// The messages that a block of `count` floats takes.
  private func pieceCount(of count: Int) -> Int { (count + BlockExchange.pieceLength - 1) / BlockExchange.pieceLength }

  /// What message `number` of a block of `count` floats carries.
  private func piece(_ number: Int, of count: Int) -> Range<Int> {
    number * BlockExchange.pieceLength..<min((number + 1) * BlockExchange.pieceLength, count)
  }

  /// Begins a pass over `sampleCount` samples, as soon as nobody reads what the last one left; all ranks name the same number.
  public func begin(sampleCount: Int) throws {
    try settle()
    start(sampleCount: sampleCount)
  }

  /// Begins a pass; nobody reads what the last one left (``readers``).
  func start(sampleCount: Int) {
    let memory = reserved
    precondition(sampleCount <= memory.sampleCount, "\(sampleCount) samples where \(memory.sampleCount) have room")
    self.sampleCount = sampleCount
    for index in missing.indices { missing[index] = .max }
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
  ///   - lengths: Where blocks are not full: of the block for each rank, and of that from each rank, the floats from its start that
  ///     travel. Sender and receiver name the same.
  public func publish(_ slot: Int, lengths: (outgoing: [Int], incoming: [Int])?) throws {
    let memory = reserved
    let columns = memory.slots[slot]
    for peer in hosts.hostRanks.indices {
      let index = slot * world.count + peer
      let count = lengths?.incoming[peer] ?? columns.incoming[peer].count * sampleCount
      incomingCounts[index] = count
      missing[index] = 0
      guard peer != world.rank else { continue }
      guard hosts.hostRanks[peer] == nil else {
        traffic.hostBytesReceived += count * 4
        continue
      }
      missing[index] = pieceCount(of: count)
      let arrivals = memory.arrivals(in: slot, from: peer)
      for number in 0..<pieceCount(of: count) {
        let piece = piece(number, of: count)
        let bytes = UnsafeMutableRawBufferPointer(start: arrivals + piece.lowerBound, count: piece.count * 4)
        try receives.receive(into: bytes, from: peer, tag: slot, slot: firstReceives[index] + number)
        traffic.networkBytesReceived += bytes.count
      }
    }
    for peer in 0..<world.count where peer != world.rank {
      let count = lengths?.outgoing[peer] ?? columns.outgoing[peer].count * sampleCount
      guard count > 0 else { continue }
      guard hosts.hostRanks[peer] == nil else {
        traffic.messagesSent += 1
        traffic.hostBytesSent += count * 4
        continue
      }
      let index = slot * world.count + peer
      let values = memory.values(of: slot) + columns.outgoing[peer].lowerBound * sampleCount
      for number in 0..<pieceCount(of: count) {
        let piece = piece(number, of: count)
        let bytes = UnsafeRawBufferPointer(start: values + piece.lowerBound, count: piece.count * 4)
        try sends.send(bytes, to: peer, tag: slot, slot: firstSends[index] + number)
        traffic.messagesSent += 1
        traffic.networkBytesSent += bytes.count
      }
    }
    memory.published(slot, by: world.rank)?.store(pass)
  }

  /// The traffic of a slot whose blocks are full, for one sample.
  func traffic(of slot: BlockSlot) -> Traffic {
    var traffic = Traffic()
    for peer in 0..<world.count where peer != world.rank {
      let (sent, received) = (slot.outgoing[peer].count, slot.incoming[peer].count)
      if hosts.hostRanks[peer] != nil {
        traffic.messagesSent += sent > 0 ? 1 : 0
        traffic.hostBytesSent += sent * 4
        traffic.hostBytesReceived += received * 4
      } else {
        traffic.messagesSent += pieceCount(of: sent)
        traffic.networkBytesSent += sent * 4
        traffic.networkBytesReceived += received * 4
      }
    }
    return traffic
  }

  /// The block of a slot that comes from `rank`, once it is there: samples × columns, to be read until the pass ends.
  ///
  /// - Throws: `ExchangeError.timedOut` naming the rank and the slot where nothing comes.
  public func block(_ slot: Int, from rank: Int) throws -> UnsafePointer<Float> {
    let memory = reserved
    let columns = memory.slots[slot].incoming[rank]
    guard rank != world.rank else {
      return UnsafePointer(memory.values(of: slot) + columns.lowerBound * sampleCount)
    }
    guard let counter = memory.published(slot, by: rank) else {
      let index = slot * world.count + rank
      try wait(for: "the exchange of \(memory.slots[slot].name)", from: { [rank] }, until: { self.missing[index] == 0 })
      return UnsafePointer(memory.arrivals(in: slot, from: rank))
    }
    let pass = pass
    try wait(for: "the exchange of \(memory.slots[slot].name)", from: { [rank] }, until: { counter.load() == pass })
    return UnsafePointer(memory.values(of: slot, by: rank) + columns.lowerBound * sampleCount)
  }

  /// Ends the pass: this rank reads nothing of it any more.
  public func end() throws {
    // What this rank had no use for must have come in, too, before the next pass posts the same receives.
    try wait(for: "blocks that are still on their way", from: { self.peersUnderWay }, until: { !self.isUnderWay })
    leave()
  }

  /// Whether messages of the pass have not arrived or not left.
  var isUnderWay: Bool { receives.activeCount + sends.activeCount > 0 }

  /// Ends the pass; nothing of it is under way.
  func leave() { reserved.ended(by: world.rank)?.store(pass) }

  /// Whether the block of a slot is there that comes from `rank`.
  func isThere(_ slot: Int, from rank: Int) -> Bool {
    guard rank != world.rank else { return true }
    guard let counter = reserved.published(slot, by: rank) else { return missing[slot * world.count + rank] == 0 }
    return counter.load() == pass
  }

  /// Gives up what has not arrived.
  public func abandon() {
    receives.cancelAll()
    sends.cancelAll()
  }
}

// MARK: - Waiting

extension BlockExchange {
  private var reserved: BlockMemory {
    guard let memory else { preconditionFailure("blocks are exchanged before there is room for them") }
    return memory
  }

  /// The ranks to or from which messages are under way.
  var peersUnderWay: [Int] {
    let received = ownersOfReceives.indices.filter { receives.isActive(slot: $0) }.map { ownersOfReceives[$0] }
    let sent = ownersOfSends.indices.filter { sends.isActive(slot: $0) }.map { ownersOfSends[$0] }
    return Set((received + sent).map { $0 % world.count }).sorted()
  }

  /// The neighbours that still read what this rank wrote in the last pass.
  var readers: [Int] {
    guard let memory else { return [] }
    return (0..<world.count).filter { rank in
      rank != world.rank && memory.ended(by: rank).map { $0.load() < pass } ?? false
    }
  }

  /// Waits until no neighbour reads what this rank wrote in the last pass.
  private func settle() throws {
    try wait(for: "the end of the last pass", from: { self.readers }, until: { self.readers.isEmpty })
  }

  /// Lets messages come and go until `isThere`; names those who are awaited where nothing happens for too long.
  private func wait(for activity: String, from awaited: () -> [Int], until isThere: () -> Bool) throws {
    if isThere() { return }
    let start = ContinuousClock.now
    defer {
      let end = ContinuousClock.now
      waiting += end - start
      observer?(start, end)
    }
    watchdog.progress()
    while !isThere() {
      if try progress() {
        watchdog.progress()
      } else {
        try watchdog.idle { seconds in
          .timedOut(activity: activity, awaited: awaited().map(hosts.name), seconds: seconds)
        }
      }
    }
  }

  /// One turn of MPI; whether a message came or went.
  @discardableResult
  func progress() throws -> Bool {
    let received = try receives.testSome { request, byteCount in
      let index = ownersOfReceives[request]
      let (slot, rank) = index.quotientAndRemainder(dividingBy: world.count)
      let columns = reserved.slots[slot]
      let piece = piece(request - firstReceives[index], of: incomingCounts[index])
      guard byteCount == piece.count * 4 else {
        throw ExchangeError.unexpectedMessage(
          from: hosts.name(of: rank), detail: "\(byteCount) bytes for \(columns.name) of \(sampleCount) samples")
      }
      missing[index] -= 1
    }
    let sent = try sends.testSome { _, _ in }
    return received + sent > 0
  }
}
