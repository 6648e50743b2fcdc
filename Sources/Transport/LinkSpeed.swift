internal import Buffers
internal import MPI

/// The speed of the links between hosts, which determines how an exchange is cut into pieces.
public struct LinkSpeed: Hashable, Sendable {
  /// Seconds that a small message takes on the slowest link.
  public let latency: Double
  /// Bytes per second that a host sends and receives simultaneously on the slowest link.
  public let bytesPerSecond: Double

  /// Creates a link speed.
  public init(latency: Double, bytesPerSecond: Double) {
    self.latency = latency
    self.bytesPerSecond = bytesPerSecond
  }

  /// The fewest bytes of codes worth a bucket of their own: those that are on the wire for eight latencies.
  ///
  /// An exchange has two stages, and each bucket adds one latency to each of them; what a bucket gains is that it is under way
  /// while later layers are computed.
  public var leastBucketByteCount: Int { Int(min(8 * latency * bytesPerSecond, 1e12).rounded()) }
}

extension LinkSpeed {
  /// Small messages sent in turn, of which the fastest counts: delays of the others are not due to the link.
  private static let repetitions = 12
  /// The length of the stream, in messages that Open MPI sends eagerly.
  public static let pieces = 5
  private static let pieceByteCount = 49_152

  /// Measures the links of a ring of hosts, all at once; nil if all ranks are on one host.
  ///
  /// Collective. Takes a few latencies plus the time of 48 KB for each of `pieces`: 20 ms for 5 at 100 Mbit/s.
  ///
  /// - Throws: `ExchangeError.timedOut` naming the missing rank.
  public static func measured(between hosts: HostMap, pieces: Int = LinkSpeed.pieces) throws -> LinkSpeed? {
    let leaders = Set(hosts.leaders).sorted()
    guard leaders.count > 1 else { return nil }
    let world = try hosts.duplicate()
    var (latency, secondsPerByte) = (0.0, 0.0)
    if let place = leaders.firstIndex(of: hosts.world.rank) {
      let next = leaders[(place + 1) % leaders.count]
      let previous = leaders[(place + leaders.count - 1) % leaders.count]
      let ring = Ring(hosts, over: world, next: next, previous: previous)
      // The first ones open the connections.
      let times = try (0..<repetitions).map { _ in try ring.shift(pieces: 1, of: 64) }
      latency = times.dropFirst(2).min() ?? 0
      let seconds = try ring.shift(pieces: pieces, of: pieceByteCount)
      secondsPerByte = max(seconds - latency, 1e-9) / Double(pieces * pieceByteCount)
    }
    let records = try RecordExchange(hosts)
    let all = try records.gather([latency.bitPattern, secondsPerByte.bitPattern], activity: "the speed of the links")
    return LinkSpeed(
      latency: all.map { Double(bitPattern: $0[0]) }.max() ?? 0,
      bytesPerSecond: 1 / (all.map { Double(bitPattern: $0[1]) }.max() ?? 1))
  }
}

/// Passes messages to the next host while receiving from the previous one.
private final class Ring {
  private let next: Int
  private let previous: Int
  private let mailbox: Mailbox
  private let outgoing = ByteBuffer(count: 49_152)
  private let incoming = ByteBuffer(count: 49_152)

  init(_ hosts: HostMap, over world: Communicator, next: Int, previous: Int) {
    (self.next, self.previous) = (next, previous)
    mailbox = Mailbox(on: world, hosts.waitingRanks, slotCount: 1, receiveCount: 1, sendCount: 1)
  }

  /// Sends and receives the given number of messages; returns the seconds that it took.
  func shift(pieces: Int, of byteCount: Int) throws -> Double {
    let start = ContinuousClock.now
    var (sent, received) = (0, 0)
    /// Keeps one message under way in each direction.
    func carryOn() throws -> Bool {
      if mailbox.hasLeft(slot: 0, to: next), sent < pieces {
        try mailbox.send(UnsafeRawBufferPointer(outgoing.bytes(in: 0..<byteCount)), to: next, slot: 0)
        sent += 1
      }
      if mailbox.hasArrived(slot: 0, from: previous), received < pieces {
        try mailbox.receive(into: incoming.bytes(in: 0..<byteCount), from: previous, slot: 0)
      }
      return sent == pieces && received == pieces && !mailbox.isUnderWay
    }
    do {
      try mailbox.wait(
        for: "the speed of the links",
        awaited: { [self.mailbox.hasArrived(slot: 0, from: self.previous) ? self.next : self.previous] },
        arrived: { _, _, _ in received += 1 }, until: carryOn)
    } catch {
      mailbox.abandon(keeping: self)
      throw error
    }
    return (.now - start) / .seconds(1)
  }
}
