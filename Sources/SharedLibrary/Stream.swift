internal import Buffers
internal import Collectives
internal import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

/// How a stream exchanges an array.
///
/// What it is given has been checked: nothing that a caller passes reaches a precondition. Between exchanges it keeps residuals, or a memory
/// of another kind.
protocol StreamEngine: AnyObject {
  /// The tensors, in the order of the array.
  var layout: TensorLayout { get }
  /// Where a contribution is written.
  var gradient: SharedGradient { get }
  /// What exchanges have counted so far.
  var counts: StreamCounts { get }
  /// The traffic of an exchange, by the format alone.
  var predictedTraffic: Traffic { get }
  /// This engine, if its residuals can move to another codec or order; nil by default.
  var sums: CodedSums? { get }
  /// What this rank has left behind of its contributions, and what of the sums that it owns; nil by default.
  var residual: FloatBuffer? { get }
  var ownerResidual: FloatBuffer? { get }
  /// The values that this rank owns, in the order of ``ownerResidual``; none by default.
  var ownedRanges: [Range<Int>] { get }
  /// The parts of its memory; none by default.
  var memory: [UnsafeMutableBufferPointer<Float>] { get }
  /// The numbers beside the memory, a line of `name=value` for each, sorted; empty by default.
  var numbers: String { get }

  /// Begins an exchange; collective.
  func begin(step: Int) throws
  /// Marks the values before `end` as final.
  func markReady(upTo end: Int)
  /// Ends an exchange of a whole contribution, and writes its result to `pieces`; collective.
  func deliver(into pieces: Pieces) throws
  /// Ends an exchange of a whole contribution as if it had never been; collective.
  func discard() throws
  /// Gives up an exchange under way.
  func giveUp()

  /// The counters in ``numbers``; throws if this is not their form, or if there is no memory, by default.
  func counters(of numbers: String) throws -> [String: String]
  /// Goes on from a memory that has been written, and the counters beside it; collective.
  func restore(_ counters: [String: String]) throws
}

extension StreamEngine {
  var sums: CodedSums? { nil }
  var residual: FloatBuffer? { nil }
  var ownerResidual: FloatBuffer? { nil }
  var ownedRanges: [Range<Int>] { [] }
  var memory: [UnsafeMutableBufferPointer<Float>] { [] }
  var numbers: String { "" }

  func counters(of numbers: String) throws -> [String: String] {
    throw Failure.usage("this stream has residuals, which are written in place, and no memory of another kind")
  }

  func restore(_ counters: [String: String]) throws {}
}

/// Exchanges of arrays of one layout: checks what a caller passes, and which call is possible now.
final class Stream: @unchecked Sendable {
  let world: World
  let options: StreamOptions
  let engine: any StreamEngine
  /// What `morse_stream_numbers` has returned last, in memory that lasts until it is called again.
  private var numbers: UnsafeMutablePointer<CChar>?
  private var isActive = false
  /// Whether an exchange has ended with an error: ranks may be out of step, and no other one is possible.
  private var isBroken = false
  private var written = WrittenRanges(count: 0)

  init(_ world: World, _ options: StreamOptions, _ engine: any StreamEngine) {
    (self.world, self.options, self.engine) = (world, options, engine)
  }

  deinit { free(numbers) }

  /// The number of values.
  var count: Int { engine.layout.count }

  /// The engine of a stream of sums by a codec; throws if this is another one.
  func sums() throws -> CodedSums {
    guard let sums = engine.sums else {
      throw Failure.usage("this stream has no codec of sums, whose residuals move to another codec, order or memory")
    }
    return sums
  }

  /// Throws if an exchange is under way.
  func demandRest() throws {
    try demand(!isBroken, "an exchange of this stream ended with an error: ranks may be out of step, so end the job")
    try demand(!isActive, "an exchange of this stream is under way: finish it first")
  }

  private func demandActive() throws { try demand(isActive, "no exchange of this stream is under way: begin one first") }

  /// Keeps a text for a caller until the next one.
  func keep(numbers text: String) -> UnsafePointer<CChar>? {
    free(numbers)
    numbers = strdup(text)
    return UnsafePointer(numbers)
  }

  // MARK: An exchange

  func begin(step: Int64) throws {
    try demandRest()
    try demand(step >= 0, "a step is a number from 0, not \(step)")
    written = WrittenRanges(count: count)
    try orBreak { try engine.begin(step: Int(step)) }
    isActive = true
  }

  func write(_ values: UnsafePointer<Float>?, offset: Int64, count: Int64, scale: Float) throws {
    try demandActive()
    let range = try range(offset, count)
    guard !range.isEmpty else { return }
    guard let values else { throw Failure.usage("values \(range) were not given: the pointer is null") }
    try demand(written.add(range), "some of the values \(range) were written before in this exchange")
    let room = engine.gradient.values.baseAddress + range.lowerBound
    if scale == 1 {
      room.update(from: values, count: range.count)
    } else {
      for i in 0..<range.count { room[i] = scale * values[i] }
    }
    engine.markReady(upTo: written.end)
  }

  func finish(_ pieces: Pieces) throws {
    try demandActive()
    complete()
    try orBreak { try engine.deliver(into: pieces) }
  }

  func discard() throws {
    try demandActive()
    try demand(options.isRestorable, "the stream was not made restorable")
    complete()
    try orBreak { try engine.discard() }
  }

  /// Ends a contribution: what was not written is zero.
  private func complete() {
    for gap in written.gaps { engine.gradient.values.values(in: gap).update(repeating: 0) }
    isActive = false
  }

  /// Runs a part of an exchange; after an error there is no other one.
  private func orBreak(_ body: () throws -> Void) throws {
    do { try body() } catch {
      isBroken = true
      throw error
    }
  }

  /// Gives up an exchange under way.
  func end() {
    guard isActive else { return }
    isActive = false
    engine.giveUp()
  }

  /// The range of `count` values from `offset` on; throws if they are not in the array.
  func range(_ offset: Int64, _ count: Int64) throws -> Range<Int> {
    try demand(
      offset >= 0 && count >= 0 && offset <= Int64(self.count) && count <= Int64(self.count) - offset,
      "\(count) values from \(offset) on are not in an array of \(self.count)")
    return Int(offset)..<Int(offset + count)
  }
}
