internal import Buffers
internal import MPI

/// Messages between two ranks that wait for each other, with a time limit and by name.
package final class Letters {
  private let patience: Patience
  private let memory: ByteBuffer
  private let mailbox: Mailbox

  /// Prepares to exchange messages of up to `capacity` bytes; collective.
  package init(_ hosts: HostMap, capacity: Int) throws {
    patience = hosts.patience
    memory = ByteBuffer(count: capacity)
    mailbox = try Mailbox(hosts, slotCount: 1, receiveCount: 1, sendCount: 1)
  }

  /// Sends a message; returns when its receiver has it or MPI has buffered it.
  package func send(_ letter: UnsafeRawBufferPointer, to rank: Int, activity: String) throws {
    try wait(for: activity) { try mailbox.send(letter, to: rank, slot: 0, isVarying: true) }
  }

  /// Sends words.
  package func send(_ words: [Int], to rank: Int, activity: String) throws {
    try words.withUnsafeBytes { try send($0, to: rank, activity: activity) }
  }

  /// The next message from `rank`; valid until the next call.
  ///
  /// - Parameter pause: Called in each turn without a message, if a core should not be kept busy. The wait then gives no notice
  ///   and lasts twice as long, because another rank waits for the same reason and knows more.
  package func receive(from rank: Int, activity: String, pause: (() -> Void)? = nil) throws -> UnsafeRawBufferPointer {
    var count = 0
    try wait(for: activity, pause: pause) {
      try mailbox.receive(into: memory.bytes, from: rank, slot: 0, isVarying: true)
    } arrived: {
      count = $0
    }
    return UnsafeRawBufferPointer(start: memory.baseAddress, count: count)
  }

  /// The words of the next message from `rank`.
  package func receiveWords(from rank: Int, activity: String, pause: (() -> Void)? = nil) throws -> [Int] {
    Array(try receive(from: rank, activity: activity, pause: pause).bindMemory(to: Int.self))
  }

  private func wait(
    for activity: String, pause: (() -> Void)? = nil, _ begin: () throws -> Void, arrived: (Int) -> Void = { _ in }
  ) throws {
    do {
      try begin()
      try mailbox.wait(
        for: activity, meanwhile: pause, patience: pause == nil ? patience : patience.silent.times(2),
        arrived: { arrived($2) }, until: { !mailbox.isUnderWay })
    } catch {
      mailbox.abandon(keeping: self)
      throw error
    }
  }
}
