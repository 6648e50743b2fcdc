internal import Buffers
internal import MPI

/// The messages of one exchange, to and from the ranks of other hosts: one for each segment.
///
/// All receives are posted before anything is encoded. Messages of one sender, stage and communicator arrive in the order in
/// which they were sent, and an exchange sends nothing to a rank that has not finished the one before, so neither sequence
/// numbers nor barriers are needed.
final class ExchangeMessages {
  /// 1: contributions on their way to their owner; 2: sums on their way back.
  typealias Stage = UInt8

  private struct Expected {
    let stage: Stage
    let sender: Int
    let segment: Segment
    let memory: UnsafeMutableRawBufferPointer
    var hasArrived = false
  }

  private let world: Communicator
  private let geometry: ExchangeGeometry
  private let hosts: HostMap
  private let codecHash: UInt64
  private var expected: [Expected] = []
  /// The first entry of `expected` for each stage and sender.
  private var first: [[Int]]
  private let receives: RequestTable
  private let sends: RequestTable
  private var sendCount = 0
  /// Contributions of each remote rank to the own stripe, and sums of all remote stripes.
  private let contributions: [ByteBuffer?]
  private let sums: ByteBuffer
  private var header = MessageHeader(
    stage: 0, codec: 0, step: 0, stripe: 0, segment: 0, payloadByteCount: 0, sender: 0, samples: 0)

  /// Prepares for the messages that `geometry` brings, on a communicator of its own.
  ///
  /// Collective.
  init(_ geometry: ExchangeGeometry, hosts: HostMap, codecHash: UInt64) throws {
    world = try hosts.world.duplicate()
    self.geometry = geometry
    self.hosts = hosts
    self.codecHash = codecHash
    let me = world.rank
    let remote = hosts.remoteRanks
    first = Array(repeating: Array(repeating: 0, count: world.count), count: 3)
    let own = geometry.codeSpace(ofStripe: me)
    var buffers = [ByteBuffer?](repeating: nil, count: world.count)
    for rank in remote { buffers[rank] = ByteBuffer(count: own.count) }
    contributions = buffers
    sums = ByteBuffer(count: remote.isEmpty ? 0 : geometry.codeSpaceByteCount)
    // The nearest neighbour below sends to this rank first.
    for distance in 1..<max(world.count, 2) {
      let sender = (me - distance + world.count) % world.count
      guard remote.contains(sender) else { continue }
      first[1][sender] = expected.count
      for segment in geometry.segments[me] {
        let start = segment.headerOffset - own.lowerBound
        let memory = buffers[sender]!.bytes(in: start..<start + segment.messageByteCount)
        expected.append(Expected(stage: 1, sender: sender, segment: segment, memory: memory))
      }
      first[2][sender] = expected.count
      for segment in geometry.segments[sender] {
        let memory = sums.bytes(in: segment.headerOffset..<segment.headerOffset + segment.messageByteCount)
        expected.append(Expected(stage: 2, sender: sender, segment: segment, memory: memory))
      }
    }
    receives = RequestTable(on: world, slotCount: expected.count)
    let outgoing = remote.reduce(0) { $0 + geometry.segments[$1].count + geometry.segments[me].count }
    sends = RequestTable(on: world, slotCount: outgoing)
  }

  /// Where the contributions of `rank` to the own stripe arrive; offsets count from the stripe's own code space.
  func contributions(of rank: Int) -> UnsafeRawPointer { UnsafeRawPointer(contributions[rank]!.baseAddress) }

  /// Where the sums of all remote stripes arrive; offsets are those of the geometry.
  var sumMemory: UnsafeRawPointer { UnsafeRawPointer(sums.baseAddress) }

  /// Posts every receive of the exchange of `step`.
  func begin(step: Int, samples: Int) throws {
    header.codec = codecHash
    header.step = UInt64(step)
    header.samples = UInt64(samples)
    header.sender = UInt32(world.rank)
    sendCount = 0
    for slot in expected.indices {
      expected[slot].hasArrived = false
      let next = expected[slot]
      try receives.receive(into: next.memory, from: next.sender, tag: Int(next.stage), slot: slot)
    }
  }

  /// Sends `segment`, whose codes lie behind room for a header at `memory`; returns the bytes sent.
  func send(_ segment: Segment, stage: Stage, at memory: UnsafeMutableRawPointer, to rank: Int) throws -> Int {
    header.stage = stage
    header.stripe = UInt32(segment.stripe)
    header.segment = UInt32(segment.index)
    header.payloadByteCount = UInt32(segment.payloadByteCount)
    header.write(to: memory)
    let message = UnsafeRawBufferPointer(start: memory, count: segment.messageByteCount)
    try sends.send(message, to: rank, tag: Int(stage), slot: sendCount)
    sendCount += 1
    return segment.messageByteCount
  }

  /// Lets MPI work, and reports how many further segments have arrived, in order, by stage and sender.
  func poll(_ arrived: (_ stage: Stage, _ sender: Int, _ byteCount: Int) -> Void, available: (Stage, Int) -> Int) throws {
    guard receives.activeCount > 0 else {
      _ = try sends.testSome { _, _ in }
      return
    }
    _ = try receives.testSome { slot, byteCount in
      try verify(expected[slot], byteCount: byteCount)
      expected[slot].hasArrived = true
      let (stage, sender) = (expected[slot].stage, expected[slot].sender)
      let count = stage == 1 ? geometry.segments[world.rank].count : geometry.segments[sender].count
      // A segment counts once all before it are there.
      while case let next = available(stage, sender), next < count, expected[first[Int(stage)][sender] + next].hasArrived {
        arrived(stage, sender, expected[first[Int(stage)][sender] + next].memory.count)
      }
    }
  }

  /// Whether every message has left, so that its memory may be written again.
  func haveAllLeft() throws -> Bool {
    if sends.activeCount > 0 { _ = try sends.testSome { _, _ in } }
    return sends.activeCount == 0
  }

  /// Gives up what has not arrived.
  func abandon() {
    receives.cancelAll()
    sends.cancelAll()
  }

  private func verify(_ expected: Expected, byteCount: Int) throws {
    let sender = hosts.name(of: expected.sender)
    guard byteCount == expected.memory.count, let header = MessageHeader(reading: expected.memory.baseAddress!) else {
      throw ExchangeError.unexpectedMessage(
        from: sender, detail: "\(byteCount) bytes without a header of ours, \(expected.memory.count) expected")
    }
    var wanted = self.header
    wanted.stage = expected.stage
    wanted.stripe = UInt32(expected.segment.stripe)
    wanted.segment = UInt32(expected.segment.index)
    wanted.payloadByteCount = UInt32(expected.segment.payloadByteCount)
    wanted.sender = UInt32(expected.sender)
    guard header == wanted else {
      throw ExchangeError.unexpectedMessage(
        from: sender,
        detail: "stage \(header.stage) step \(header.step) stripe \(header.stripe) segment \(header.segment), expected stage "
          + "\(wanted.stage) step \(wanted.step) stripe \(wanted.stripe) segment \(wanted.segment), same codec and sample count"
      )
    }
  }
}
