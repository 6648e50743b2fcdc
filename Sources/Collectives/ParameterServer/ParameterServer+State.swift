public import Buffers

extension ParameterServer: Stateful {
  public func contribute(to inventory: inout StateInventory) {
    for (index, worker) in workers.enumerated() { worker.rule.contribute(to: &inventory, index: index) }
    server.rule.contribute(to: &inventory)
    // Those of the owner of the first shard, who writes the counters.
    inventory.counters["staleness"] = server.staleness.map { histogram in
      histogram.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: " ")
    }.joined(separator: ",")
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
