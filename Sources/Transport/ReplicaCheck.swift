public import Buffers
internal import MPI

/// Compares the models of all ranks by their hashes; if the model is sliced, equal slices are compared with each other.
public struct ReplicaCheck {
  private let layout: TensorLayout
  private let records: RecordExchange
  private let numbers: [Int]
  private let sliceCount: Int

  /// Creates a check of buffers of `layout`, which is that of this rank's slice.
  ///
  /// Hashes travel through `records`, shared by the ranks of `grid`.
  public init(_ layout: TensorLayout, over records: RecordExchange, on grid: RankGrid) {
    self.layout = layout
    self.records = records
    numbers = grid.all.numbers
    sliceCount = grid.sliceCount
  }

  /// The hash of the model, or of this rank's slice of it, which all ranks of that slice share.
  ///
  /// Collective; one record, plus one for each tensor if models differ.
  ///
  /// - Throws: `ExchangeError.diverged`, on all ranks, with the tensors that differ and the ranks without the most common hash.
  @discardableResult
  public func verify(_ parameters: FloatBuffer, step: Int) throws -> UInt64 { try verify(parameters.values, step: step) }

  /// The same for other values of the layout, such as momenta.
  @discardableResult
  public func verify(_ values: UnsafeMutableBufferPointer<Float>, step: Int) throws -> UInt64 {
    let hash = XXHash64.hash(UnsafeRawBufferPointer(values))
    let hashes = try records.gather([hash], activity: "the comparison of models").map { $0[0] }
    guard !odd(among: hashes).isEmpty else { return hash }
    var tensors: [String] = []
    var ranks: Set<Int> = []
    for tensor in layout.tensors {
      let own = XXHash64.hash(UnsafeRawBufferPointer(UnsafeMutableBufferPointer(rebasing: values[tensor.range])))
      let all = try records.gather([own], activity: "the comparison of models").map { $0[0] }
      let odd = odd(among: all)
      if !odd.isEmpty { tensors.append(tensor.name) }
      ranks.formUnion(odd)
    }
    throw ExchangeError.diverged(tensors: tensors, ranks: ranks.map { numbers[$0] }.sorted(), step: step)
  }

  /// The ranks whose hash is not the most common one among those of their slice.
  private func odd(among hashes: [UInt64]) -> [Int] {
    (0..<sliceCount).flatMap { slice in
      let ranks = Array(stride(from: slice, to: hashes.count, by: sliceCount))
      return dissenters(among: ranks.map { hashes[$0] }).map { ranks[$0] }
    }
  }
}
