public import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

// The state that an exchange leaves behind.
extension CodedAllReduce {
  public var specification: String { codec.specification }
  public var result: AggregationResult { .gradient }

  /// The residual of this rank's contributions, of the length of the layout; empty for an identity codec and for one rank.
  public var residual: FloatBuffer { coder.residual }
  /// The residual of this rank's sums, of the length of its shard; empty for an identity codec and for one rank.
  public var ownerResidual: FloatBuffer { ownerCoder.residual }
  /// The number of groups that a lossy codec sent as zeros so far because they or their sums were not finite; the floats
  /// of an identity codec are not checked.
  public var nonFiniteGroups: Int { coder.nonFiniteGroups + ownerCoder.nonFiniteGroups }
  /// The ranges of the values that this rank owns, in the order of ``ownerResidual``.
  public var ownedRanges: [Range<Int>] { roles.ownedRanges }

  /// The position of value `index` of the flat buffer in ``ownerResidual``; nil if another rank owns it.
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
    inventory.tensors += CodedAllReduce.savedResiduals(residual, ofOwner: ownerResidual, ownedRanges)
  }

  /// The residuals of a rank's contributions, and those of the sums of the ranges that it owns, as they are saved.
  package static func savedResiduals(
    _ residual: FloatBuffer, ofOwner ownerResidual: FloatBuffer, _ ownedRanges: [Range<Int>]
  ) -> [SavedTensor] {
    [
      SavedTensor("residual", .summed, isShareOfMean: true, of: residual),
      SavedTensor("ownerResidual", .owned(ownedRanges), isShareOfMean: true, of: ownerResidual),
    ]
  }

  public func forget() {
    coder.clear()
    ownerCoder.clear()
  }

  /// Moves residuals between ranks of a host to those that encode them, if they were saved under another placement of ranks.
  ///
  /// In a hierarchical exchange the residual of a shard lives on one rank of each host; a residual on another rank would never
  /// be sent. Nothing changes if all are in place. Collective; no exchange may be under way.
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
