public import Buffers
internal import MPI

/// Compares the models of all ranks by their hashes.
public struct ReplicaCheck {
  private let layout: TensorLayout
  private let records: RecordExchange
  private let rankCount: Int

  /// A check of buffers of `layout`; hashes travel through `records`.
  public init(_ layout: TensorLayout, over records: RecordExchange, rankCount: Int) {
    self.layout = layout
    self.records = records
    self.rankCount = rankCount
  }

  /// The hash of the model, which all ranks share.
  ///
  /// Collective; one record, and one for each tensor where models differ.
  ///
  /// - Throws: `ExchangeError.diverged`, on all ranks, with the tensors that differ and the ranks that differ from the most.
  @discardableResult
  public func verify(_ parameters: FloatBuffer, step: Int) throws -> UInt64 {
    let hash = parameters.hash()
    let hashes = try records.gather([hash], activity: "the comparison of models").map { $0[0] }
    guard hashes.contains(where: { $0 != hash }) || hashes.count != rankCount else { return hash }
    var tensors: [String] = []
    var ranks: Set<Int> = []
    for tensor in layout.tensors {
      let own = parameters.hash(in: tensor.range)
      let all = try records.gather([own], activity: "the comparison of models").map { $0[0] }
      let odd = ReplicaCheck.minority(all)
      if !odd.isEmpty { tensors.append(tensor.name) }
      ranks.formUnion(odd)
    }
    throw ExchangeError.diverged(tensors: tensors, ranks: ranks.sorted(), step: step)
  }

  /// The ranks whose hash is not the commonest; of equally common ones that of the lowest rank counts as right.
  static func minority(_ hashes: [UInt64]) -> [Int] {
    var counts: [UInt64: Int] = [:]
    for hash in hashes { counts[hash, default: 0] += 1 }
    var right = hashes[0]
    for hash in hashes where counts[hash]! > counts[right]! { right = hash }
    return hashes.indices.filter { hashes[$0] != right }
  }
}
