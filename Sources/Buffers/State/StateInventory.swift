/// What remembers something from step to step.
public protocol Stateful: AnyObject {
  /// Adds everything that it remembers to the list of everything.
  func contribute(to inventory: inout StateInventory)
  /// Takes back the counters that it added; tensors are read into their own places.
  func restore(counters: [String: String])
}

extension Stateful {
  public func restore(counters: [String: String]) {}
}

/// Everything that influences the next step, in one list: what is not here is not state.
///
/// Random numbers need no entry: they follow from the seed and the step. Source: design §3.6.
public struct StateInventory {
  /// The number of slices that each model is in, of which this rank, as one of P, holds that number r mod P.
  public var stripeCount = 1
  /// The parameters, by tensor, in part if the model is in slices; rank 0 alone saves them, and must have all.
  public var model: [SavedTensor] = []
  /// Everything else, each with its placement.
  public var tensors: [SavedTensor] = []
  /// Numbers that all ranks share, as text, for example `step` and `warmStart`.
  public var counters: [String: String] = [:]
  /// Numbers of this rank alone, as text; at another number of ranks they start afresh.
  public var ownCounters: [String: String] = [:]

  /// An empty list.
  public init() {}

  /// The number of bytes that this rank would save.
  public func byteCount(rank: Int) -> Int {
    let saved = (rank == 0 ? model : []) + tensors(savedBy: rank)
    return saved.reduce(0) { $0 + $1.values.count * 4 }
  }

  /// The tensors that `rank` saves beside the model.
  package func tensors(savedBy rank: Int) -> [SavedTensor] {
    tensors.filter { $0.placement != .replicated || rank < stripeCount }
  }

  /// The tensor called `name`; nil if there is none.
  package func tensor(_ name: String) -> SavedTensor? { tensors.first { $0.name == name } }
}
