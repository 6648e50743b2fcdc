package import Buffers

/// A part of a model that is exchanged by itself: consecutive rows of its tensors, as tensors of its own.
///
/// A codec sees a fragment as a model: its groups end where the fragment does, and each has owners, residuals and an outer
/// momentum of its own. Fragments are cut between rows, not between tensors, so that they are of nearly the same size if one
/// tensor is most of the model: what an exchange sends at a time falls by their number.
/// Source: Douillard et al. 2025 (Streaming DiLoCo), which takes whole layers; frontier F1.3.
package struct ModelFragment: Hashable, Sendable {
  /// Its values in the flat buffer of the model.
  package let range: Range<Int>
  /// Its tensors; that of a tensor that is cut has only the rows that are here.
  package let layout: TensorLayout

  /// Cuts a model into `count` fragments of nearly the same number of values, each of at least a row; nil if it has fewer rows.
  package static func cut(_ layout: TensorLayout, into count: Int) -> [ModelFragment]? {
    guard count > 1 else { return [ModelFragment(range: 0..<layout.count, layout: layout)] }
    var starts = layout.tensors.filter { !$0.range.isEmpty }.flatMap { tensor in
      Array(stride(from: tensor.range.lowerBound, to: tensor.range.upperBound, by: tensor.rowLength))
    }
    starts.append(layout.count)
    let fragments = Partition(cumulativeWeights: starts, into: count).ranges.map { rows in
      ModelFragment(of: layout, in: starts[rows.lowerBound]..<starts[rows.upperBound])
    }
    return fragments.allSatisfy { !$0.range.isEmpty } ? fragments : nil
  }

  private init(range: Range<Int>, layout: TensorLayout) { (self.range, self.layout) = (range, layout) }

  /// The fragment of `range`, whose ends are those of rows.
  private init(of layout: TensorLayout, in range: Range<Int>) {
    var own = TensorLayout()
    for tensor in layout.tensors {
      let common = tensor.range.clamped(to: range)
      guard !common.isEmpty else { continue }
      if common == tensor.range {
        own.append(tensor.name, shape: tensor.shape, kind: tensor.kind)
      } else {
        let first = (common.lowerBound - tensor.range.lowerBound) / tensor.rowLength
        let rows = common.count / tensor.rowLength
        own.append(
          "\(tensor.name)[\(first)..<\(first + rows)]", shape: [rows] + tensor.shape.dropFirst(), kind: tensor.kind)
      }
    }
    self.init(range: range, layout: own)
  }
}
