internal import Buffers
internal import Codecs
internal import Collectives
internal import Files
internal import Networks
internal import Optimizers
internal import Transport

/// How a fragment of the model is exchanged: what this rank has changed in it, its aggregations, its owners and their outer step.
///
/// Without fragments there is one, of the whole model, and what it saves has no names of its own.
/// - Memory: the contribution, and for an outer step on every rank what ``ReplicatedMomentum`` keeps, each of the fragment's size.
final class FragmentExchange {
  let fragment: ModelFragment
  /// The change Ψ of this rank, in the coordinates of the fragment.
  let contribution: SharedGradient
  let aggregations: RunAggregations
  let owners: OwnerMomentum
  /// The outer step, if every rank takes it by itself; nil if owners do, or the aggregation does.
  let replicated: ReplicatedMomentum?
  /// The step after the last of which the changes have been exchanged.
  var firstStep = 0
  /// This rank's samples since then, one value.
  let samples = FloatBuffer(count: 1)
  /// What ranks of an earlier job had not sent, until the one rank of this job applies it; nil otherwise.
  private var inherited: FloatBuffer?
  /// The name of its state; nil for the whole model.
  private let slot: String?

  /// Prepares the exchange of fragment `index` of `count`.
  ///
  /// Collective. `parts` are those of the outer step, and `overlap` is what advances an exchange that goes on for some steps.
  init(
    _ parts: StrategyParts, _ fragment: ModelFragment, _ index: Int, of count: Int, _ rule: OuterRule,
    isBlockMomentum: Bool, overlap: Overlap
  ) throws {
    let capabilities = parts.aggregation.capabilities
    self.fragment = fragment
    slot = count > 1 ? "fragment\(index)" : nil
    contribution = try SharedGradient(
      count: fragment.range.count, hosts: parts.hosts, isShared: capabilities.sharesContributions)
    owners = OwnerMomentum(rule)
    let atOwners = capabilities.transformsAtOwners && !isBlockMomentum
    aggregations = try RunAggregations(
      parts, gradients: [contribution], overlap: overlap, atOwners: atOwners && !rule.isIdentity ? owners : nil,
      of: fragment.layout, streams: CodeStreams(slice: parts.grid.slice * count + index, of: parts.grid.sliceCount * count),
      isWhole: true)
    replicated =
      atOwners || capabilities.result == .change
      ? nil : ReplicatedMomentum(rule, count: fragment.range.count, looksAhead: isBlockMomentum)
  }

  var range: Range<Int> { fragment.range }

  /// Multiplies Ψ by this rank's share of the samples, and adds what was inherited.
  func weigh(by weight: Float) {
    let psi = contribution.values
    if weight != 1 { for i in 0..<psi.count { psi.baseAddress[i] *= weight } }
    guard let inherited else { return }
    for i in 0..<psi.count { psi.baseAddress[i] += inherited.baseAddress[i] }
    self.inherited = nil
  }

  /// Subtracts what the exchange that `driver` has driven brings from `values`, those of the fragment.
  ///
  /// An outer step that every rank takes by itself is left to ``ReplicatedMomentum``, which has the sum then.
  func deliver(_ exchange: any Aggregation, by driver: ExchangeDriver, from values: UnsafeMutablePointer<Float>) throws {
    if let replicated {
      try aggregations.deliver(exchange, by: driver, into: .buffer(replicated.sum))
    } else if exchange.result == .gradient {
      try aggregations.deliver(
        exchange, by: driver,
        into: .update { range, change in for i in range { values[i] -= change[i - range.lowerBound] } })
    } else {
      try aggregations.deliver(
        exchange, by: driver,
        into: .change { change, shard, shards in
          for (index, value) in zip(change.indices, change.values) { values[shards.place(of: Int(index), in: shard)] -= value }
        })
    }
  }
}

// MARK: - State

extension FragmentExchange {
  func contribute(to inventory: inout StateInventory) {
    var own = StateInventory()
    aggregations.contribute(to: &own)
    replicated?.contribute(to: &own)
    add(own, to: &inventory)
    guard slot != nil else { return }
    var windows = StateInventory()
    windows.tensors.append(SavedTensor("samples", .local, of: samples))
    windows.counters["firstStep"] = String(firstStep)
    add(windows, to: &inventory)
  }

  private func add(_ own: StateInventory, to inventory: inout StateInventory) {
    if let slot {
      inventory.add(own, inSlot: slot)
    } else {
      inventory.tensors += own.tensors
      inventory.counters.merge(own.counters) { $1 }
    }
  }

  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {
    guard let slot else { return aggregations.prepareToLoad(&inventory, savedBy: shareCount) }
    var own = inventory.takeTensors(ofSlot: slot)
    aggregations.prepareToLoad(&own, savedBy: shareCount)
    inventory.add(own, inSlot: slot)
  }

  func restore(counters: [String: String]) {
    let own = slot.map { StateInventory.counters(counters, inSlot: $0) } ?? counters
    aggregations.restore(counters: own)
    if slot != nil { firstStep = own["firstStep"].flatMap { Int($0) } ?? 0 }
  }

  func place() throws {
    try aggregations.place()
    inherited = aggregations.takeInheritance()
  }

  func forget() {
    aggregations.forget()
    owners.forget()
    replicated?.forget()
    inherited = nil
  }
}

extension FloatBuffer {
  /// The values of `range` as a buffer, in the same memory.
  func part(_ range: Range<Int>) -> FloatBuffer {
    require(range.lowerBound >= 0 && range.upperBound <= count, "no values \(range) in a buffer of \(count)")
    return FloatBuffer(sharing: baseAddress + range.lowerBound, count: range.count, owner: self)
  }
}
