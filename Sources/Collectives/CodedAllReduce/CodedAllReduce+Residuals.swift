public import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

// What an exchange leaves behind.
extension CodedAllReduce {
  public var specification: String { codec.specification }
  public var result: AggregationResult { .gradient }

  public var residualSquares: Double { residual.sumOfSquares }

  public func contribute(to inventory: inout StateInventory) {
    guard residual.count > 0 else { return }
    inventory.tensors += [
      SavedTensor("residual", .summed, isShareOfMean: true, of: residual),
      SavedTensor("ownerResidual", .owned(ownedRanges), isShareOfMean: true, of: ownerResidual),
    ]
  }

  public func forget() {
    residual.clear()
    ownerResidual.clear()
  }

  /// Gives what ranks of a host remember to those who encode it, where residuals were saved by ranks that were placed otherwise.
  ///
  /// In a hierarchical exchange the residual of a shard lives with one rank of each host; what another holds would never be sent.
  /// Nothing changes where all is in its place. Collective; no exchange is under way.
  public func place() throws {
    guard residual.count > 0 else { return }
    try hosts.enter("the placing of residuals") { try placeOwn() }
  }

  private func placeOwn() throws {
    guard party.count > 1, let host = hosts.host else { return }
    var isOwn = [Bool](repeating: false, count: residual.count)
    for segment in encodingOrder { for index in segment.elements { isOwn[index] = true } }
    let isAstray = isOwn.indices.contains { !isOwn[$0] && residual[$0] != 0 }
    guard try host.allReduce(isAstray ? Int32(1) : 0, .max) == 1 else { return }
    try host.allReduce(residual.values(in: 0..<residual.count), .sum)
    for index in isOwn.indices where !isOwn[index] { residual[index] = 0 }
  }
}
