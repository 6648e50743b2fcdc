internal import Buffers
internal import MPI

/// Gives every rank a small record of every other rank: what all must agree on before a step may go on (whether a gradient is
/// finite, the number of samples, whether a rank was asked to stop), and the sums that are reported.
///
/// An all-gather of a few words, through shared memory within a host and by one message to each rank on other hosts, so that a
/// missing rank can be named. The caller sums in rank order, the same on every rank.
///
/// - Cost: 64 bytes to each other rank for up to seven words, in K − 1 messages; whole cache lines for more.
public final class RecordExchange {
  /// The number of 64-bit words that fit in a cache line along with the record's number.
  public static let usualCapacity = 7

  /// The number of 64-bit words a record has room for.
  public let capacity: Int
  /// The bytes of the largest record, which each slot has room for.
  private let byteCount: Int

  /// The traffic counted so far.
  public var traffic: Traffic { mailbox.traffic + hostTraffic }

  /// The traffic of one exchange of records of ``capacity`` words.
  public var predictedTraffic: Traffic { predictedTraffic(wordCount: capacity) }

  /// The traffic of one exchange of records of `wordCount` words.
  public func predictedTraffic(wordCount: Int) -> Traffic {
    RecordExchange.traffic(
      wordCount: wordCount, neighbours: hosts.host.map { $0.count - 1 } ?? 0, remoteRanks: hosts.remoteRanks.count)
  }

  /// The traffic of one exchange of records of `wordCount` words, for these numbers of neighbours and of ranks on other hosts.
  package static func traffic(wordCount: Int, neighbours: Int, remoteRanks: Int) -> Traffic {
    let byteCount = RecordExchange.byteCount(wordCount)
    var traffic = Traffic()
    traffic.networkBytesSent = remoteRanks * byteCount
    traffic.networkBytesReceived = traffic.networkBytesSent
    traffic.hostBytesSent = neighbours * byteCount
    traffic.hostBytesReceived = traffic.hostBytesSent
    traffic.messagesSent = neighbours + remoteRanks * Mailbox.pieceCount(of: byteCount)
    return traffic
  }

  /// The bytes of a record of `wordCount` words: its number and its words, in whole cache lines.
  private static func byteCount(_ wordCount: Int) -> Int {
    (8 + 8 * wordCount + SharedCounter.byteCount - 1) / SharedCounter.byteCount * SharedCounter.byteCount
  }

  private let hosts: HostMap
  private let mailbox: Mailbox
  /// Two slots, used in turn: no rank writes record n + 2 before every rank has read record n.
  private let slots: SharedSlots
  private let incoming: ByteBuffer
  private var hostTraffic = Traffic()
  /// The number of the last record, with which each record begins.
  private var number = 0
  /// The slot of the last record.
  private var slot: Int { number & 1 }
  /// The gather under way; nil between exchanges.
  private var underWay: Gathering?

  /// The records received so far.
  private struct Gathering {
    let wordCount: Int
    var records: [[UInt64]]
    var isAwaited: [Bool]
  }

  /// Prepares exchanges of records.
  ///
  /// Collective over the world of `hosts`.
  ///
  /// - Parameters:
  ///   - hosts: The ranks.
  ///   - patience: How long a rank may stay away; that of `hosts` by default.
  ///   - capacity: The number of 64-bit words a record has room for.
  public init(_ hosts: HostMap, patience: Patience? = nil, capacity: Int = usualCapacity) throws {
    self.hosts = hosts
    self.capacity = capacity
    byteCount = RecordExchange.byteCount(capacity)
    slots = try SharedSlots(hosts) { [byteCount] _ in [byteCount, byteCount] }
    let count = hosts.world.count
    incoming = ByteBuffer(count: 2 * count * byteCount)
    let pieceCount = 2 * hosts.remoteRanks.count * Mailbox.pieceCount(of: byteCount)
    mailbox = try Mailbox(hosts, slotCount: 2, receiveCount: pieceCount, sendCount: pieceCount, patience: patience)
  }

  /// The records of all ranks, in rank order.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - record: At most ``capacity`` words, the same number on every rank.
  ///   - activity: What is being agreed on, for the error message that names a missing rank.
  ///   - meanwhile: Called while waiting for others.
  /// - Throws: `ExchangeError` if a rank stays away; nothing can be gathered after that.
  public func gather(_ record: [UInt64], activity: String, meanwhile: (() -> Void)? = nil) throws -> [[UInt64]] {
    try begin(record)
    return try finish(activity: activity, meanwhile: meanwhile)
  }

  /// Sends this rank's record; ``finish(activity:meanwhile:patience:)`` receives those of the others; the caller may work in between.
  ///
  /// - Parameter record: At most ``capacity`` words, the same number on every rank.
  public func begin(_ record: [UInt64]) throws {
    require(record.count <= capacity, "a record has at most \(capacity) words")
    require(underWay == nil, "the records before are not gathered yet")
    let (rank, count) = (hosts.world.rank, hosts.world.count)
    underWay = Gathering(
      wordCount: record.count, records: Array(repeating: record, count: count), isAwaited: (0..<count).map { $0 != rank })
    number += 1
    guard count > 1 else { return }
    try abandoningOnError { try publish(record) }
  }

  /// The records of all ranks, in rank order, after ``begin(_:)``.
  ///
  /// - Parameters:
  ///   - activity: What is being agreed on, for the error message that names a missing rank.
  ///   - meanwhile: Called while waiting for others.
  ///   - patience: How long a rank may stay away; that of the exchange by default.
  /// - Throws: `ExchangeError` if a rank stays away; nothing can be gathered after that.
  public func finish(
    activity: String, meanwhile: (() -> Void)? = nil, patience: Patience? = nil
  ) throws -> [[UInt64]] {
    guard underWay != nil else { fatalError("no record was sent") }
    try abandoningOnError {
      try mailbox.wait(
        for: activity, awaited: { self.awaitedRanks }, meanwhile: meanwhile, patience: patience,
        arrived: { slot, rank, _ in try take(slot, from: rank, activity) }, until: { lookInMemory() })
    }
    return takeRecords()
  }

  /// Polls for records after ``begin(_:)``; returns those of all ranks once they have arrived.
  ///
  /// - Throws: `ExchangeError` if a rank is out of step; nothing can be gathered after that.
  package func look(activity: String) throws -> [[UInt64]]? {
    guard underWay != nil else { fatalError("no record was sent") }
    try abandoningOnError { _ = try mailbox.poll { slot, rank, _ in try take(slot, from: rank, activity) } }
    return lookInMemory() ? takeRecords() : nil
  }

  /// The ranks whose records have not arrived, or that have not received this rank's record.
  package var awaitedRanks: [Int] {
    guard let underWay else { return [] }
    return underWay.isAwaited.indices.filter { underWay.isAwaited[$0] || !mailbox.hasLeft(slot: slot, to: $0) }
  }

  /// Gives up on what has not arrived.
  public func abandon() {
    underWay = nil
    mailbox.abandon(keeping: self)
  }

  private func abandoningOnError(_ body: () throws -> Void) throws {
    do { try body() } catch {
      abandon()
      throw error
    }
  }

  private func takeRecords() -> [[UInt64]] {
    defer { underWay = nil }
    return underWay?.records ?? []
  }

  /// Reads what the ranks of this host have written; returns whether all records have arrived and all sends have left.
  ///
  /// A record that its receiver does not take is waited for like one that does not arrive.
  private func lookInMemory() -> Bool {
    for peer in hosts.hostRanks.indices where underWay?.isAwaited[peer] == true {
      guard slots.isShared(with: peer), slots.counter(inSlot: slot, of: peer).load() == number else { continue }
      take(slots.address(of: slot, by: peer), from: peer)
      mailbox.noteProgress()
    }
    return underWay.map { !$0.isAwaited.contains(true) && !mailbox.isSending } ?? false
  }

  private func take(_ line: UnsafeRawPointer, from peer: Int) {
    let wordCount = underWay?.wordCount ?? 0
    underWay?.records[peer] = read(wordCount, at: line)
    underWay?.isAwaited[peer] = false
  }

  /// Takes the record whose message, or last piece of it, has arrived.
  private func take(_ slot: Int, from peer: Int, _ activity: String) throws {
    guard mailbox.hasArrived(slot: slot, from: peer) else { return }
    let line = UnsafeRawPointer(incoming.baseAddress + (slot * hosts.world.count + peer) * byteCount)
    guard slot == self.slot, line.load(as: UInt64.self) == UInt64(number) else {
      throw ExchangeError.unexpectedMessage(from: hosts.name(of: peer), detail: "another record in \(activity)")
    }
    take(line, from: peer)
  }

  private func publish(_ record: [UInt64]) throws {
    let length = RecordExchange.byteCount(record.count)
    for peer in hosts.remoteRanks {
      let start = (slot * hosts.world.count + peer) * byteCount
      try mailbox.receive(into: incoming.bytes(in: start..<start + length), from: peer, slot: slot)
    }
    let line = slots.address(of: slot, by: hosts.world.rank)
    write(record, at: line)
    slots.counter(inSlot: slot, of: hosts.world.rank).store(number)
    let message = UnsafeRawBufferPointer(start: line, count: length)
    for peer in hosts.remoteRanks { try mailbox.send(message, to: peer, slot: slot) }
    guard let host = hosts.host else { return }
    hostTraffic.messagesSent += host.count - 1
    hostTraffic.hostBytesSent += (host.count - 1) * length
    hostTraffic.hostBytesReceived += (host.count - 1) * length
  }

  private func write(_ record: [UInt64], at line: UnsafeMutableRawPointer) {
    for (word, value) in record.enumerated() { line.storeBytes(of: value, toByteOffset: 8 + word * 8, as: UInt64.self) }
  }

  private func read(_ count: Int, at line: UnsafeRawPointer) -> [UInt64] {
    (0..<count).map { line.load(fromByteOffset: 8 + $0 * 8, as: UInt64.self) }
  }
}
