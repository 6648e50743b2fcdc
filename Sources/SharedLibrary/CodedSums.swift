internal import Buffers
internal import Codecs
internal import Collectives
internal import MPI
internal import Transport

/// Sums by a codec: an exchange, what drives it, and the memory from which it encodes.
final class CodedSums: StreamEngine {
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
  private let driver: ExchangeDriver

  /// Prepares exchanges of what has been compared between ranks.
  ///
  /// Collective.
  init(_ world: World, _ codec: any Codec, _ layout: TensorLayout, _ options: StreamOptions) throws {
    (self.world, self.layout, self.options) = (world, layout, options)
    gradient = try SharedGradient(count: layout.count, hosts: world.hosts)
    (exchange, release) = try CodedSums.exchange(codec, layout, gradient, options, world)
    driver = ExchangeDriver(CodedSums.overlap(options, world))
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
    settings.observer = options.events?.add
    if options.overlap != .off { settings.linkSpeed = try world.linkSpeed() }
    return try world.hosts.notingMemory {
      try CodedAllReduce(codec, layout: layout, gradients: [gradient], options: settings)
    }
  }

  var counts: StreamCounts {
    var counts = earlier
    counts.add(exchange)
    return counts
  }

  var predictedTraffic: Traffic { exchange.predictedTraffic }

  var sums: CodedSums? { self }
  var residual: FloatBuffer? { exchange.residual.count > 0 ? exchange.residual : setAside }
  var ownerResidual: FloatBuffer? { exchange.ownerResidual }
  var ownedRanges: [Range<Int>] { exchange.ownedRanges }

  func begin(step: Int) throws {
    try exchange.begin(Contribution(step: step, isReady: false))
    driver.drive(exchange)
  }

  func markReady(upTo end: Int) {
    exchange.markReady(upTo: end)
    driver.turn()
  }

  func deliver(into pieces: Pieces) throws {
    try driver.deliver(exchange, into: .update { range, values in pieces.set(range, values) })
  }

  func discard() throws { try driver.discard(exchange) }

  func giveUp() { driver.abandon() }
}
