internal import Buffers
internal import Files

/// Detects that a codec leaves larger residuals than it can send later, because the learning rate is too high for it.
///
/// A healthy run has residuals of one to three times the norm of its gradients, and more only while the gradients vanish, when
/// residuals shrink with them. If they stay above four times and have grown, old gradients outweigh the new ones, and the model
/// gets far worse than with floats although no value need ever become infinite. Single steps are not significant: the median of
/// nine decides. A code that sends one value in n keeps the others for about n exchanges, whose noise adds up to √n times that of one: the
/// limit is no lower than that.
package struct ResidualWatch {
  /// The ratio above which a run is warned, if ratios stay there; higher if values wait for several exchanges.
  private let limit: Double
  /// The ratio above which the codec is suspected in a failed run.
  private var suspicion: Double { 0.75 * limit }
  private static let window = 9

  /// The codec; nil without residuals.
  let codec: String?
  /// The last measured ratios of residuals to gradients.
  private var ratios: [Double] = []
  /// ‖residuals of all ranks‖ when it was first measured.
  private var firstNorm: Double?
  private var hasWarned = false

  /// A watch over the residuals of a codec, whose values wait for `exchangesUntilSent` exchanges (`Codec`).
  package init(codec: String?, exchangesUntilSent: Double = 1) {
    self.codec = codec
    limit = max(4, exchangesUntilSent.squareRoot())
  }

  /// Records a step whose norms were measured.
  ///
  /// - Parameters:
  ///   - ratio: ‖residuals of all ranks‖/‖gradients of all ranks‖; 0 without residuals.
  ///   - norm: ‖residuals of all ranks‖.
  /// - Returns: A warning, once in a run.
  package mutating func add(_ ratio: Double, norm: Double) -> String? {
    guard codec != nil, ratio > 0 else { return nil }
    ratios = ratios.suffix(ResidualWatch.window - 1) + [ratio]
    let hasGrown = norm > firstNorm ?? norm
    firstNorm = firstNorm ?? norm
    guard !hasWarned, hasGrown, ratios.count == ResidualWatch.window, let middle = median(of: ratios) else { return nil }
    guard middle > limit else { return nil }
    hasWarned = true
    return sentence(middle)
  }

  /// The hint for a failed run; nil if the codec is not to blame.
  package var hint: String? {
    guard let most = ratios.max(), most > suspicion else { return nil }
    return sentence(most)
  }

  private func sentence(_ ratio: Double) -> String {
    "residuals grew to \(decimal(ratio, digits: 1)) times the gradients: the codec \(codec ?? "") cannot follow this learning rate; "
      + "lower --learning-rate or lengthen --warm-start"
  }
}
