internal import Buffers
internal import Files

/// Notices that a codec leaves more behind than it can send later, because the learning rate is too high for it.
///
/// A run that goes well has residuals of one to three times the norm of its gradients, and more only while the gradients vanish,
/// when residuals shrink with them. Where they stay above four times and have grown, old gradients outweigh the new ones, and the
/// model gets far worse than with floats although no value need ever become infinite. Single steps tell little: the middle one of
/// nine decides.
package struct ResidualWatch {
  /// A run whose ratios stay above this is warned.
  private static let limit = 4.0
  /// A run that has failed was led there by ratios above this.
  private static let suspicion = 3.0
  private static let window = 9

  /// The codec, nil where nothing is left behind.
  let codec: String?
  /// The last ratios of residuals to gradients that were measured.
  private var ratios: [Double] = []
  /// ‖residuals of all ranks‖ when it was first measured.
  private var firstNorm: Double?
  private var hasWarned = false

  package init(codec: String?) { self.codec = codec }

  /// Notes a step whose norms were measured.
  ///
  /// - Parameters:
  ///   - ratio: ‖residuals of all ranks‖/‖gradients of all ranks‖; 0 where nothing is left behind.
  ///   - norm: ‖residuals of all ranks‖.
  /// - Returns: a warning, once in a run.
  package mutating func add(_ ratio: Double, norm: Double) -> String? {
    guard codec != nil, ratio > 0 else { return nil }
    ratios = ratios.suffix(ResidualWatch.window - 1) + [ratio]
    let hasGrown = norm > firstNorm ?? norm
    firstNorm = firstNorm ?? norm
    guard !hasWarned, hasGrown, ratios.count == ResidualWatch.window, let middle = median(of: ratios) else { return nil }
    guard middle > ResidualWatch.limit else { return nil }
    hasWarned = true
    return sentence(middle)
  }

  /// What to say to somebody whose run has failed; nil where the codec is not to blame.
  package var hint: String? {
    guard let most = ratios.max(), most > ResidualWatch.suspicion else { return nil }
    return sentence(most)
  }

  private func sentence(_ ratio: Double) -> String {
    "residuals grew to \(decimal(ratio, digits: 1)) times the gradients: the codec \(codec ?? "") cannot follow this learning rate; "
      + "lower --learning-rate or lengthen --warm-start"
  }
}
