import Buffers
import Foundation
import Networks

/// Stripes of one process, a thread for each, that read one another's memory: the plainest exchange there can be.
///
/// Memory is poisoned between passes, so that nothing old is read unseen.
final class ThreadedStripes: @unchecked Sendable {
  fileprivate let condition = NSCondition()
  fileprivate let count: Int
  /// By stripe and slot.
  fileprivate var memory: [[FloatBuffer]]
  fileprivate var isPublished: [[Bool]]
  fileprivate var endedPasses: [Int]

  init(count: Int) {
    self.count = count
    memory = Array(repeating: [], count: count)
    isPublished = Array(repeating: [], count: count)
    endedPasses = Array(repeating: 0, count: count)
  }

  /// Runs `body` for all stripes at once, each on a thread of its own; their results by stripe.
  func run<Result>(_ body: @escaping (_ exchange: Stripe) throws -> Result) throws -> [Result] {
    nonisolated(unsafe) let body = body
    nonisolated(unsafe) var results: [Int: Swift.Result<Result, any Error>] = [:]
    for stripe in 0..<count {
      Thread.detachNewThread {
        let result = Swift.Result { try body(Stripe(self, stripe)) }
        self.condition.lock()
        results[stripe] = result
        self.condition.broadcast()
        self.condition.unlock()
      }
    }
    condition.lock()
    defer { condition.unlock() }
    while results.count < count { condition.wait() }
    return try (0..<count).map { try results[$0]!.get() }
  }

  /// What one stripe sees of the others.
  final class Stripe: StripeExchange {
    let stripe: Int
    let stripeCount: Int
    private let all: ThreadedStripes
    private var slots: [BlockSlot] = []
    private var sampleCount = 0
    private var pass = 0
    /// The values of blocks that went to other stripes.
    private(set) var valuesSent = 0

    init(_ all: ThreadedStripes, _ stripe: Int) {
      (self.all, self.stripe, stripeCount) = (all, stripe, all.count)
    }

    func reserve(_ slots: [BlockSlot], sampleCount: Int) {
      waitForAll()
      self.slots = slots
      all.memory[stripe] = slots.map { FloatBuffer(count: $0.columnCounts[stripe] * sampleCount) }
      waitForAll()
    }

    func begin(sampleCount: Int) {
      self.sampleCount = sampleCount
      waitForAll()
      for buffer in all.memory[stripe] { for index in 0..<buffer.count { buffer[index] = .nan } }
      all.isPublished[stripe] = slots.map { _ in false }
      waitForAll()
    }

    func values(of slot: Int) -> UnsafeMutablePointer<Float> { all.memory[stripe][slot].baseAddress }

    func publish(_ slot: Int) {
      all.condition.lock()
      precondition(!all.isPublished[stripe][slot], "slot \(slot) is published twice")
      all.isPublished[stripe][slot] = true
      all.condition.broadcast()
      all.condition.unlock()
      for (peer, columns) in slots[slot].outgoing.enumerated() where peer != stripe {
        valuesSent += columns.count * sampleCount
      }
    }

    func block(_ slot: Int, from source: Int) -> UnsafePointer<Float> {
      all.condition.lock()
      while source != stripe && !all.isPublished[source][slot] { all.condition.wait() }
      all.condition.unlock()
      return UnsafePointer(all.memory[source][slot].baseAddress + slots[slot].incoming[source].lowerBound * sampleCount)
    }

    func end() {}

    /// A barrier.
    private func waitForAll() {
      pass += 1
      all.condition.lock()
      all.endedPasses[stripe] = pass
      all.condition.broadcast()
      while all.endedPasses.contains(where: { $0 < pass }) { all.condition.wait() }
      all.condition.unlock()
    }
  }
}
