internal import Buffers
internal import MPI

extension GradientExchange {
  /// Gives what ranks of a host remember to those who encode it, where residuals were saved by ranks that were placed otherwise.
  ///
  /// In a hierarchical exchange the residual of a stripe lives with one rank of each host; what another holds would never be sent.
  /// Nothing changes where all is in its place. Collective; no exchange is under way.
  public func placeResidual() throws {
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
