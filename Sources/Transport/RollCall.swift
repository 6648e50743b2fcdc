internal import Buffers
public import MPI

#if canImport(Glibc)
  internal import Glibc
#endif

/// A roll call of the ranks of a communicator: each answers with a few bytes, and those that do not answer are named.
///
/// It needs no memory and no communicator of its own, so it can precede their creation. MPI's collective operations wait
/// forever, and silently, for a missing rank; ranks that have answered enter them together (`enter(_:_:)`).
///
/// - Cost: one message of 8 bytes plus the answer to each other rank.
public struct RollCall: Sendable {
  /// The most bytes of an answer.
  static let capacity = 1000
  /// Below 32 767, which every MPI supports; no other messages use it.
  private static let tag = 32_749

  private let world: Communicator
  private let ranks: WaitingRanks

  /// Creates a roll call of all ranks of `world`, named by their numbers.
  public init(_ world: Communicator, patience: Patience) {
    self.init(
      world,
      WaitingRanks(
        rank: world.rank, names: (0..<world.count).map { "rank \($0)" }, patience: patience, neighbours: nil))
  }

  init(_ world: Communicator, _ ranks: WaitingRanks) { (self.world, self.ranks) = (world, ranks) }

  /// Waits until every rank has reached the same point.
  ///
  /// Collective.
  ///
  /// - Throws: `ExchangeError.timedOut` naming the ranks that have not.
  public func meet(_ activity: String) throws { _ = try gather([], activity: activity) }

  /// The answers of all ranks, by rank; answers longer than 1000 bytes are truncated.
  ///
  /// Collective.
  func gather(_ answer: [UInt8], activity: String) throws -> [[UInt8]] {
    let own = Array(answer.prefix(RollCall.capacity))
    guard world.count > 1 else { return [own] }
    let call = Call(world, ranks, XXHash64.hash(activity), own)
    do { return try call.answers(to: activity) } catch {
      call.abandon()
      throw error
    }
  }

  /// Meets, then runs a call in which MPI waits for all ranks at once and cannot be polled.
  ///
  /// Collective. A thread watches: it names the ranks of this host that are stopped or have ended; if there are none, it
  /// reports that all wait; and it ends the job with status 75 after the limit.
  package func enter<Result>(_ activity: String, _ body: () throws -> Result) throws -> Result {
    guard world.count > 1 else { return try body() }
    try meet(activity)
    let watch = CallWatch()
    defer { watch.end() }
    watch.begin(activity, ranks, world)
    return try body()
  }

  /// Watches from now on the end of this process, which waits for the others in MPI.
  package func watchEnd() {
    guard world.count > 1 else { return }
    CallWatch().begin("the end of MPI", ranks, world)
  }

  /// One call with its messages.
  private final class Call {
    private let world: Communicator
    private let ranks: WaitingRanks
    private let outgoing: ByteBuffer
    private let incoming: ByteBuffer
    private let mailbox: Mailbox
    private let hash: UInt64

    private static let room = 8 + RollCall.capacity

    init(_ world: Communicator, _ ranks: WaitingRanks, _ hash: UInt64, _ answer: [UInt8]) {
      (self.world, self.ranks, self.hash) = (world, ranks, hash)
      outgoing = ByteBuffer(count: 8 + answer.count)
      outgoing.baseAddress.storeBytes(of: hash, as: UInt64.self)
      for (index, byte) in answer.enumerated() { (outgoing.baseAddress + 8 + index).storeBytes(of: byte, as: UInt8.self) }
      incoming = ByteBuffer(count: world.count * Call.room)
      mailbox = Mailbox(
        on: world, ranks, firstTag: RollCall.tag, slotCount: 1, receiveCount: world.count, sendCount: world.count)
    }

    func answers(to activity: String) throws -> [[UInt8]] {
      let others = (0..<world.count).filter { $0 != world.rank }
      for peer in others {
        let memory = incoming.bytes(in: peer * Call.room..<(peer + 1) * Call.room)
        try mailbox.receive(into: memory, from: peer, slot: 0, isVarying: true)
      }
      let message = UnsafeRawBufferPointer(outgoing.bytes)
      for peer in others { try mailbox.send(message, to: peer, slot: 0, isVarying: true) }
      var answers = Array(repeating: Array(message.dropFirst(8)), count: world.count)
      try mailbox.wait(
        for: activity,
        arrived: { _, rank, byteCount in
          let answer = incoming.bytes(in: rank * Call.room..<rank * Call.room + byteCount)
          guard byteCount >= 8, answer.load(as: UInt64.self) == hash else {
            throw ExchangeError.unexpectedMessage(from: ranks.names[rank], detail: "it is not in \(activity)")
          }
          answers[rank] = Array(answer.dropFirst(8))
        }, until: { !mailbox.isUnderWay })
      return answers
    }

    /// Gives up on what has not arrived.
    func abandon() { mailbox.abandon(keeping: self) }
  }
}

/// A thread that watches an MPI call that waits for other ranks, until it returns.
private final class CallWatch: @unchecked Sendable {
  private let condition = Condition()
  /// Guarded by the condition.
  private var isOver = false

  func begin(_ activity: String, _ ranks: WaitingRanks, _ world: Communicator) {
    // Without a thread nothing watches, and the call waits as MPI does.
    _ = BackgroundThread.start { [self] in
      func error(_ duration: Duration) -> ExchangeError {
        let idle = ranks.neighbours?.idle.map { ranks.names[$0] } ?? []
        let awaited = idle.isEmpty ? ["one of the ranks, all of which had come"] : idle
        return .timedOut(activity: activity, awaited: awaited, seconds: duration / .seconds(1))
      }
      var (waited, hasTold) = (Duration.zero, false)
      while waited < ranks.patience.limit {
        let start = ContinuousClock.now
        if hasEnded(within: 0.1) { return }
        // Time during which this rank itself was stopped does not count.
        waited += min(.now - start, .milliseconds(200))
        if let notice = ranks.patience.notice, !hasTold, waited >= notice.delay {
          hasTold = true
          ranks.tell(error(notice.delay))
        }
      }
      let line = "\(ranks.names[ranks.rank]): \(error(ranks.patience.limit))\n"
      _ = line.utf8CString.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count - 1) }
      world.abort(status: error(.zero).exitStatus)
    }
  }

  /// Whether the call returns within that many seconds.
  private func hasEnded(within seconds: Double) -> Bool {
    condition.lock()
    defer { condition.unlock() }
    let end = wallTime + seconds
    while !isOver && condition.wait(until: end) {}
    return isOver
  }

  func end() {
    condition.lock()
    isOver = true
    condition.broadcast()
    condition.unlock()
  }
}
