internal import Foundation
internal import Glibc

/// Writes lines to a file from its own thread, so that a slow disk delays no other thread.
///
/// Lines reach the system within a quarter of a second, even if all other threads wait forever. If the disk falls behind, lines
/// are dropped. After a write has failed nothing more is written, so that the file has no end events without begin events.
final class TraceWriter: @unchecked Sendable {
  /// Seconds between writes.
  private static let interval = 0.25
  /// The number of bytes that may wait: enough for seconds of events, and little memory for a run.
  private static let capacity = 1 << 24

  private let file: TraceFile
  private let condition = NSCondition()
  // Guarded by the condition.
  private var waiting: [UInt8] = []
  private var hasEnded = false
  private var isStopped = false
  private var dropped = 0
  private var failure: String?

  /// Creates a writer that appends to `file`, with its thread.
  init(_ file: TraceFile) {
    self.file = file
    Thread.detachNewThread { [self] in run() }
  }

  /// Queues what `write` appends: whole lines.
  func add(_ write: (inout [UInt8]) -> Void) {
    condition.lock()
    defer { condition.unlock() }
    if waiting.count < TraceWriter.capacity { write(&waiting) } else { dropped += 1 }
  }

  /// Writes what is left and ends the thread.
  func end() {
    condition.lock()
    defer { condition.unlock() }
    hasEnded = true
    condition.broadcast()
    while !isStopped { condition.wait() }
  }

  /// The first error in writing the file, and the number of missing blocks of lines.
  var state: (failure: String?, dropped: Int) {
    condition.lock()
    defer { condition.unlock() }
    return (failure, dropped)
  }

  private func run() {
    var spare: [UInt8] = []
    condition.lock()
    while true {
      if !hasEnded { _ = condition.wait(until: Date(timeIntervalSinceNow: TraceWriter.interval)) }
      let (isLast, isBroken) = (hasEnded, failure != nil)
      swap(&waiting, &spare)
      condition.unlock()
      var problem: String?
      if isBroken {
        spare.removeAll()
      } else if !spare.isEmpty {
        do { try file.append(spare) } catch { problem = "\(error)" }
      }
      spare.removeAll(keepingCapacity: true)
      condition.lock()
      if let problem {
        failure = failure ?? problem
        dropped += 1
      }
      if isLast { break }
    }
    isStopped = true
    condition.broadcast()
    condition.unlock()
  }
}
