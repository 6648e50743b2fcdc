/// A layout cut into slices: a slice holds what belongs to consecutive output units, possibly to none.
///
/// A row of weights is what feeds one output unit (``Tensor/rowLength``); of a vector, each unit has one value. A slice has its own
/// layout, with the same tensors under the same names. Rows are not split, so that what is computed by rows (the groups of a
/// codec) does not depend on the number of slices.
public struct SlicedLayout: Hashable, Sendable {
  /// The layout of the whole model.
  public let whole: TensorLayout
  /// The number of slices.
  public let sliceCount: Int

  /// Cuts `whole` into `sliceCount` slices.
  public init(_ whole: TensorLayout, into sliceCount: Int) {
    require(sliceCount > 0, "a layout cannot be cut into \(sliceCount) slices")
    self.whole = whole
    self.sliceCount = sliceCount
  }

  /// The layout of one slice.
  public func layout(of slice: Int) -> TensorLayout {
    TensorLayout(
      whole.tensors.map { tensor in
        (tensor.name, [SlicedLayout.rows(of: tensor.shape[0], into: sliceCount)[slice].count] + tensor.shape.dropFirst())
      })
  }

  /// Where the values of a slice are in the flat buffer of the whole model: a range for each tensor.
  public func places(in slice: Int) -> [Range<Int>] {
    whole.tensors.map { tensor in
      let rows = SlicedLayout.rows(of: tensor.shape[0], into: sliceCount)[slice]
      let start = tensor.range.lowerBound
      return start + rows.lowerBound * tensor.unitLength..<start + rows.upperBound * tensor.unitLength
    }
  }

  /// The units of each slice for a tensor of `count` units, as equal in number as possible.
  public static func rows(of count: Int, into sliceCount: Int) -> Partition { Partition(count: count, into: sliceCount) }
}
