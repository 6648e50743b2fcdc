public import Buffers
internal import MPI
public import Transport

extension ParameterServer: Stateful {
  public func contribute(to inventory: inout StateInventory) {
    for (index, worker) in workers.enumerated() { worker.rule.contribute(to: &inventory, index: index) }
    server.rule.contribute(to: &inventory)
    inventory.counters["staleness"] = stalenessCounter
  }

  /// How often pushes to this rank's shard had which staleness, as a counter.
  private var stalenessCounter: String {
    server.staleness.map { histogram in
      histogram.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: " ")
    }.joined(separator: ",")
  }

  /// Tells rank 0, which saves counters, the staleness at the first owner, if it has no shard of its own.
  ///
  /// Collective.
  public func shareStaleness(over hosts: HostMap) throws {
    guard owners[0] != 0 else { return }
    let text = try hosts.enter("the staleness of pushes") {
      try hosts.world.broadcast(varying: Array(stalenessCounter.utf8), root: owners[0])
    }
    if rank == 0 { restore(counters: ["staleness": String(decoding: text, as: UTF8.self)]) }
  }

  public func restore(counters: [String: String]) {
    let histograms = (counters["staleness"] ?? "").split(separator: ",", omittingEmptySubsequences: false).map { text in
      text.split(separator: " ").map { $0.split(separator: ":").compactMap { Int($0) } }
    }
    guard histograms.count == settings.workerCount, histograms.joined().allSatisfy({ $0.count == 2 }) else { return }
    server.staleness = histograms.map { Dictionary($0.map { ($0[0], $0[1]) }) { $0 + $1 } }
  }

  /// Discards what past gradients have left behind, of workers and of owners.
  public func forget() {
    for worker in workers { worker.rule.forget() }
    server.rule.forget()
  }

  /// Says whether workers with models of their own have them: else they begin at the centre.
  public func setModels(areThere: Bool) { for worker in workers { (worker.rule as? ElasticWorker)?.hasBegun = areThere } }

  /// The number of groups that this rank sent as zeros, in pushes and answers, because they were not finite.
  public var nonFiniteGroups: Int { workers.reduce(forms.nonFiniteGroups) { $0 + $1.rule.nonFiniteGroups } }
}
