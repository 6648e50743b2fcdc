/// Notices that a codec leaves more behind than it can send later, because the learning rate is too high for it.
///
/// A run that goes well has residuals of one to two and a half times the norm of its gradients, whatever the layer sizes. Where
/// they stay above three times, old gradients outweigh the new ones, and the model gets far worse than with floats although no
/// value need ever become infinite. Single steps tell little: the middle one of nine decides.
package struct ResidualWatch {
  private static let limit = 3.0
  private static let window = 9

  /// The codec, nil where nothing is left behind.
  let codec: String?
  /// The last ratios of residuals to gradients that were measured.
  private var ratios: [Double] = []
  private var hasWarned = false

  package init(codec: String?) { self.codec = codec }

  /// Notes ‖residuals of all ranks‖/‖gradients of all ranks‖ of a step, 0 where it was not measured or nothing is left behind.
  ///
  /// - Returns: a warning, once in a run.
  package mutating func add(_ ratio: Double) -> String? {
    guard codec != nil, ratio > 0 else { return nil }
    ratios = ratios.suffix(ResidualWatch.window - 1) + [ratio]
    guard !hasWarned, ratios.count == ResidualWatch.window, let middle = median(of: ratios), middle > ResidualWatch.limit else {
      return nil
    }
    hasWarned = true
    return sentence(middle)
  }

  /// What to say to somebody whose run has failed; nil where the codec is not to blame.
  package var hint: String? {
    guard let most = ratios.max(), most > ResidualWatch.limit else { return nil }
    return sentence(most)
  }

  private func sentence(_ ratio: Double) -> String {
    "residuals grew to \(decimal(ratio, digits: 1)) times the gradients: the codec \(codec ?? "") cannot follow this learning rate; "
      + "lower --learning-rate or lengthen --warm-start"
  }
}
