internal import Buffers
internal import MPI
internal import Transport

/// The messages of a step between workers of different ranks.
///
/// A message is a header of 16 bytes, the step and the end of the run as its sender knows it, and then what the method writes. It goes once
/// to each rank that has some of the worker's receivers. What workers of one rank send each other is read where it was written.
/// - Memory: a message of each worker of this rank, and as many as may arrive in a step.
final class GossipMessages {
  /// The bytes in front of what a method writes.
  static let headerByteCount = 16

  private let hosts: HostMap
  private let workers: RankWorkers
  private let mailbox: Mailbox
  private let isVarying: Bool
  private let capacity: Int
  /// By worker of this rank, its message.
  private let written: [ByteBuffer]
  /// By worker of another rank, its message of this step.
  private var arriving: [Int: ByteBuffer] = [:]
  private var free: [ByteBuffer] = []
  /// The workers whose messages have been taken in this step.
  private var taken: Set<Int> = []

  /// Prepares messages of up to `byteCount` bytes, of which at most `most` are received and sent in a step; collective.
  init(
    _ hosts: HostMap, _ workers: RankWorkers, byteCount: Int, isVarying: Bool, most: (received: Int, sent: Int)
  ) throws {
    (self.hosts, self.workers, self.isVarying) = (hosts, workers, isVarying)
    let capacity = GossipMessages.headerByteCount + byteCount
    self.capacity = capacity
    written = (0..<workers.localCount).map { _ in ByteBuffer(count: capacity) }
    let pieces = isVarying ? 1 : Mailbox.pieceCount(of: capacity)
    mailbox = try Mailbox(
      hosts, slotCount: workers.localCount, receiveCount: pieces * most.received, sendCount: pieces * most.sent)
  }

  /// The traffic counted so far.
  var traffic: Traffic { mailbox.traffic }

  /// Begins to receive what `senders` of other ranks send in a step.
  func receive(from senders: Set<Int>) throws {
    free += arriving.values
    arriving = [:]
    taken = []
    for worker in senders.sorted() where !workers.isLocal(worker) {
      let buffer = free.popLast() ?? ByteBuffer(count: capacity)
      arriving[worker] = buffer
      try mailbox.receive(
        into: buffer.bytes, from: workers.rank(of: worker), slot: workers.local(worker), isVarying: isVarying)
    }
  }

  /// Sends the message of a worker of this rank to the ranks of its receivers; what it says is written by `write`, which returns the number
  /// of bytes.
  func send(
    _ local: Int, to receivers: [Int], step: Int, end: Int, waiting: (() throws -> Void) throws -> Void,
    write: (UnsafeMutableRawPointer) -> Int
  ) throws {
    let ranks = Set(receivers.map(workers.rank(of:))).subtracting([workers.rank]).sorted()
    let hasLeft = { [self] in (0..<workers.rankCount).allSatisfy { mailbox.hasLeft(slot: local, to: $0) } }
    if !hasLeft() {
      try waiting { try mailbox.wait(for: "the neighbours of worker \(workers.id(local))", until: hasLeft) }
    }
    let message = written[local].baseAddress
    message.storeBytes(of: step, as: Int.self)
    message.storeBytes(of: end, toByteOffset: 8, as: Int.self)
    let byteCount = GossipMessages.headerByteCount + write(message + GossipMessages.headerByteCount)
    let bytes = UnsafeRawBufferPointer(start: message, count: byteCount)
    for rank in ranks { try mailbox.send(bytes, to: rank, slot: local, isVarying: isVarying) }
  }

  /// What a worker has sent in this step, behind its header.
  func message(of worker: Int) -> UnsafeRawPointer {
    let buffer = workers.isLocal(worker) ? written[workers.local(worker)] : arriving[worker]!
    return UnsafeRawPointer(buffer.baseAddress + GossipMessages.headerByteCount)
  }

  private func hasArrived(from worker: Int) -> Bool {
    workers.isLocal(worker) || mailbox.hasArrived(slot: workers.local(worker), from: workers.rank(of: worker))
  }

  /// Waits for the messages of `senders`; returns those that have not been taken in this step, and the first end that they tell.
  func take(from senders: [Int], step: Int, waiting: (() throws -> Void) throws -> Void) throws -> (new: [Int], end: Int) {
    let isComplete = { [self] in senders.allSatisfy(hasArrived) }
    if !isComplete() {
      try waiting {
        try mailbox.wait(
          for: "the models of neighbours, step \(step + 1)",
          awaited: { [self] in Set(senders.filter { !hasArrived(from: $0) }.map(workers.rank(of:))).sorted() },
          until: isComplete)
      }
    }
    var (new, end) = ([Int](), Int.max)
    for worker in senders where !workers.isLocal(worker) && taken.insert(worker).inserted {
      let header = UnsafeRawPointer(arriving[worker]!.baseAddress)
      let told = header.load(as: Int.self)
      guard told == step else {
        throw ExchangeError.unexpectedMessage(
          from: hosts.name(of: workers.rank(of: worker)), detail: "step \(told + 1), step \(step + 1) expected")
      }
      end = min(end, header.load(fromByteOffset: 8, as: Int.self))
      new.append(worker)
    }
    return (new, end)
  }

  /// Lets messages progress.
  func poll() throws { try mailbox.poll() }

  /// Waits until everything has left.
  func leave() throws { try mailbox.wait(for: "the neighbours before a meeting") { !mailbox.isSending } }

  func abandon() { mailbox.abandon(keeping: self) }
}
