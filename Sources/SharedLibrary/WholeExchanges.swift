internal import Buffers
internal import Codecs
internal import Collectives
internal import Kernels
internal import Transport

/// Exchanges by an aggregation that needs the whole contribution at once, and keeps a memory of its own: sketches, the largest values.
///
/// What it delivers is a sum, or a change of a model at the rate 1, with its momentum inside. An exchange begins when the contribution is
/// complete. One with a value that is not finite on any rank is left out on all, so that no memory is spoilt.
/// - Cost: besides the messages of the aggregation a byte to each other rank.
final class WholeExchanges: StreamEngine {
  let layout: TensorLayout
  let gradient: SharedGradient
  let aggregation: any Aggregation
  private let world: World
  private let passesNonFinite: Bool
  private var step = 0
  private var skipped = 0

  /// Prepares exchanges of what has been compared between ranks.
  ///
  /// Collective.
  init(_ world: World, _ recipe: AggregationRecipe, _ layout: TensorLayout, _ options: StreamOptions) throws {
    (self.world, self.layout, passesNonFinite) = (world, layout, options.passesNonFinite)
    gradient = try SharedGradient(count: layout.count, hosts: world.hosts)
    var parts = AggregationParts(hosts: world.hosts, layout: layout, gradients: [gradient])
    (parts.momentum, parts.seed) = (options.momentum, options.seed)
    parts.options.observer = options.events?.add
    aggregation = try recipe(parts)
  }

  var counts: StreamCounts {
    var counts = StreamCounts()
    counts.add(aggregation)
    counts.nonFiniteGroups += skipped
    return counts
  }

  var predictedTraffic: Traffic { aggregation.predictedTraffic }

  func begin(step: Int) { self.step = step }

  func markReady(upTo end: Int) {}

  func deliver(into pieces: Pieces) throws {
    let isFinite: [UInt8] = [gradient.values.sumOfSquares.isFinite ? 1 : 0]
    guard try world.hosts.gather(isFinite, activity: "whether gradients are finite").allSatisfy({ $0 == [1] })
    else {
      skipped += 1
      return pieces.fill(passesNonFinite ? .nan : 0)
    }
    let contribution = Contribution(step: step, rate: 1)
    guard aggregation.result == .change else {
      return try aggregation.run(contribution, into: .update { range, values in pieces.set(range, values) })
    }
    pieces.fill(0)
    try aggregation.run(
      contribution,
      into: .change { change, shard, shards in
        for (index, value) in zip(change.indices, change.values) {
          let place = shards.place(of: Int(index), in: shard)
          withUnsafePointer(to: value) { pieces.set(place..<place + 1, $0) }
        }
      })
  }

  func discard() throws {}

  func giveUp() { aggregation.abandon() }

  // MARK: The memory

  /// What it keeps from exchange to exchange.
  private var inventory: StateInventory {
    var inventory = StateInventory()
    aggregation.contribute(to: &inventory)
    return inventory
  }

  var memory: [UnsafeMutableBufferPointer<Float>] { inventory.tensors.map(\.values) }

  var numbers: String { inventory.counters.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)\n" }.joined() }

  func restore(_ counters: [String: String]) throws {
    aggregation.restore(counters: counters)
    try aggregation.place()
  }

  func counters(of numbers: String) throws -> [String: String] {
    var counters: [String: String] = [:]
    for line in numbers.split(separator: "\n") {
      let parts = line.split(separator: "=", maxSplits: 1)
      try demand(parts.count == 2, "'\(line)' is no line of the numbers of a stream")
      counters[String(parts[0])] = String(parts[1])
    }
    return counters
  }
}
