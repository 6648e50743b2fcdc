public import Buffers
internal import Codecs

extension ParameterServer: Stateful {
  public func contribute(to inventory: inout StateInventory) {
    for (index, worker) in workers.enumerated() where worker.coder.residual.count > 0 {
      inventory.tensors.append(SavedTensor(index == 0 ? "residual" : "residual.\(index)", .summed, of: worker.coder.residual))
    }
    if server.squares.count > 0 {
      inventory.tensors.append(SavedTensor("meanSquare", .owned([server.elements]), of: server.squares))
    }
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
}
