internal import Buffers
internal import MPI

/// Messages between two ranks of which each waits for the other, with a limit and by name.
package final class Letters {
  private let hosts: HostMap
  private let world: Communicator
  private let memory: ByteBuffer
  private let requests: RequestTable

  /// Prepares to exchange letters of up to `capacity` bytes; collective.
  package init(_ hosts: HostMap, capacity: Int) throws {
    self.hosts = hosts
    world = try hosts.duplicate()
    memory = ByteBuffer(count: capacity)
    requests = RequestTable(on: world, slotCount: 1)
  }

  /// Sends a letter, and returns when its receiver has it or MPI has taken it over.
  package func send(_ letter: UnsafeRawBufferPointer, to rank: Int, activity: String) throws {
    try wait(for: rank, activity) { try requests.send(letter, to: rank, tag: 0, slot: 0) }
  }

  /// Sends words.
  package func send(_ words: [Int], to rank: Int, activity: String) throws {
    try words.withUnsafeBytes { try send($0, to: rank, activity: activity) }
  }

  /// The next letter from `rank`; valid until the next call.
  ///
  /// - Parameter pause: Called in each turn without a letter, where a core should not be kept busy; the wait is silent then, and twice as
  ///   long, because somebody else waits for the same reason and knows more.
  package func receive(from rank: Int, activity: String, pause: (() -> Void)? = nil) throws -> UnsafeRawBufferPointer {
    var count = 0
    try wait(for: rank, activity, pause: pause) {
      try requests.receive(into: memory.bytes, from: rank, tag: 0, slot: 0)
    } arrived: {
      count = $0
    }
    return UnsafeRawBufferPointer(start: memory.baseAddress, count: count)
  }

  /// The words of the next letter from `rank`.
  package func receiveWords(from rank: Int, activity: String, pause: (() -> Void)? = nil) throws -> [Int] {
    Array(try receive(from: rank, activity: activity, pause: pause).bindMemory(to: Int.self))
  }

  private func wait(
    for rank: Int, _ activity: String, pause: (() -> Void)? = nil, _ begin: () throws -> Void, arrived: (Int) -> Void = { _ in }
  ) throws {
    var watchdog = Watchdog(
      pause == nil ? hosts.waitingRanks : hosts.waitingRanks(with: hosts.patience.silent.times(2)))
    do {
      try begin()
      while requests.activeCount > 0 {
        if try requests.testSome({ arrived($1) }) > 0 { continue }
        pause?()
        try watchdog.idle { .timedOut(activity: activity, awaited: [hosts.name(of: rank)], seconds: $0) }
      }
    } catch {
      requests.cancelAll()
      // MPI may still use its memory.
      _ = Unmanaged.passRetained(self)
      throw error
    }
  }
}
