/// A component that keeps state from step to step.
public protocol Stateful: AnyObject {
  /// Adds all its state to the inventory.
  func contribute(to inventory: inout StateInventory)
  /// Restores the counters that it added; tensors are read into their own places.
  func restore(counters: [String: String])
}

extension Stateful {
  public func restore(counters: [String: String]) {}
}

/// Everything that influences the next step, in one list: what is not in it is not state.
///
/// Random numbers need no entry: they follow from the seed and the step. Source: design §3.6.
public struct StateInventory {
  /// The number of slices P that each copy of the model is cut into; rank r holds slice r mod P.
  public var sliceCount = 1
  /// The parameters by tensor, only part of them if the model is sliced; rank 0 alone saves them, and must have all.
  public var model: [SavedTensor] = []
  /// Everything else, each with its placement.
  public var tensors: [SavedTensor] = []
  /// Numbers that all ranks share, as text, for example `step` and `warmStart`.
  public var counters: [String: String] = [:]
  /// Numbers of this rank alone, as text; on a different number of ranks they start anew.
  public var ownCounters: [String: String] = [:]

  /// An empty list.
  public init() {}

  /// The number of bytes that this rank would save.
  public func byteCount(rank: Int) -> Int {
    let saved = (rank == 0 ? model : []) + tensors(savedBy: rank)
    return saved.reduce(0) { $0 + $1.values.count * 4 }
  }

  /// The tensors that `rank` saves besides the model.
  package func tensors(savedBy rank: Int) -> [SavedTensor] {
    tensors.filter { $0.placement != .replicated || rank < sliceCount }
  }

  /// Adds another state, in its own memory, under names of its own: each with a dot and `slot` behind it.
  package mutating func add(_ other: StateInventory, inSlot slot: String) {
    for (name, value) in other.counters { counters["\(name).\(slot)"] = value }
    tensors += (other.model + other.tensors).map { $0.renamed("\($0.name).\(slot)") }
  }

  /// Takes out the tensors of the state that was added in `slot`, under its names.
  package mutating func takeTensors(ofSlot slot: String) -> StateInventory {
    let suffix = ".\(slot)"
    var own = StateInventory()
    own.tensors = tensors.filter { $0.name.hasSuffix(suffix) }.map { $0.renamed(String($0.name.dropLast(suffix.count))) }
    tensors.removeAll { $0.name.hasSuffix(suffix) }
    return own
  }

  /// Of `counters`, those of the state that was added in `slot`, under its names.
  package static func counters(_ counters: [String: String], inSlot slot: String) -> [String: String] {
    let names = counters.keys.filter { $0.hasSuffix(".\(slot)") }
    return Dictionary(uniqueKeysWithValues: names.map { (String($0.dropLast(slot.count + 1)), counters[$0]!) })
  }

  /// How what one worker keeps for itself is called in files, or what all keep in one vector if no worker is given.
  package static func name(_ name: String, ofWorker worker: Int?) -> String {
    worker.map { "worker.\($0).\(name)" } ?? "worker.\(name)"
  }

  /// Of `counters`, those of a worker's own state, under its names.
  package static func counters(_ counters: [String: String], ofWorker worker: Int) -> [String: String] {
    let prefix = name("", ofWorker: worker)
    let own = counters.filter { $0.key.hasPrefix(prefix) }.map { (String($0.key.dropFirst(prefix.count)), $0.value) }
    return Dictionary(uniqueKeysWithValues: own)
  }

  /// The tensor called `name`; nil if there is none.
  package func tensor(_ name: String) -> SavedTensor? { tensors.first { $0.name == name } }
}
