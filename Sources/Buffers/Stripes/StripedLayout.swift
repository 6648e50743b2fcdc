/// A layout cut into stripes: of each tensor a stripe holds consecutive rows, which may be none.
///
/// A row is what belongs to one value of the first extent: the weights of one output unit, or one bias. A stripe has a layout of
/// its own, with the same tensors under the same names. Rows are not split, so that what is computed by rows (the groups of a
/// codec) stays the same however many stripes there are.
public struct StripedLayout: Hashable, Sendable {
  /// The layout of the whole model.
  public let whole: TensorLayout
  /// The number of stripes.
  public let stripeCount: Int

  /// Cuts `whole` into `stripeCount` stripes.
  public init(_ whole: TensorLayout, into stripeCount: Int) {
    precondition(stripeCount > 0, "a layout cannot be cut into \(stripeCount) stripes")
    self.whole = whole
    self.stripeCount = stripeCount
  }

  /// The layout of one stripe.
  public func layout(of stripe: Int) -> TensorLayout {
    TensorLayout(
      whole.tensors.map { tensor in
        (tensor.name, [StripedLayout.rows(of: tensor.shape[0], into: stripeCount)[stripe].count] + tensor.shape.dropFirst())
      })
  }

  /// Where the values of a stripe lie in the flat buffer of the whole model: a range for each tensor.
  public func places(in stripe: Int) -> [Range<Int>] {
    whole.tensors.map { tensor in
      let rows = StripedLayout.rows(of: tensor.shape[0], into: stripeCount)[stripe]
      let rowCount = tensor.count / max(tensor.shape[0], 1)
      return tensor.range.lowerBound + rows.lowerBound * rowCount..<tensor.range.lowerBound + rows.upperBound * rowCount
    }
  }

  /// The rows of each stripe, as equal in number as can be, of a tensor of `count` rows.
  public static func rows(of count: Int, into stripeCount: Int) -> Partition { Partition(count: count, into: stripeCount) }
}
