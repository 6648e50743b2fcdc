internal import Buffers
internal import Collectives
internal import Networks
internal import Strategies
internal import Transport

/// Measures the work of an aggregation that passes rounds of messages: on every rank at once, each as if it were alone.
struct SparseProbe {
  let repetitions: Repetitions
  let parts: StrategyParts
  let gradient: FloatBuffer

  /// Seconds of each kind of work in an exchange, on the slowest rank.
  ///
  /// Collective.
  func measure(_ aggregation: AggregationRecipe, _ effort: Repetitions.Effort) throws -> SparseCosts {
    let alone = try parts.grid.withoutExchange().dataGroup
    let layout = parts.network.layout
    let contribution = try SharedGradient(count: layout.count, hosts: alone, isShared: false)
    contribution.values.copy(from: gradient)
    var aggregationParts = AggregationParts(hosts: alone, layout: layout, gradients: [contribution])
    (aggregationParts.momentum, aggregationParts.seed) = (parts.options.momentum, parts.options.seed)
    aggregationParts.worksAlone = true
    let exchange = try aggregation(aggregationParts)
    let scratch = FloatBuffer(count: layout.count)
    let before = exchange.timing
    var step = 0
    let seconds = try repetitions.seconds(effort, by: .slowest) {
      try exchange.run(Contribution(step: step, rate: 0.1), into: .buffer(scratch))
      step += 1
    }
    let spent = [
      exchange.timing.encode - before.encode, exchange.timing.sum - before.sum, exchange.timing.decode - before.decode,
    ].map { $0 / .seconds(1) }
    let total = max(spent.reduce(0, +), 1e-12)
    return SparseCosts(
      encode: seconds * spent[0] / total, sum: seconds * spent[1] / total, decode: seconds * spent[2] / total)
  }
}
