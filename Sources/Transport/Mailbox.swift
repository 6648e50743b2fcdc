internal import Buffers
internal import MPI

/// Messages between this rank and the others of a communicator, and the only loop that waits for them.
///
/// A message is identified by its *slot* and the other rank, with one at a time in each direction. Long messages travel in
/// pieces of 52 KB, because above 64 KB Open MPI switches to a slower protocol. Receives are posted before they are needed and
/// complete in any order: a caller waits for one rank or takes whatever comes first. Records, blocks of activations, rounds of
/// sparse messages, gathers and roll calls all build on this; the coded all-reduce has a faster path of its own
/// (`ExchangeMessages`).
///
/// - Cost: one message for each piece; ``poll(_:)`` costs one call of `MPI_Testsome` in each direction with messages under way.
package final class Mailbox {
  /// The bytes of a piece.
  package static let pieceByteCount = 53_248

  /// The messages and bytes handed to MPI and received from it, those of ranks of the same host inside the host.
  package private(set) var traffic = Traffic()

  private let ranks: WaitingRanks
  private let insideHost: [Bool]
  private let rankCount: Int
  private let communicator: Communicator
  private let firstTag: Int
  private var receives: Pieces
  private var sends: Pieces
  private var watchdog: Watchdog
  /// Whether something has arrived another way since the last turn of a wait.
  private var hasProgressed = false

  /// The pieces of messages in one direction.
  private struct Pieces {
    let table: RequestTable
    /// Free places of the table.
    var free: [Int]
    /// For each place of the table: the message its piece belongs to, and the piece's bytes; nil if it may be shorter.
    var messages: [Int]
    var byteCounts: [Int?]
    /// For each message, the number of its pieces under way.
    var missing: [Int]

    init(on communicator: Communicator, pieceCount: Int, messageCount: Int) {
      table = RequestTable(on: communicator, slotCount: pieceCount)
      free = Array((0..<pieceCount).reversed())
      messages = Array(repeating: 0, count: pieceCount)
      byteCounts = Array(repeating: nil, count: pieceCount)
      missing = Array(repeating: 0, count: messageCount)
    }

    /// A place for a piece of `message`.
    mutating func take(_ message: Int, byteCount: Int?) -> Int {
      require(!free.isEmpty, "more messages are under way than there is room for")
      let place = free.removeLast()
      (messages[place], byteCounts[place]) = (message, byteCount)
      missing[message] += 1
      return place
    }

    /// Frees the place of a piece that has arrived or left; returns its message.
    mutating func release(_ place: Int) -> Int {
      free.append(place)
      missing[messages[place]] -= 1
      return messages[place]
    }
  }

  /// Prepares messages among the ranks of `hosts`, on a communicator of their own; collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks.
  ///   - slotCount: The number of slots.
  ///   - receiveCount: The most pieces being received at a time.
  ///   - sendCount: The most pieces being sent at a time.
  ///   - patience: How long a rank may stay away; that of `hosts` by default.
  ///   - backOff: What a rank does while it waits.
  package convenience init(
    _ hosts: HostMap, slotCount: Int, receiveCount: Int, sendCount: Int, patience: Patience? = nil, backOff: BackOff = .short
  ) throws {
    self.init(
      on: try hosts.duplicate(), hosts.waitingRanks(with: patience ?? hosts.patience), insideHost: hosts.insideHost,
      slotCount: slotCount, receiveCount: receiveCount, sendCount: sendCount, backOff: backOff)
  }

  /// Prepares messages on `communicator`, where no other messages use tags from `firstTag` on; all are counted as network unless
  /// it is said which ranks are on this host.
  init(
    on communicator: Communicator, _ ranks: WaitingRanks, insideHost: [Bool]? = nil, firstTag: Int = 0, slotCount: Int,
    receiveCount: Int, sendCount: Int, backOff: BackOff = .short
  ) {
    self.insideHost = insideHost ?? Array(repeating: false, count: communicator.count)
    (self.communicator, self.ranks, self.firstTag, rankCount) = (communicator, ranks, firstTag, communicator.count)
    receives = Pieces(on: communicator, pieceCount: receiveCount, messageCount: slotCount * rankCount)
    sends = Pieces(on: communicator, pieceCount: sendCount, messageCount: slotCount * rankCount)
    watchdog = Watchdog(ranks, backOff: backOff)
  }

  /// Changes the room for messages; nothing may be under way.
  package func reserve(slotCount: Int, receiveCount: Int, sendCount: Int) {
    require(!isUnderWay, "room for messages changes while some are under way")
    receives = Pieces(on: communicator, pieceCount: receiveCount, messageCount: slotCount * rankCount)
    sends = Pieces(on: communicator, pieceCount: sendCount, messageCount: slotCount * rankCount)
  }

  /// The number of pieces of a message of `byteCount` bytes; 0 if it is empty.
  package static func pieceCount(of byteCount: Int) -> Int { (byteCount + pieceByteCount - 1) / pieceByteCount }

  /// The byte ranges of the pieces of a message.
  private static func pieces(of byteCount: Int) -> [Range<Int>] {
    stride(from: 0, to: byteCount, by: pieceByteCount).map { $0..<min($0 + pieceByteCount, byteCount) }
  }

  /// Starts receiving what `rank` sends to `slot`; the caller keeps `bytes` until it has arrived.
  ///
  /// - Parameter isVarying: Whether the message is one piece of any length up to that of `bytes`; its sender must agree.
  package func receive(into bytes: UnsafeMutableRawBufferPointer, from rank: Int, slot: Int, isVarying: Bool = false) throws {
    for piece in isVarying ? [0..<bytes.count] : Mailbox.pieces(of: bytes.count) {
      let place = receives.take(slot * rankCount + rank, byteCount: isVarying ? nil : piece.count)
      try receives.table.receive(
        into: UnsafeMutableRawBufferPointer(rebasing: bytes[piece]), from: rank, tag: firstTag + slot, slot: place)
    }
  }

  /// Starts sending `bytes` to `slot` of `rank`; the caller keeps them unchanged until they have left.
  ///
  /// - Parameter isVarying: Whether the receiver does not know the length; the message is then one piece.
  package func send(_ bytes: UnsafeRawBufferPointer, to rank: Int, slot: Int, isVarying: Bool = false) throws {
    for piece in isVarying ? [0..<bytes.count] : Mailbox.pieces(of: bytes.count) {
      let place = sends.take(slot * rankCount + rank, byteCount: nil)
      try sends.table.send(UnsafeRawBufferPointer(rebasing: bytes[piece]), to: rank, tag: firstTag + slot, slot: place)
      traffic.addSent(piece.count, insideHost: insideHost[rank])
      traffic.messagesSent += 1
    }
  }

  /// Lets MPI progress; returns whether anything has arrived or left.
  ///
  /// - Parameter arrived: Called for each piece that has arrived, in the order of arrival.
  /// - Throws: `ExchangeError.unexpectedMessage` if a piece does not have the expected length.
  @discardableResult
  package func poll(_ arrived: (_ slot: Int, _ rank: Int, _ byteCount: Int) throws -> Void = { _, _, _ in }) throws -> Bool {
    let received = try receives.table.testSome { place, byteCount in
      let expected = receives.byteCounts[place]
      let (slot, rank) = receives.release(place).quotientAndRemainder(dividingBy: rankCount)
      guard byteCount == expected ?? byteCount else {
        throw ExchangeError.unexpectedMessage(
          from: ranks.names[rank], detail: "\(byteCount) bytes in slot \(slot), \(expected ?? 0) expected")
      }
      traffic.addReceived(byteCount, insideHost: insideHost[rank])
      try arrived(slot, rank, byteCount)
    }
    let sent = try sends.table.testSome { place, _ in _ = sends.release(place) }
    return received + sent > 0
  }

  /// Whether the message from `rank` to `slot`, for which a receive was posted, has arrived.
  package func hasArrived(slot: Int, from rank: Int) -> Bool { receives.missing[slot * rankCount + rank] == 0 }

  /// Whether the message to `slot` of `rank` has left.
  package func hasLeft(slot: Int, to rank: Int) -> Bool { sends.missing[slot * rankCount + rank] == 0 }

  /// Whether messages have yet to arrive or leave.
  package var isUnderWay: Bool { receives.table.activeCount + sends.table.activeCount > 0 }

  /// Whether messages have yet to leave.
  package var isSending: Bool { sends.table.activeCount > 0 }

  /// The ranks with messages under way in either direction.
  package var peers: [Int] {
    let messages = [receives, sends].flatMap { pieces in pieces.missing.indices.filter { pieces.missing[$0] > 0 } }
    return Set(messages.map { $0 % rankCount }).sorted()
  }

  /// Progresses messages until `isDone`.
  ///
  /// - Parameters:
  ///   - activity: What is being done, for the error message that names a missing rank.
  ///   - awaited: The ranks that keep this one waiting; those with messages under way by default. Ranks of this host that are stopped
  ///     are named with them: a rank that is awaited may itself wait for these.
  ///   - meanwhile: Called in each turn in which nothing happened.
  ///   - patience: How long ranks may stay away; that of the mailbox by default.
  ///   - arrived: As for ``poll(_:)``.
  ///   - isDone: Called after each turn; may check for what arrives another way (``noteProgress()``).
  /// - Throws: `ExchangeError.timedOut` naming the ranks if nothing happens for too long.
  package func wait(
    for activity: String, awaited: (() -> [Int])? = nil, meanwhile: (() -> Void)? = nil, patience: Patience? = nil,
    arrived: (_ slot: Int, _ rank: Int, _ byteCount: Int) throws -> Void = { _, _, _ in }, until isDone: () throws -> Bool
  ) throws {
    if try isDone() { return }
    watchdog.begin(patience ?? ranks.patience)
    while true {
      hasProgressed = try poll(arrived)
      if try isDone() { return }
      if hasProgressed {
        watchdog.progress()
      } else {
        meanwhile?()
        try watchdog.idle { .timedOut(activity: activity, awaited: ranks.names(ofAwaited: awaited?() ?? peers), seconds: $0) }
      }
    }
  }

  /// Notes that something has arrived another way, such as through shared memory.
  package func noteProgress() { hasProgressed = true }

  /// Gives up on what is under way.
  ///
  /// MPI may still use its memory, so `owner` is kept alive to the end of the process.
  package func abandon(keeping owner: AnyObject) {
    guard isUnderWay else { return }
    receives.table.cancelAll()
    sends.table.cancelAll()
    _ = Unmanaged.passRetained(owner)
  }
}
