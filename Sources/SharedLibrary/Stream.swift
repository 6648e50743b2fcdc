internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
internal import Transport

#if canImport(Glibc)
  internal import Glibc
#endif

/// Sums of arrays of one layout: an exchange, what drives it, and the memory from which it encodes.
///
/// All checks come first: what a caller passes never reaches a precondition.
final class Stream: @unchecked Sendable {
  let world: World
  let options: StreamOptions
  let gradient: SharedGradient
  var layout: TensorLayout
  var exchange: CodedAllReduce
  /// Frees the memory that the exchange shares; collective.
  var release: () throws -> Void
  /// The residual, in the order of the layout, while the codec has none; nil if nothing is left behind.
  var setAside: FloatBuffer?
  /// What exchanges with earlier codecs and orders have counted.
  var earlier = StreamCounts()
  let overlap: Overlap
  private let driver: ExchangeDriver
  private var isActive = false
  /// Whether an exchange has ended with an error: ranks may be out of step, and no other one is possible.
  private var isBroken = false
  private var written = WrittenRanges(count: 0)

  /// Prepares exchanges of what has been compared between ranks.
  ///
  /// Collective.
  init(_ world: World, _ codec: any Codec, _ layout: TensorLayout, _ options: StreamOptions) throws {
    (self.world, self.layout, self.options) = (world, layout, options)
    overlap = Stream.overlap(options, world)
    gradient = try SharedGradient(count: layout.count, hosts: world.hosts)
    (exchange, release) = try Stream.exchange(codec, layout, gradient, options, world)
    driver = ExchangeDriver(overlap)
  }

  /// How an exchange is driven: inline turns come seldom between the layers of others, so `auto` is a thread or nothing.
  private static func overlap(_ options: StreamOptions, _ world: World) -> Overlap {
    let mayUseThread = Runtime.threadLevel == .multiple
    let resolved = options.overlap.resolved(for: world.hosts, among: world.hosts, threads: options.threads)
    if options.overlap == .auto { return resolved == .thread && mayUseThread ? .thread : .off }
    return resolved == .thread && !mayUseThread ? .inline : resolved
  }

  /// Makes an exchange; collective.
  static func exchange(
    _ codec: any Codec, _ layout: TensorLayout, _ gradient: SharedGradient, _ options: StreamOptions, _ world: World
  ) throws -> (CodedAllReduce, release: () throws -> Void) {
    var settings = CodedAllReduce.Options()
    settings.topology = options.topology
    settings.isRestorable = options.isRestorable
    settings.passesNonFinite = options.passesNonFinite
    settings.seed = options.seed
    if options.overlap != .off { settings.linkSpeed = try world.linkSpeed() }
    return try world.hosts.notingMemory {
      try CodedAllReduce(codec, layout: layout, gradients: [gradient], options: settings)
    }
  }

  /// The number of values.
  var count: Int { layout.count }

  /// Throws if an exchange is under way.
  func demandRest() throws {
    try demand(!isBroken, "an exchange of this stream ended with an error: ranks may be out of step, so end the job")
    try demand(!isActive, "an exchange of this stream is under way: finish it first")
  }

  private func demandActive() throws { try demand(isActive, "no exchange of this stream is under way: begin one first") }

  // MARK: An exchange

  func begin(step: Int64) throws {
    try demandRest()
    try demand(step >= 0, "a step is a number from 0, not \(step)")
    written = WrittenRanges(count: count)
    try orBreak { try exchange.begin(Contribution(step: Int(step), isReady: false)) }
    isActive = true
    driver.drive(exchange)
  }

  func write(_ values: UnsafePointer<Float>?, offset: Int64, count: Int64, scale: Float) throws {
    try demandActive()
    let range = try range(offset, count)
    guard !range.isEmpty else { return }
    guard let values else { throw Failure.usage("values \(range) were not given: the pointer is null") }
    try demand(written.add(range), "some of the values \(range) were written before in this exchange")
    let room = gradient.values.baseAddress + range.lowerBound
    if scale == 1 {
      room.update(from: values, count: range.count)
    } else {
      for i in 0..<range.count { room[i] = scale * values[i] }
    }
    exchange.markReady(upTo: written.end)
    driver.turn()
  }

  func finish(_ pieces: Pieces) throws {
    try demandActive()
    for gap in written.gaps { gradient.values.values(in: gap).update(repeating: 0) }
    isActive = false
    try orBreak { try driver.deliver(exchange, into: .update { range, values in pieces.set(range, values) }) }
  }

  func discard() throws {
    try demandActive()
    try demand(options.isRestorable, "the stream was not made restorable")
    for gap in written.gaps { gradient.values.values(in: gap).update(repeating: 0) }
    isActive = false
    try orBreak { try driver.discard(exchange) }
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
    driver.abandon()
  }

  /// The range of `count` values from `offset` on; throws if they are not in the array.
  func range(_ offset: Int64, _ count: Int64) throws -> Range<Int> {
    try demand(
      offset >= 0 && count >= 0 && offset <= Int64(self.count) && count <= Int64(self.count) - offset,
      "\(count) values from \(offset) on are not in an array of \(self.count)")
    return Int(offset)..<Int(offset + count)
  }
}

/// Which values of an array have been written, each once.
struct WrittenRanges {
  private let count: Int
  /// Disjoint, in order, not adjacent.
  private var ranges: [Range<Int>] = []

  init(count: Int) { self.count = count }

  /// Adds a range; false if a value of it was there.
  mutating func add(_ range: Range<Int>) -> Bool {
    var place = ranges.count
    while place > 0 && ranges[place - 1].lowerBound >= range.upperBound { place -= 1 }
    if place > 0 && ranges[place - 1].upperBound > range.lowerBound { return false }
    var (lower, upper, first) = (range.lowerBound, range.upperBound, place)
    if place > 0 && ranges[place - 1].upperBound == lower { (lower, first) = (ranges[place - 1].lowerBound, place - 1) }
    if place < ranges.count && ranges[place].lowerBound == upper { (upper, place) = (ranges[place].upperBound, place + 1) }
    ranges.replaceSubrange(first..<place, with: [lower..<upper])
    return true
  }

  /// The end of what has been written without a gap from the start.
  var end: Int { ranges.first.map { $0.lowerBound == 0 ? $0.upperBound : 0 } ?? 0 }

  /// What has not been written.
  var gaps: [Range<Int>] {
    var (gaps, start): ([Range<Int>], Int) = ([], 0)
    for range in ranges {
      if range.lowerBound > start { gaps.append(start..<range.lowerBound) }
      start = range.upperBound
    }
    return start < count ? gaps + [start..<count] : gaps
  }
}
