internal import Buffers
internal import MPI

/// Gives every rank a small record of every other rank: what all must agree on before a step may go on (whether a gradient is
/// finite, how many samples there are, whether somebody was asked to stop), and the sums that are reported.
///
/// An all-gather of a few words, by shared memory inside a host and by one message to each rank of other hosts, so that
/// a rank that stays away can be named. Sums are taken by the caller in rank order, the same on every rank.
///
/// - Cost: 64 bytes to each other rank for up to seven words, in K − 1 messages.
public final class RecordExchange {
  /// The number of 64-bit words that fit in a cache line with the number of the round.
  public static let usualCapacity = 7

  /// The number of 64-bit words a record has room for.
  public let capacity: Int
  /// The bytes of a record: the number of its round and its words, in whole cache lines.
  private let byteCount: Int

  /// The traffic counted so far.
  public private(set) var traffic = Traffic()

  /// The traffic of one exchange.
  public var predictedTraffic: Traffic {
    var traffic = Traffic()
    let neighbours = hosts.host.map { $0.count - 1 } ?? 0
    traffic.networkBytesSent = hosts.remoteRanks.count * byteCount
    traffic.networkBytesReceived = traffic.networkBytesSent
    traffic.hostBytesSent = neighbours * byteCount
    traffic.hostBytesReceived = traffic.hostBytesSent
    traffic.messagesSent = world.count - 1
    return traffic
  }

  private let hosts: HostMap
  private let world: Communicator
  private let window: SharedWindow?
  private let incoming: ByteBuffer
  private let outgoing: ByteBuffer
  private let receives: RequestTable
  private let sends: RequestTable
  private var watchdog: Watchdog
  private var round = 0
  /// What is gathered; nil between rounds.
  private var underWay: Gathering?

  /// The records of a round, as far as they have come.
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
  ///   - patience: How long a rank may stay away; that of `hosts` where nothing else is said.
  ///   - capacity: The number of 64-bit words a record has room for.
  public init(_ hosts: HostMap, patience: Patience? = nil, capacity: Int = usualCapacity) throws {
    self.hosts = hosts
    self.capacity = capacity
    byteCount = (8 + 8 * capacity + SharedCounter.byteCount - 1) / SharedCounter.byteCount * SharedCounter.byteCount
    outgoing = ByteBuffer(count: 2 * byteCount)
    world = try hosts.duplicate()
    // Two slots, used in turn: nobody writes round n + 2 before everybody has read round n.
    window = try hosts.window(byteCount: 2 * byteCount)
    incoming = ByteBuffer(count: 2 * world.count * byteCount)
    receives = RequestTable(on: world, slotCount: 2 * world.count)
    sends = RequestTable(on: world, slotCount: 2 * world.count)
    watchdog = Watchdog(hosts.waitingRanks(with: patience ?? hosts.patience))
  }

  /// The records of all ranks, in rank order.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - record: At most ``capacity`` words, as many on every rank.
  ///   - activity: What is being agreed on, for the sentence that names a missing rank.
  ///   - meanwhile: Called while others are awaited.
  /// - Throws: `ExchangeError` where a rank stays away; nothing can be gathered after that.
  public func gather(_ record: [UInt64], activity: String, meanwhile: (() -> Void)? = nil) throws -> [[UInt64]] {
    try begin(record)
    return try finish(activity: activity, meanwhile: meanwhile)
  }

  /// Sends the record of this rank; what the others say is taken by ``finish(activity:meanwhile:)``, and until then it travels while
  /// the caller does something else.
  ///
  /// - Parameter record: At most ``capacity`` words, as many on every rank.
  public func begin(_ record: [UInt64]) throws {
    precondition(record.count <= capacity, "a record has at most \(capacity) words")
    precondition(underWay == nil, "the records before are not gathered yet")
    var isAwaited = Array(repeating: true, count: world.count)
    isAwaited[world.rank] = false
    underWay = Gathering(
      wordCount: record.count, records: Array(repeating: record, count: world.count), isAwaited: isAwaited)
    round += 1
    guard world.count > 1 else { return }
    do { try publish(record, slot: round & 1) } catch {
      abandon()
      throw error
    }
  }

  /// The records of all ranks, in rank order, after ``begin(_:)``.
  ///
  /// - Parameters:
  ///   - activity: What is being agreed on, for the sentence that names a missing rank.
  ///   - meanwhile: Called while others are awaited.
  /// - Throws: `ExchangeError` where a rank stays away; nothing can be gathered after that.
  public func finish(activity: String, meanwhile: (() -> Void)? = nil) throws -> [[UInt64]] {
    watchdog.progress()
    while true {
      let (records, hasProgressed) = try look(activity: activity)
      if let records { return records }
      if hasProgressed {
        watchdog.progress()
      } else {
        meanwhile?()
        do {
          try watchdog.idle { .timedOut(activity: activity, awaited: awaitedRanks.map(hosts.name), seconds: $0) }
        } catch {
          abandon()
          throw error
        }
      }
    }
  }

  /// Looks what has arrived after ``begin(_:)``: the records of all ranks once they are there, and whether anything has come or gone.
  ///
  /// - Throws: `ExchangeError` where a rank is out of step; nothing can be gathered after that.
  func look(activity: String) throws -> (records: [[UInt64]]?, hasProgressed: Bool) {
    guard underWay != nil else { preconditionFailure("no record was sent") }
    do {
      let hasProgressed = try receive(activity)
      // A message that its receiver does not take is waited for like one that does not come.
      guard let gathering = underWay, !gathering.isAwaited.contains(true), sends.activeCount == 0 else {
        return (nil, hasProgressed)
      }
      underWay = nil
      return (gathering.records, true)
    } catch {
      abandon()
      throw error
    }
  }

  /// The ranks whose records have not come, or that have not taken this one's.
  var awaitedRanks: [Int] {
    guard let underWay else { return [] }
    return underWay.isAwaited.indices.filter {
      underWay.isAwaited[$0] || sends.isActive(slot: (round & 1) * world.count + $0)
    }
  }

  /// Takes the records that have arrived; returns whether anything came or went.
  private func receive(_ activity: String) throws -> Bool {
    let (slot, wordCount) = (round & 1, underWay?.wordCount ?? 0)
    var hasProgressed = false
    func take(_ line: UnsafeRawPointer, from peer: Int) {
      underWay?.records[peer] = read(wordCount, at: line)
      underWay?.isAwaited[peer] = false
      hasProgressed = true
    }
    for peer in 0..<world.count where underWay?.isAwaited[peer] == true {
      guard let hostRank = hosts.hostRanks[peer] else { continue }
      let memory = window!.memory(of: hostRank)
      guard counter(in: memory, slot: slot).load() == round else { continue }
      take(memory.baseAddress! + slot * byteCount, from: peer)
    }
    if receives.activeCount > 0 {
      _ = try receives.testSome { index, byteCount in
        let peer = index - slot * world.count
        let line = UnsafeRawPointer(incoming.baseAddress + index * self.byteCount)
        guard byteCount == self.byteCount, line.load(as: UInt64.self) == UInt64(round) else {
          throw ExchangeError.unexpectedMessage(from: hosts.name(of: peer), detail: "\(byteCount) bytes in \(activity)")
        }
        take(line, from: peer)
      }
    }
    return try sends.testSome { _, _ in } > 0 || hasProgressed
  }

  /// Gives up what has not arrived.
  public func abandon() {
    underWay = nil
    receives.cancelAll()
    sends.cancelAll()
  }

  private func publish(_ record: [UInt64], slot: Int) throws {
    for peer in hosts.remoteRanks {
      let index = slot * world.count + peer
      let start = index * byteCount
      try receives.receive(into: incoming.bytes(in: start..<start + byteCount), from: peer, tag: slot, slot: index)
    }
    let line = outgoing.baseAddress + slot * byteCount
    write(record, at: line)
    line.storeBytes(of: UInt64(round), as: UInt64.self)
    for peer in hosts.remoteRanks {
      let message = UnsafeRawBufferPointer(start: line, count: byteCount)
      try sends.send(message, to: peer, tag: slot, slot: slot * world.count + peer)
      traffic.networkBytesSent += byteCount
    }
    traffic.networkBytesReceived += hosts.remoteRanks.count * byteCount
    traffic.messagesSent += world.count - 1
    if let window, let host = hosts.host {
      let memory = window.memory(of: host.rank)
      write(record, at: memory.baseAddress! + slot * byteCount)
      counter(in: memory, slot: slot).store(round)
      traffic.hostBytesSent += (host.count - 1) * byteCount
      traffic.hostBytesReceived += (host.count - 1) * byteCount
    }
  }

  private func counter(in memory: UnsafeMutableRawBufferPointer, slot: Int) -> SharedCounter {
    SharedCounter(in: memory, index: slot * byteCount / SharedCounter.byteCount)
  }

  private func write(_ record: [UInt64], at line: UnsafeMutableRawPointer) {
    for (word, value) in record.enumerated() { line.storeBytes(of: value, toByteOffset: 8 + word * 8, as: UInt64.self) }
  }

  private func read(_ count: Int, at line: UnsafeRawPointer) -> [UInt64] {
    (0..<count).map { line.load(fromByteOffset: 8 + $0 * 8, as: UInt64.self) }
  }
}
