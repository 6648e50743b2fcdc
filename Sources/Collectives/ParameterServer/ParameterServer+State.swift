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
  }
}
