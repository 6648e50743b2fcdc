internal import Buffers
internal import Foundation
public import MPI

/// Calls the ranks of a communicator: everybody answers with a few bytes, and who does not answer is named.
///
/// It needs no memory and no communicator of its own, so that it comes before those are made. The collective operations of MPI
/// wait for ever, and in silence, for a rank that stays away; ranks that have answered enter them together (`enter(_:_:)`).
///
/// - Cost: a message of 8 bytes and what is answered to each other rank.
public struct RollCall: Sendable {
  /// The bytes that an answer may have.
  static let capacity = 1000
  /// Below 32 767, which every MPI has; nobody else uses it.
  private static let tag = 32_749

  private let world: Communicator
  private let ranks: WaitingRanks

  /// A call of all ranks of `world`, who are known by their numbers.
  public init(_ world: Communicator, patience: Patience) {
    self.init(
      world,
      WaitingRanks(
        rank: world.rank, names: (0..<world.count).map { "rank \($0)" }, patience: patience, neighbours: nil))
  }

  init(_ world: Communicator, _ ranks: WaitingRanks) { (self.world, self.ranks) = (world, ranks) }

  /// Waits until every rank has come to the same place.
  ///
  /// Collective.
  ///
  /// - Throws: `ExchangeError.timedOut` naming the ranks that have not.
  public func meet(_ activity: String) throws { _ = try gather([], activity: activity) }

  /// What every rank answers, by rank; longer answers than 1000 bytes are cut.
  ///
  /// Collective.
  func gather(_ answer: [UInt8], activity: String) throws -> [[UInt8]] {
    let own = Array(answer.prefix(RollCall.capacity))
    guard world.count > 1 else { return [own] }
    let call = Call(world, XXHash64.hash(activity), own)
    do { return try call.answers(to: activity, of: ranks) } catch {
      call.abandon()
      throw error
    }
  }

  /// Meets, and then does what MPI does with all ranks at once and cannot be asked about meanwhile.
  ///
  /// Collective. A thread watches: it names the ranks of this host that are stopped or have ended; where there are none, it tells that
  /// all wait; and it ends the job with status 75 after the limit.
  package func enter<Result>(_ activity: String, _ body: () throws -> Result) throws -> Result {
    guard world.count > 1 else { return try body() }
    try meet(activity)
    let watch = CallWatch()
    defer { watch.end() }
    watch.begin(activity, ranks, world)
    return try body()
  }

  /// Watches the end of this process from now on, which waits for the others in MPI.
  package func watchEnd() {
    guard world.count > 1 else { return }
    CallWatch().begin("the end of MPI", ranks, world)
  }

  /// One call with its messages.
  private final class Call {
    private let world: Communicator
    private let length: Int
    private let outgoing: ByteBuffer
    private let incoming: ByteBuffer
    /// The receives of all ranks, and then the sends.
    private let messages: RequestTable
    private let hash: UInt64

    init(_ world: Communicator, _ hash: UInt64, _ answer: [UInt8]) {
      (self.world, self.hash) = (world, hash)
      length = 8 + answer.count
      outgoing = ByteBuffer(count: length)
      outgoing.baseAddress.storeBytes(of: hash, as: UInt64.self)
      for (index, byte) in answer.enumerated() { (outgoing.baseAddress + 8 + index).storeBytes(of: byte, as: UInt8.self) }
      incoming = ByteBuffer(count: world.count * Call.room)
      messages = RequestTable(on: world, slotCount: 2 * world.count)
    }

    private static let room = 8 + RollCall.capacity

    func answers(to activity: String, of ranks: WaitingRanks) throws -> [[UInt8]] {
      let others = (0..<world.count).filter { $0 != world.rank }
      for peer in others {
        try messages.receive(
          into: incoming.bytes(in: peer * Call.room..<(peer + 1) * Call.room), from: peer, tag: RollCall.tag, slot: peer)
      }
      let message = UnsafeRawBufferPointer(start: outgoing.baseAddress, count: length)
      for peer in others { try messages.send(message, to: peer, tag: RollCall.tag, slot: world.count + peer) }
      var answers = Array(repeating: Array(message.dropFirst(8)), count: world.count)
      var watchdog = Watchdog(ranks)
      while messages.activeCount > 0 {
        let count = try messages.testSome { slot, byteCount in
          guard slot < world.count else { return }
          let answer = incoming.bytes(in: slot * Call.room..<slot * Call.room + byteCount)
          guard byteCount >= 8, answer.load(as: UInt64.self) == hash else {
            throw ExchangeError.unexpectedMessage(from: ranks.names[slot], detail: "it is not in \(activity)")
          }
          answers[slot] = Array(answer.dropFirst(8))
        }
        if count > 0 {
          watchdog.progress()
        } else {
          try watchdog.idle { seconds in
            let awaited = others.filter { messages.isActive(slot: $0) || messages.isActive(slot: world.count + $0) }
            return .timedOut(activity: activity, awaited: awaited.map { ranks.names[$0] }, seconds: seconds)
          }
        }
      }
      return answers
    }

    /// Gives up what has not arrived; its memory stays, because MPI may still use it.
    func abandon() {
      messages.cancelAll()
      _ = Unmanaged.passRetained(self)
    }
  }
}

/// A thread that watches a call of MPI which waits for other ranks, until it returns.
private final class CallWatch: Sendable {
  private let isOver = DispatchSemaphore(value: 0)

  func begin(_ activity: String, _ ranks: WaitingRanks, _ world: Communicator) {
    Thread.detachNewThread { [isOver] in
      func error(_ duration: Duration) -> ExchangeError {
        let idle = ranks.neighbours?.idle.map { ranks.names[$0] } ?? []
        let awaited = idle.isEmpty ? ["one of the ranks, all of which had come"] : idle
        return .timedOut(activity: activity, awaited: awaited, seconds: duration / .seconds(1))
      }
      var (waited, hasTold) = (Duration.zero, false)
      while waited < ranks.patience.limit {
        let start = ContinuousClock.now
        if isOver.wait(timeout: .now() + .milliseconds(100)) == .success { return }
        // What this rank was stopped itself does not count.
        waited += min(.now - start, .milliseconds(200))
        if let notice = ranks.patience.notice, !hasTold, waited >= notice.delay {
          hasTold = true
          ranks.tell(error(notice.delay))
        }
      }
      let line = "\(ranks.names[ranks.rank]): \(error(ranks.patience.limit))\n"
      FileHandle.standardError.write(Data(line.utf8))
      world.abort(status: error(.zero).exitStatus)
    }
  }

  func end() { isOver.signal() }
}
