import Buffers
import Foundation
import Networks

/// Slices of one process, a thread for each, that read one another's memory: the plainest exchange there can be.
///
/// Memory is poisoned between passes, so that nothing old is read unseen.
final class ThreadedSlices: @unchecked Sendable {
  fileprivate let condition = NSCondition()
  fileprivate let count: Int
  /// By slice and slot.
  fileprivate var memory: [[FloatBuffer]]
  fileprivate var isPublished: [[Bool]]
  fileprivate var endedPasses: [Int]

  init(count: Int) {
    self.count = count
    memory = Array(repeating: [], count: count)
    isPublished = Array(repeating: [], count: count)
    endedPasses = Array(repeating: 0, count: count)
  }

  /// Runs `body` for all slices at once, each on a thread of its own; their results by slice.
  func run<Result>(_ body: @escaping (_ exchange: Slice) throws -> Result) throws -> [Result] {
    nonisolated(unsafe) let body = body
    nonisolated(unsafe) var results: [Int: Swift.Result<Result, any Error>] = [:]
    for slice in 0..<count {
      Thread.detachNewThread {
        let result = Swift.Result { try body(Slice(self, slice)) }
        self.condition.lock()
        results[slice] = result
        self.condition.broadcast()
        self.condition.unlock()
      }
    }
    condition.lock()
    defer { condition.unlock() }
    while results.count < count { condition.wait() }
    return try (0..<count).map { try results[$0]!.get() }
  }

  /// What one slice sees of the others.
  final class Slice: SliceExchange {
    let slice: Int
    let sliceCount: Int
    private let all: ThreadedSlices
    private var slots: [BlockSlot] = []
    private var sampleCount = 0
    private var pass = 0
    /// The values of blocks that went to other slices.
    private(set) var valuesSent = 0

    init(_ all: ThreadedSlices, _ slice: Int) {
      (self.all, self.slice, sliceCount) = (all, slice, all.count)
    }

    func reserve(_ slots: [BlockSlot], sampleCount: Int) {
      waitForAll()
      self.slots = slots
      all.memory[slice] = slots.map { FloatBuffer(count: $0.columnCounts[slice] * sampleCount) }
      waitForAll()
    }

    func begin(sampleCount: Int) {
      self.sampleCount = sampleCount
      waitForAll()
      for buffer in all.memory[slice] { for index in 0..<buffer.count { buffer[index] = .nan } }
      all.isPublished[slice] = slots.map { _ in false }
      waitForAll()
    }

    func values(of slot: Int) -> UnsafeMutablePointer<Float> { all.memory[slice][slot].baseAddress }

    func publish(_ slot: Int) {
      all.condition.lock()
      precondition(!all.isPublished[slice][slot], "slot \(slot) is published twice")
      all.isPublished[slice][slot] = true
      all.condition.broadcast()
      all.condition.unlock()
      for (peer, columns) in slots[slot].outgoing.enumerated() where peer != slice {
        valuesSent += columns.count * sampleCount
      }
    }

    func block(_ slot: Int, from source: Int) -> UnsafePointer<Float> {
      all.condition.lock()
      while source != slice && !all.isPublished[source][slot] { all.condition.wait() }
      all.condition.unlock()
      return UnsafePointer(all.memory[source][slot].baseAddress + slots[slot].incoming[source].lowerBound * sampleCount)
    }

    func end() {}

    /// A barrier.
    private func waitForAll() {
      pass += 1
      all.condition.lock()
      all.endedPasses[slice] = pass
      all.condition.broadcast()
      while all.endedPasses.contains(where: { $0 < pass }) { all.condition.wait() }
      all.condition.unlock()
    }
  }
}
