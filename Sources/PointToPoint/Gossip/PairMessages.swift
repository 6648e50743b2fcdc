internal import Buffers
internal import MPI
internal import Transport

/// The messages of workers that average in pairs: questions with the model of the one that asks, answers with the mean of both, and
/// claims of minibatches, which rank 0 grants.
///
/// A question is a header of 16 bytes and then floats, which are received when the one that is asked has a desk free. Workers of one
/// rank need no messages.
/// - Cost: for each question 4 bytes a value and 16 to the other rank, and 4 bytes a value back; for each minibatch 16 bytes to rank 0
///   and back.
final class PairMessages {
  /// What has arrived completely.
  enum Arrival {
    /// A worker asks one of this rank's.
    case question(from: Int, to: Int)
    /// The model of a worker that asks is on the desk.
    case model(of: Int)
    /// The answer to one of this rank's workers is on its desk.
    case answer(to: Int)
    /// A worker asks no more before the next meeting.
    case end(of: Int)
    /// A worker wants a minibatch: the next of a counter if it names none. Its rank may have been asked to stop.
    case claim(Int?, by: Int, isStopRequested: Bool)
    /// One of this rank's workers gets a minibatch; nil if there is none left.
    case minibatch(Int?, for: Int)
  }

  private enum Kind: Int, CaseIterable { case header, model, answer, claim, minibatch }

  private let workers: RankWorkers
  private let mailbox: Mailbox
  /// Two numbers for each worker and kind of message that has numbers, out and in.
  private let numbers: (out: ByteBuffer, in: ByteBuffer)
  /// What all are told that a worker asks no more.
  private let end: ByteBuffer
  private var arrivals: [Arrival] = []

  /// The bytes of a question before its model, and of every other message without one.
  static let headerByteCount = 16

  /// Prepares messages; collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks.
  ///   - workers: Those of this rank.
  ///   - valueCount: The values of a model.
  ///   - deskCount: The models that this rank may receive at a time.
  init(_ hosts: HostMap, _ workers: RankWorkers, valueCount: Int, deskCount: Int) throws {
    self.workers = workers
    let byteCount = Kind.allCases.count * workers.count * Self.headerByteCount
    numbers = (ByteBuffer(count: byteCount), ByteBuffer(count: byteCount))
    end = ByteBuffer(count: Self.headerByteCount)
    end.baseAddress.storeBytes(of: -1, as: Int.self)
    // A model each way for each desk and each worker of this rank, and numbers of and to all.
    let localCount = workers.localCount
    let most =
      (localCount + deskCount) * Mailbox.pieceCount(of: 4 * valueCount) + localCount * workers.rankCount + 4 * workers.count
    mailbox = try Mailbox(hosts, slotCount: Kind.allCases.count * localCount, receiveCount: most, sendCount: 2 * most)
  }

  private func slot(_ kind: Kind, _ worker: Int) -> Int { kind.rawValue * workers.localCount + workers.local(worker) }

  /// Where the two numbers of a message lie.
  private func place(_ kind: Kind, _ worker: Int, of memory: ByteBuffer) -> UnsafeMutableRawBufferPointer {
    let start = (kind.rawValue * workers.count + worker) * Self.headerByteCount
    return memory.bytes(in: start..<start + Self.headerByteCount)
  }

  /// The traffic counted so far.
  var traffic: Traffic { mailbox.traffic }

  // MARK: Questions and answers

  /// Begins to listen to a worker of another rank that may ask.
  func listen(to worker: Int) throws {
    try mailbox.receive(
      into: place(.header, worker, of: numbers.in), from: workers.rank(of: worker), slot: slot(.header, worker))
  }

  /// Sends the question of a worker with its model, and awaits the answer on its desk; both stay as they are until that has come and
  /// ``hasLeft(questionOf:to:)``.
  func ask(_ worker: PairWorker, _ other: Int) throws {
    guard !workers.isLocal(other) else { return arrivals.append(.question(from: worker.id, to: other)) }
    let header = place(.header, worker.id, of: numbers.out)
    header.storeBytes(of: other, as: Int.self)
    try mailbox.send(UnsafeRawBufferPointer(header), to: workers.rank(of: other), slot: slot(.header, worker.id))
    try mailbox.send(UnsafeRawBufferPointer(worker.model.values), to: workers.rank(of: other), slot: slot(.model, worker.id))
    try mailbox.receive(
      into: UnsafeMutableRawBufferPointer(worker.desk.values), from: workers.rank(of: other), slot: slot(.answer, worker.id))
  }

  /// Whether the question of a worker has left.
  func hasLeft(questionOf worker: Int, to other: Int) -> Bool {
    workers.isLocal(other)
      || mailbox.hasLeft(slot: slot(.header, worker), to: workers.rank(of: other))
        && mailbox.hasLeft(slot: slot(.model, worker), to: workers.rank(of: other))
  }

  /// Receives the model of a worker that has asked, and listens to its next question.
  func receive(modelOf worker: Int, into desk: FloatBuffer) throws {
    try mailbox.receive(
      into: UnsafeMutableRawBufferPointer(desk.values), from: workers.rank(of: worker), slot: slot(.model, worker))
    try listen(to: worker)
  }

  /// Sends the answer to a worker from the desk, which stays as it is until ``hasLeft(answerTo:)``.
  func send(answerTo worker: Int, from desk: FloatBuffer) throws {
    try mailbox.send(UnsafeRawBufferPointer(desk.values), to: workers.rank(of: worker), slot: slot(.answer, worker))
  }

  /// Whether the answer to a worker of another rank has left.
  func hasLeft(answerTo worker: Int) -> Bool { mailbox.hasLeft(slot: slot(.answer, worker), to: workers.rank(of: worker)) }

  /// Tells ranks that a worker asks no more.
  func send(endOf worker: Int, to ranks: some Sequence<Int>) throws {
    for other in ranks {
      if other == workers.rank {
        arrivals.append(.end(of: worker))
      } else {
        try mailbox.send(UnsafeRawBufferPointer(end.bytes), to: other, slot: slot(.header, worker))
      }
    }
  }

  // MARK: Minibatches

  /// Begins to listen to a worker that will want a minibatch; on rank 0.
  func listen(toClaimsOf worker: Int) throws {
    guard !workers.isLocal(worker) else { return }
    try mailbox.receive(into: place(.claim, worker, of: numbers.in), from: workers.rank(of: worker), slot: slot(.claim, worker))
  }

  /// Asks rank 0 for a minibatch, the next of a counter if none is named.
  func send(claim minibatch: Int?, by worker: Int, isStopRequested: Bool) throws {
    guard workers.rank > 0 else { return arrivals.append(.claim(minibatch, by: worker, isStopRequested: isStopRequested)) }
    let message = place(.claim, worker, of: numbers.out)
    message.storeBytes(of: minibatch ?? -1, as: Int.self)
    message.storeBytes(of: isStopRequested ? 1 : 0, toByteOffset: 8, as: Int.self)
    try mailbox.receive(into: place(.minibatch, worker, of: numbers.in), from: 0, slot: slot(.minibatch, worker))
    try mailbox.send(UnsafeRawBufferPointer(message), to: 0, slot: slot(.claim, worker))
  }

  /// Gives a worker a minibatch, or nil if there is none left.
  func send(_ minibatch: Int?, to worker: Int) throws {
    guard !workers.isLocal(worker) else { return arrivals.append(.minibatch(minibatch, for: worker)) }
    let message = place(.minibatch, worker, of: numbers.out)
    message.storeBytes(of: minibatch ?? -1, as: Int.self)
    try mailbox.send(UnsafeRawBufferPointer(message), to: workers.rank(of: worker), slot: slot(.minibatch, worker))
  }

  // MARK: Progress

  /// The oldest arrival that is not taken; nil if there is none.
  func takeArrival() -> Arrival? { arrivals.isEmpty ? nil : arrivals.removeFirst() }

  /// Lets messages progress.
  func poll() throws { _ = try mailbox.poll(take) }

  /// Progresses messages until `isDone`, which is asked after each turn.
  func wait(for activity: String, awaited: @escaping () -> [Int], until isDone: () throws -> Bool) throws {
    try mailbox.wait(for: activity, awaited: awaited, arrived: take, until: isDone)
  }

  /// Waits until everything has left.
  func leave() throws { try mailbox.wait(for: "the partners of averages", arrived: take) { !mailbox.isSending } }

  func abandon() { mailbox.abandon(keeping: self) }

  /// Takes a piece that has arrived.
  private func take(_ slot: Int, from rank: Int, _ byteCount: Int) throws {
    let (kind, local) = slot.quotientAndRemainder(dividingBy: workers.localCount)
    guard mailbox.hasArrived(slot: slot, from: rank), let kind = Kind(rawValue: kind) else { return }
    // Answers and minibatches come to workers of this rank, everything else from those of the other.
    let (own, other) = (workers.id(local), workers.id(local, of: rank))
    switch kind {
    case .header:
      let partner = place(.header, other, of: numbers.in).load(as: Int.self)
      arrivals.append(partner < 0 ? .end(of: other) : .question(from: other, to: partner))
    case .model: arrivals.append(.model(of: other))
    case .answer: arrivals.append(.answer(to: own))
    case .claim:
      let claim = place(.claim, other, of: numbers.in)
      let minibatch = claim.load(as: Int.self)
      let isStopRequested = claim.load(fromByteOffset: 8, as: Int.self) != 0
      arrivals.append(.claim(minibatch < 0 ? nil : minibatch, by: other, isStopRequested: isStopRequested))
    case .minibatch:
      let minibatch = place(.minibatch, own, of: numbers.in).load(as: Int.self)
      arrivals.append(.minibatch(minibatch < 0 ? nil : minibatch, for: own))
    }
  }
}
