import Buffers
import Collectives
import Testing
import Transport

/// An aggregation of this job's ranks.
struct AggregationRun {
  let gradient: SharedGradient
  let exchange: any Aggregation
  let layout: TensorLayout
  /// The number of values.
  var count: Int { layout.count }

  /// The aggregation that `specification` names, of gradients of this layout; collective.
  init(
    _ specification: String, _ layout: TensorLayout, _ transport: Transport = .auto, seed: UInt64 = 1, momentum: Double = 0,
    worksAlone: Bool = false, isRestorable: Bool = false
  ) throws {
    let hosts = try HostMap(allRanks, transport: transport)
    self.layout = layout
    let recipe = try aggregations.make(specification)
    gradient = try SharedGradient(count: layout.count, hosts: hosts, isShared: recipe.capabilities.sharesContributions)
    var parts = AggregationParts(hosts: hosts, layout: layout, gradients: [gradient])
    (parts.seed, parts.momentum, parts.worksAlone) = (seed, momentum, worksAlone)
    parts.options.isRestorable = isRestorable
    exchange = try recipe(parts)
  }

  /// That of a single row of `count` values.
  init(_ specification: String, _ count: Int, _ transport: Transport = .auto, seed: UInt64 = 1, momentum: Double = 0) throws {
    try self.init(specification, TensorLayout([("weights", [count])]), transport, seed: seed, momentum: momentum)
  }

  /// One exchange of this rank's gradient; what it brings.
  func callAsFunction(_ values: [Float], step: Int = 0, rate: Float = 1) throws -> [Float] {
    gradient.values.set(values)
    return try deliver(step: step, rate: rate)
  }

  /// One exchange of what stands in the gradient.
  func deliver(step: Int, rate: Float = 1) throws -> [Float] {
    let output = FloatBuffer(count: layout.count)
    output.fill(.nan)
    try exchange.run(Contribution(step: step, samples: 8, rate: rate), into: .buffer(output))
    return output.array
  }

  /// What this rank's contributions have lacked so far; empty if nothing is kept.
  var residual: [Float] { exchange.remembered?.array ?? [] }

  /// A tensor of the state that is saved.
  func tensor(_ name: String) throws -> SavedTensor {
    var state = StateInventory()
    exchange.contribute(to: &state)
    return try #require(state.tensors.first { $0.name == name })
  }

  /// What waits on this rank: of its own contributions, and of its sums, each at its place in the flat buffer.
  var waiting: (own: [Float], sums: [Float]) {
    var state = StateInventory()
    exchange.contribute(to: &state)
    var (own, sums) = ([Float](repeating: 0, count: layout.count), [Float](repeating: 0, count: layout.count))
    if let tensor = state.tensor("residual") { own = Array(tensor.values) }
    if let tensor = state.tensor("ownerResidual"), case .owned(let ranges) = tensor.placement {
      var place = 0
      for range in ranges {
        for i in range { sums[i] = tensor.values[place + i - range.lowerBound] }
        place += range.count
      }
    }
    return (own, sums)
  }
}
