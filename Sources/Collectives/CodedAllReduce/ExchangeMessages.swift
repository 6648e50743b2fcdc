internal import Buffers
internal import Codecs
internal import MPI
internal import Transport

/// The messages of one exchange to and from the ranks of other hosts, one per segment.
///
/// This rank receives contributions to its own shard, and sums of other shards for its party if it is the party's agent. All
/// receives are posted before anything is encoded. Messages of one sender, stage and communicator arrive in the order in which
/// they were sent, and those of the next exchange cannot match this one's receives, which its own messages take; so neither
/// sequence numbers nor barriers are needed.
final class ExchangeMessages {
  /// 1 for contributions on the way to their owner, 2 for sums on the way back.
  typealias Stage = UInt8

  private struct Expected {
    let stage: Stage
    let sender: Int
    let segment: Segment
    let memory: UnsafeMutableRawBufferPointer
    /// The number of bytes that have arrived; nil before arrival.
    var arrived: Int?
  }

  private let world: Communicator
  private let geometry: ExchangeGeometry
  private let hosts: HostMap
  private let codecHash: UInt64
  private let codec: any Codec
  private var expected: [Expected] = []
  /// The first entry of `expected` for each stage and sender.
  private var first: [[Int]]
  private let receives: RequestTable
  private let sends: RequestTable
  /// The receiver of the message in each slot of `sends`.
  private var receivers: [Int] = []
  /// Contributions of remote ranks to this rank's shard.
  private let contributions: [ByteBuffer?]
  private var header = MessageHeader(
    stage: 0, codec: 0, step: 0, shard: 0, segment: 0, payloadByteCount: 0, sender: 0, samples: 0)

  /// Prepares for the messages required by `geometry` and `routes`, on a communicator of its own.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - geometry: What is exchanged.
  ///   - routes: The senders and receivers.
  ///   - hosts: The ranks.
  ///   - codec: The codec of the messages.
  ///   - arrivals: Where sums arrive, at the offsets of the geometry.
  init(
    _ geometry: ExchangeGeometry, routes: ExchangeRoutes, hosts: HostMap, codec: any Codec, arrivals: UnsafeMutableRawPointer
  ) throws {
    world = try hosts.duplicate()
    self.geometry = geometry
    self.hosts = hosts
    self.codec = codec
    codecHash = XXHash64.hash(codec.specification)
    let me = world.rank
    first = Array(repeating: Array(repeating: 0, count: world.count), count: 3)
    let own = geometry.codeSpace(ofShard: me)
    let contributors = routes.contributors(toShard: me)
    var buffers = [ByteBuffer?](repeating: nil, count: world.count)
    var outgoing = 0
    // The nearest neighbour below sends to this rank first.
    for distance in 1..<max(world.count, 2) {
      let peer = (me - distance + world.count) % world.count
      guard peer != me, !routes.areOnOneHost(peer, me) else { continue }
      if contributors.contains(peer) {
        let buffer = ByteBuffer(count: own.count)
        buffers[peer] = buffer
        first[1][peer] = expected.count
        for segment in geometry.segments[me] {
          let start = segment.headerOffset - own.lowerBound
          let memory = buffer.bytes(in: start..<start + segment.messageByteCount)
          expected.append(Expected(stage: 1, sender: peer, segment: segment, memory: memory))
        }
        outgoing += geometry.segments[me].count
      }
      // If this rank contributes to a shard, it receives the sum.
      guard routes.contributes(me, toShard: peer) else { continue }
      first[2][peer] = expected.count
      for segment in geometry.segments[peer] {
        let memory = UnsafeMutableRawBufferPointer(start: arrivals + segment.headerOffset, count: segment.messageByteCount)
        expected.append(Expected(stage: 2, sender: peer, segment: segment, memory: memory))
      }
      outgoing += geometry.segments[peer].count
    }
    contributions = buffers
    receives = RequestTable(on: world, slotCount: expected.count)
    sends = RequestTable(on: world, slotCount: outgoing)
  }

  /// The address at which the contributions of `rank` to this rank's shard arrive; offsets count from its own code space.
  func contributions(of rank: Int) -> UnsafeRawPointer { UnsafeRawPointer(contributions[rank]!.baseAddress) }

  /// Posts every receive of the exchange of `step`.
  func begin(step: Int, samples: Int) throws {
    header.codec = codecHash
    header.step = UInt64(step)
    header.samples = UInt64(samples)
    header.sender = UInt32(world.rank)
    receivers.removeAll(keepingCapacity: true)
    for slot in expected.indices {
      expected[slot].arrived = nil
      let next = expected[slot]
      try receives.receive(into: next.memory, from: next.sender, tag: Int(next.stage), slot: slot)
    }
  }

  /// Writes the header of `segment` in front of its codes, once: while a message is under way its memory must not change.
  func writeHeader(of segment: Segment, payloadByteCount: Int, stage: Stage, at memory: UnsafeMutableRawPointer) {
    header.stage = stage
    header.shard = UInt32(segment.shard)
    header.segment = UInt32(segment.index)
    header.payloadByteCount = UInt32(payloadByteCount)
    header.write(to: memory)
  }

  /// Sends a segment, header and codes, to one of its receivers.
  func send(_ message: UnsafeRawBufferPointer, stage: Stage, to rank: Int) throws {
    try sends.send(message, to: rank, tag: Int(stage), slot: receivers.count)
    receivers.append(rank)
  }

  /// Lets MPI progress, and reports each further segment that has arrived, in order, by stage and sender.
  func poll(_ arrived: (_ stage: Stage, _ sender: Int, _ byteCount: Int) -> Void, available: (Stage, Int) -> Int) throws {
    guard receives.activeCount > 0 else {
      _ = try sends.testSome { _, _ in }
      return
    }
    _ = try receives.testSome { slot, byteCount in
      try verify(expected[slot], byteCount: byteCount)
      expected[slot].arrived = byteCount
      let (stage, sender) = (expected[slot].stage, expected[slot].sender)
      let count = stage == 1 ? geometry.segments[world.rank].count : geometry.segments[sender].count
      // A segment counts once all segments before it have arrived.
      while case let next = available(stage, sender), next < count,
        let byteCount = expected[first[Int(stage)][sender] + next].arrived
      {
        arrived(stage, sender, byteCount)
      }
    }
  }

  /// Whether all sends have completed, so that their memory may be overwritten.
  func haveAllLeft() throws -> Bool {
    if sends.activeCount > 0 { _ = try sends.testSome { _, _ in } }
    return sends.activeCount == 0
  }

  /// Whether some sends are still pending.
  var areLeaving: Bool { sends.activeCount > 0 }

  /// The ranks that have not yet taken a message.
  var slowReceivers: [Int] { Set(receivers.indices.filter { sends.isActive(slot: $0) }.map { receivers[$0] }).sorted() }

  /// Cancels all pending receives and sends.
  func abandon() {
    receives.cancelAll()
    sends.cancelAll()
  }

  private func verify(_ expected: Expected, byteCount: Int) throws {
    let sender = hosts.name(of: expected.sender)
    let isPossible =
      codec.hasVaryingLength
      ? (MessageHeader.byteCount...expected.memory.count).contains(byteCount) : byteCount == expected.memory.count
    guard isPossible, let header = MessageHeader(reading: expected.memory.baseAddress!) else {
      throw ExchangeError.unexpectedMessage(
        from: sender, detail: "\(byteCount) bytes without a header of ours, \(expected.memory.count) expected")
    }
    var wanted = self.header
    wanted.stage = expected.stage
    wanted.shard = UInt32(expected.segment.shard)
    wanted.segment = UInt32(expected.segment.index)
    wanted.payloadByteCount = UInt32(byteCount - MessageHeader.byteCount)
    wanted.sender = UInt32(expected.sender)
    guard header == wanted else {
      throw ExchangeError.unexpectedMessage(
        from: sender,
        detail: "stage \(header.stage) step \(header.step) shard \(header.shard) segment \(header.segment), expected stage "
          + "\(wanted.stage) step \(wanted.step) shard \(wanted.shard) segment \(wanted.segment), same codec and sample count"
      )
    }
    let payload = UnsafeRawBufferPointer(rebasing: expected.memory[MessageHeader.byteCount..<byteCount])
    guard !codec.hasVaryingLength || areCodes(payload, of: expected.segment) else {
      throw ExchangeError.unexpectedMessage(
        from: sender, detail: "\(payload.count) bytes that are no codes of \(codec.specification) for segment \(header.segment)"
      )
    }
  }

  /// Whether bytes are the codes of all groups of a segment, none of which would be decoded beyond its values.
  private func areCodes(_ payload: UnsafeRawBufferPointer, of segment: Segment) -> Bool {
    var (end, group) = (0, segment.groups.lowerBound)
    while group < segment.groups.upperBound {
      let next = geometry.runEnd(group, in: segment)
      let count = geometry.groupStarts[next] - geometry.groupStarts[group]
      let rest = UnsafeRawBufferPointer(rebasing: payload[end...])
      guard let length = codec.byteCount(ofGroupAt: rest, count: count, areSingle: next > group + 1) else { return false }
      (end, group) = (end + length, next)
    }
    return end == payload.count
  }
}
