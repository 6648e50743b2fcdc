internal import Buffers
internal import MPI

/// Gives every rank a small record of every other rank: what all must agree on before a step may go on (whether a gradient is
/// finite, how many samples there are, whether somebody was asked to stop), and the sums that are reported.
///
/// An all-gather of at most eight words, by shared memory inside a host and by one message to each rank of other hosts, so that
/// a rank that stays away can be named. Sums are taken by the caller in rank order, the same on every rank.
///
/// - Cost: 64 bytes to each other rank, in K − 1 messages.
public final class RecordExchange {
  /// The number of 64-bit words a record has room for.
  public static let capacity = 7
  private static let line = SharedCounter.byteCount

  /// The traffic counted so far.
  public private(set) var traffic = Traffic()

  private let hosts: HostMap
  private let world: Communicator
  private let window: SharedWindow?
  private let incoming: ByteBuffer
  private let outgoing = ByteBuffer(count: 2 * RecordExchange.line)
  private let receives: RequestTable
  private let sends: RequestTable
  private var watchdog: Watchdog
  private var round = 0

  /// Prepares exchanges of records.
  ///
  /// Collective over the world of `hosts`.
  public init(_ hosts: HostMap, timeout: Duration = .seconds(60)) throws {
    self.hosts = hosts
    world = try hosts.world.duplicate()
    // Two slots, used in turn: nobody writes round n + 2 before everybody has read round n.
    window = try hosts.window(byteCount: 2 * RecordExchange.line)
    incoming = ByteBuffer(count: 2 * world.count * RecordExchange.line)
    receives = RequestTable(on: world, slotCount: 2 * world.count)
    sends = RequestTable(on: world, slotCount: 2 * world.count)
    watchdog = Watchdog(limit: timeout)
  }

  /// The records of all ranks, in rank order.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - record: At most ``capacity`` words, as many on every rank.
  ///   - activity: What is being agreed on, for the sentence that names a missing rank.
  public func gather(_ record: [UInt64], activity: String) throws -> [[UInt64]] {
    precondition(record.count <= RecordExchange.capacity, "a record has at most \(RecordExchange.capacity) words")
    guard world.count > 1 else { return [record] }
    round += 1
    let slot = round & 1
    var isAwaited = Array(repeating: true, count: world.count)
    isAwaited[world.rank] = false
    try publish(record, slot: slot)
    watchdog.progress()
    var records = Array(repeating: record, count: world.count)
    while isAwaited.contains(true) {
      var hasProgressed = false
      for peer in 0..<world.count where isAwaited[peer] {
        guard let hostRank = hosts.hostRanks[peer] else { continue }
        let memory = window!.memory(of: hostRank)
        guard SharedCounter(in: memory, index: slot).load() == round else { continue }
        records[peer] = read(record.count, at: memory.baseAddress! + slot * RecordExchange.line)
        isAwaited[peer] = false
        hasProgressed = true
      }
      if receives.activeCount > 0 {
        _ = try receives.testSome { index, byteCount in
          let peer = index - slot * world.count
          let line = UnsafeRawPointer(incoming.baseAddress + index * RecordExchange.line)
          guard byteCount == RecordExchange.line, line.load(as: UInt64.self) == UInt64(round) else {
            throw ExchangeError.unexpectedMessage(from: hosts.name(of: peer), detail: "\(byteCount) bytes in \(activity)")
          }
          records[peer] = read(record.count, at: line)
          isAwaited[peer] = false
          hasProgressed = true
        }
      }
      if hasProgressed {
        watchdog.progress()
      } else {
        try watchdog.idle { seconds in
          let awaited = isAwaited.indices.filter { isAwaited[$0] }.map(hosts.name)
          return ExchangeError.timedOut(activity: activity, awaited: awaited, seconds: seconds)
        }
      }
    }
    if sends.activeCount > 0 { try sends.waitAll() }
    return records
  }

  /// Gives up what has not arrived.
  public func abandon() {
    receives.cancelAll()
    sends.cancelAll()
  }

  private func publish(_ record: [UInt64], slot: Int) throws {
    for peer in hosts.remoteRanks {
      let index = slot * world.count + peer
      let start = index * RecordExchange.line
      try receives.receive(into: incoming.bytes(in: start..<start + RecordExchange.line), from: peer, tag: slot, slot: index)
    }
    let line = outgoing.baseAddress + slot * RecordExchange.line
    write(record, at: line)
    line.storeBytes(of: UInt64(round), as: UInt64.self)
    for peer in hosts.remoteRanks {
      let message = UnsafeRawBufferPointer(start: line, count: RecordExchange.line)
      try sends.send(message, to: peer, tag: slot, slot: slot * world.count + peer)
      traffic.networkBytesSent += RecordExchange.line
    }
    traffic.networkBytesReceived += hosts.remoteRanks.count * RecordExchange.line
    traffic.messagesSent += world.count - 1
    if let window, let host = hosts.host {
      let memory = window.memory(of: host.rank)
      write(record, at: memory.baseAddress! + slot * RecordExchange.line)
      SharedCounter(in: memory, index: slot).store(round)
      traffic.hostBytesSent += (host.count - 1) * RecordExchange.line
      traffic.hostBytesReceived += (host.count - 1) * RecordExchange.line
    }
  }

  private func write(_ record: [UInt64], at line: UnsafeMutableRawPointer) {
    for (word, value) in record.enumerated() { line.storeBytes(of: value, toByteOffset: 8 + word * 8, as: UInt64.self) }
  }

  private func read(_ count: Int, at line: UnsafeRawPointer) -> [UInt64] {
    (0..<count).map { line.load(fromByteOffset: 8 + $0 * 8, as: UInt64.self) }
  }
}
