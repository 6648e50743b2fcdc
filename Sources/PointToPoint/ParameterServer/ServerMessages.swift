internal import Buffers
internal import Transport

/// The messages of a parameter server: pushes of workers to owners, the answers, and the model at a meeting.
///
/// A message is a header and then codes, whose length it tells. As much as fits goes as one piece, whose length varies; the rest of long
/// codes is received when the header has come. What a rank sends to itself stays where it was written. A worker has one push
/// under way to each owner, and an owner one answer to each worker; the last message of a worker before a meeting is a header
/// that says so.
/// - Cost: one message for a push or an answer of up to 52 KB, and one for every further 52 KB.
final class ServerMessages {
  /// What goes before the codes of a push or an answer.
  struct Header {
    /// The first minibatch of the block, or in an answer of the next one, and their number; none if that is 0.
    var minibatch = 0
    var minibatchCount: Int32 = 0
    /// The number of samples of the gradients; −1 in the last message of a worker.
    var samples: Int32 = 0
    /// The number of gradients that count.
    var gradientCount: Int32 = 0
    /// Whether the worker pulls values.
    var pulls = false
    /// In a push, whether its rank was asked to stop.
    var isStopRequested = false
    /// The size in bytes of the codes.
    var byteCount = 0

    /// The size of a header.
    static let byteCount = MemoryLayout<Header>.stride

    /// The block of minibatches.
    var block: Range<Int> {
      get { minibatch..<minibatch + Int(minibatchCount) }
      set { (minibatch, minibatchCount) = (newValue.lowerBound, Int32(newValue.count)) }
    }
  }

  /// A message in memory: the header right before the codes, which are aligned.
  final class Message {
    private static let codePlace = 64
    private let memory: ByteBuffer
    private let capacity: Int

    init(capacity: Int) {
      memory = ByteBuffer(count: Message.codePlace + capacity)
      self.capacity = capacity
    }

    private var start: UnsafeMutableRawPointer { memory.baseAddress + (Message.codePlace - Header.byteCount) }

    var header: Header {
      get { start.load(as: Header.self) }
      set { start.storeBytes(of: newValue, as: Header.self) }
    }
    var codes: UnsafeMutableRawPointer { memory.baseAddress + Message.codePlace }

    /// Room for the first piece of any message.
    var room: UnsafeMutableRawBufferPointer { bytes(0..<min(Header.byteCount + capacity, Mailbox.pieceByteCount)) }
    /// The first piece, and what follows it, of the length that the header tells.
    var firstPiece: UnsafeMutableRawBufferPointer {
      bytes(0..<min(Header.byteCount + header.byteCount, Mailbox.pieceByteCount))
    }
    var rest: UnsafeMutableRawBufferPointer { bytes(firstPiece.count..<Header.byteCount + header.byteCount) }

    private func bytes(_ range: Range<Int>) -> UnsafeMutableRawBufferPointer {
      UnsafeMutableRawBufferPointer(start: start + range.lowerBound, count: range.count)
    }
  }

  /// What has arrived completely.
  enum Arrival {
    /// A push of a worker.
    case push(worker: Int)
    /// The news that a worker is done.
    case end(worker: Int)
    /// The answer of an owner to one of this rank's workers.
    case answer(owner: Int, local: Int)
  }

  /// First pieces and what follows them, and what is exchanged at meetings.
  private enum Kind: Int, CaseIterable { case push, restOfPush, answer, restOfAnswer, model, counts }

  private let workers: RankWorkers
  private let owners: [Int]
  private let network: any ServerNetwork
  /// By local worker and owner.
  private let pushesOut: [[Message]]
  private let answersIn: [[Message]]
  /// By worker.
  private let pushesIn: [Message]
  private let answersOut: [Message]
  /// The minibatches of each worker, for ranks that do not see the pushes.
  private let counts: ByteBuffer
  private var arrivals: [Arrival] = []

  /// Prepares messages; collective.
  ///
  /// - Parameters:
  ///   - ranks: The ranks.
  ///   - workers: Those of this rank.
  ///   - owners: The ranks with a shard, in order.
  ///   - capacities: The size of the largest codes of each shard.
  init(_ ranks: ServerRanks, _ workers: RankWorkers, owners: [Int], capacities: [Int]) throws {
    let (rank, rankCount, localCount) = (workers.rank, workers.rankCount, workers.localCount)
    (self.workers, self.owners) = (workers, owners)
    counts = ByteBuffer(count: 8 * workers.count)
    func toOwners() -> [[Message]] { (0..<localCount).map { _ in capacities.map { Message(capacity: $0) } } }
    func toWorkers() -> [Message] { (0..<workers.count).map { _ in Message(capacity: capacities[rank]) } }
    (pushesOut, answersIn, answersOut) = (toOwners(), toOwners(), toWorkers())
    // A rank's own pushes are read where they were written.
    let own = pushesOut
    pushesIn = toWorkers().enumerated().map { workers.isLocal($0) ? own[workers.local($0)][rank] : $1 }
    let pieces = capacities.map { Mailbox.pieceCount(of: $0) + 1 }
    let most = localCount * (pieces.reduce(0, +) + rankCount * pieces[rank]) + pieces.reduce(0, +) + rankCount * pieces[rank]
    network = try ranks.network(Kind.allCases.count * localCount, most + rankCount, 2 * (most + rankCount))
  }

  private var rank: Int { workers.rank }

  private func slot(_ kind: Kind, _ local: Int) -> Int { kind.rawValue * workers.localCount + local }

  /// The traffic counted so far.
  var traffic: Traffic { network.traffic }

  /// Begins a segment: every worker of another rank may push to an owner.
  func begin() throws { for worker in pushesIn.indices where owners.contains(rank) { try expect(worker) } }

  private func expect(_ worker: Int) throws {
    guard !workers.isLocal(worker) else { return }
    try receiveFirst(of: pushesIn[worker], from: workers.rank(of: worker), slot(.push, workers.local(worker)))
  }

  // MARK: Pushes

  /// Where local worker `local` writes its push to an owner, once the one before has left.
  func push(of local: Int, to owner: Int) throws -> Message {
    try leave([slot(.push, local), slot(.restOfPush, local)], owner)
    return pushesOut[local][owner]
  }

  /// Sends the push that was written.
  func send(pushOf local: Int, to owner: Int) throws {
    let message = pushesOut[local][owner]
    guard owner != rank else { return arrivals.append(.push(worker: workers.id(local))) }
    try send(message, to: owner, slot(.push, local), rest: slot(.restOfPush, local))
    try receiveFirst(of: answersIn[local][owner], from: owner, slot(.answer, local))
  }

  /// Tells all owners that a local worker is done.
  func sendEnd(of local: Int) throws {
    for owner in owners {
      let message = try push(of: local, to: owner)
      message.header = Header(samples: -1)
      if owner == rank {
        arrivals.append(.end(worker: workers.id(local)))
      } else {
        try send(message, to: owner, slot(.push, local), rest: slot(.restOfPush, local))
      }
    }
  }

  /// The push of a worker that has arrived.
  func push(from worker: Int) -> Message { pushesIn[worker] }

  // MARK: Answers

  /// Where the answer to a worker is written, once the one before has left.
  func answer(to worker: Int) throws -> Message {
    let local = workers.local(worker)
    try leave([slot(.answer, local), slot(.restOfAnswer, local)], workers.rank(of: worker))
    return answersOut[worker]
  }

  /// Sends the answer that was written; after that the worker may push again.
  func send(answerTo worker: Int) throws {
    let (local, owner) = (workers.local(worker), workers.rank(of: worker))
    guard owner != rank else { return arrivals.append(.answer(owner: rank, local: local)) }
    try expect(worker)
    try send(answersOut[worker], to: owner, slot(.answer, local), rest: slot(.restOfAnswer, local))
  }

  /// The answer of an owner that has arrived.
  func answer(from owner: Int, to local: Int) -> Message {
    owner == rank ? answersOut[workers.id(local)] : answersIn[local][owner]
  }

  // MARK: Progress

  /// What has arrived since the last call, in the order of arrival.
  func takeArrivals() -> [Arrival] {
    defer { arrivals = [] }
    return arrivals
  }

  /// Lets messages progress.
  func poll() throws { _ = try network.poll(take) }

  /// Progresses messages until `isDone`, which is asked after each turn.
  ///
  /// - Parameter awaited: The ranks that keep this one waiting; those with messages under way by default.
  func wait(for activity: String, awaited: (() -> [Int])? = nil, until isDone: () throws -> Bool) throws {
    try network.wait(for: activity, awaited: awaited, meanwhile: nil, patience: nil, arrived: take, until: isDone)
  }

  /// Starts sending this rank's part of the model to all ranks, and receiving theirs; collective.
  ///
  /// The first owner also sends `minibatchCounts` to the ranks without a shard; ``sharedCounts`` has them then.
  func share(_ parameters: FloatBuffer, elements: [Range<Int>], minibatchCounts: [Int]) throws {
    let words = UnsafeMutableRawBufferPointer(start: counts.baseAddress, count: 8 * minibatchCounts.count)
    if rank == owners[0] {
      for (worker, count) in minibatchCounts.enumerated() {
        words.storeBytes(of: count, toByteOffset: 8 * worker, as: Int.self)
      }
      for other in 0..<workers.rankCount where !owners.contains(other) {
        try network.send(UnsafeRawBufferPointer(words), to: other, slot: slot(.counts, 0), isVarying: false)
      }
    } else if !owners.contains(rank) {
      try receive(words, from: owners[0], slot(.counts, 0))
    }
    for other in 0..<workers.rankCount where other != rank {
      let (own, theirs) = (parameters.values(in: elements[rank]), parameters.values(in: elements[other]))
      if !theirs.isEmpty { try receive(UnsafeMutableRawBufferPointer(theirs), from: other, slot(.model, 0)) }
      guard !own.isEmpty else { continue }
      try network.send(UnsafeRawBufferPointer(own), to: other, slot: slot(.model, 0), isVarying: false)
    }
  }

  /// The minibatches of each worker that were shared last.
  var sharedCounts: [Int] {
    (0..<workers.count).map { counts.baseAddress.load(fromByteOffset: 8 * $0, as: Int.self) }
  }

  /// Whether messages have yet to arrive or leave.
  var isUnderWay: Bool { network.isUnderWay }

  func abandon() { network.abandon(keeping: self) }

  private func receive(_ bytes: UnsafeMutableRawBufferPointer, from rank: Int, _ slot: Int) throws {
    try network.receive(into: bytes, from: rank, slot: slot, isVarying: false)
  }

  /// Starts receiving the first piece of a message.
  private func receiveFirst(of message: Message, from rank: Int, _ slot: Int) throws {
    try network.receive(into: message.room, from: rank, slot: slot, isVarying: true)
  }

  private func send(_ message: Message, to rank: Int, _ slot: Int, rest restSlot: Int) throws {
    try network.send(UnsafeRawBufferPointer(message.firstPiece), to: rank, slot: slot, isVarying: true)
    guard message.rest.count > 0 else { return }
    try network.send(UnsafeRawBufferPointer(message.rest), to: rank, slot: restSlot, isVarying: false)
  }

  /// Waits until messages have left; they have been received already, so that this takes no time.
  private func leave(_ slots: [Int], _ rank: Int) throws {
    try wait(for: "the parameter servers") { slots.allSatisfy { network.hasLeft(slot: $0, to: rank) } }
  }

  /// Takes a piece that has arrived: after the first one the rest is received, and with the last one the message is complete.
  private func take(_ slot: Int, from rank: Int, _ byteCount: Int) throws {
    let (kind, local) = slot.quotientAndRemainder(dividingBy: workers.localCount)
    guard network.hasArrived(slot: slot, from: rank), let kind = Kind(rawValue: kind), kind != .model, kind != .counts
    else { return }
    let worker = workers.id(local, of: rank)
    let isPush = kind == .push || kind == .restOfPush
    let message = isPush ? pushesIn[worker] : answersIn[local][rank]
    if kind == .push || kind == .answer {
      guard byteCount == message.firstPiece.count else {
        throw ExchangeError.unexpectedMessage(
          from: "rank \(rank)",
          detail: "\(byteCount) bytes of a \(isPush ? "push" : "answer"), \(message.firstPiece.count) expected")
      }
      guard message.rest.count == 0 else {
        return try receive(message.rest, from: rank, self.slot(isPush ? .restOfPush : .restOfAnswer, local))
      }
    }
    arrivals.append(
      !isPush ? .answer(owner: rank, local: local) : message.header.samples < 0 ? .end(worker: worker) : .push(worker: worker))
  }
}
