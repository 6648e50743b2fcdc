public import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

// What an exchange leaves behind.
extension CodedAllReduce {
  public var specification: String { codec.specification }
  public var result: AggregationResult { .gradient }

  /// What the codes of this rank's contributions could not carry, as long as the layout; empty for an identity and at one rank.
  public var residual: FloatBuffer { coder.residual }
  /// What the codes of this rank's sums could not carry, as long as the own shard; empty for an identity and at one rank.
  public var ownerResidual: FloatBuffer { ownerCoder.residual }
  /// The groups that a lossy codec sent as zeros so far because they or their sums were not finite; floats that are sent as
  /// they are pass unseen.
  public var nonFiniteGroups: Int { coder.nonFiniteGroups + ownerCoder.nonFiniteGroups }
  /// The values whose sums this rank owns, in the order in which ``ownerResidual`` holds theirs.
  public var ownedRanges: [Range<Int>] { roles.ownedRanges }

  /// Where the value `index` of the flat buffer lies in ``ownerResidual``; nil for a value that another rank owns.
  public func ownedOffset(of index: Int) -> Int? {
    var offset = 0
    for range in ownedRanges {
      if range.contains(index) { return offset + index - range.lowerBound }
      offset += range.count
    }
    return nil
  }

  public var residualSquares: Double { residual.sumOfSquares }

  public func contribute(to inventory: inout StateInventory) {
    guard residual.count > 0 else { return }
    inventory.tensors += [
      SavedTensor("residual", .summed, isShareOfMean: true, of: residual),
      SavedTensor("ownerResidual", .owned(ownedRanges), isShareOfMean: true, of: ownerResidual),
    ]
  }

  public func forget() {
    coder.clear()
    ownerCoder.clear()
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
    for segment in roles.encodingOrder { for index in segment.elements { isOwn[index] = true } }
    let isAstray = isOwn.indices.contains { !isOwn[$0] && residual[$0] != 0 }
    guard try host.allReduce(isAstray ? Int32(1) : 0, .max) == 1 else { return }
    try host.allReduce(residual.values(in: 0..<residual.count), .sum)
    for index in isOwn.indices where !isOwn[index] { residual[index] = 0 }
  }
}
