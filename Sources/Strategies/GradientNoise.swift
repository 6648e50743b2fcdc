internal import Files

/// Estimates from the gradients of the ranks how much of an aggregated gradient is signal and how much is sampling noise, and
/// thus when codes can replace floats.
///
/// Of a minibatch of N samples, rank i has b_i and contributes g_i, (b_i/N) times the mean gradient of its samples. With the
/// true gradient μ and a sample's variance σ², the expectations are
///
///     Σ ‖g_i‖² = q ‖μ‖² + σ²/N,  q = Σ (b_i/N)²        ‖Σ g_i‖² = ‖μ‖² + σ²/N
///
/// so that (‖Σ g_i‖² − Σ ‖g_i‖²)/(1 − q) is an unbiased estimate of ‖μ‖², whose share of ‖Σ g_i‖² is what would remain with
/// infinitely many samples. While the signal is strong, all gradients point down the steepest walls of the loss, and a residual
/// that arrives a few steps late overshoots them; once noise is most of the gradient anyway, it does not matter.
/// Source: the gradient noise scale of McCandlish et al. 2018, "An empirical model of large-batch training", appendix A, from
/// batches of b_i and N samples.
package struct GradientNoise {
  /// The number of exchanges over which sums are taken; single ones are not significant.
  package static let window = 16
  /// The share of the signal at which codes take over.
  package static let limit = 0.2

  /// The last estimates.
  private var signals: [Double] = []
  /// The last ‖Σ g_i‖².
  private var totals: [Double] = []

  package init() {}

  /// Records an exchange.
  ///
  /// - Parameters:
  ///   - contributionSquares: Σ ‖g_i‖².
  ///   - sumSquares: ‖Σ g_i‖².
  ///   - sampleCounts: b_i, by rank.
  package mutating func add(contributionSquares: Double, sumSquares: Double, sampleCounts: [Int]) {
    let sampleCount = Double(sampleCounts.reduce(0, +))
    let concentration = sampleCounts.reduce(0) { $0 + Double($1) * Double($1) } / (sampleCount * sampleCount)
    // One rank with all samples carries no information.
    guard concentration < 1, sumSquares.isFinite, contributionSquares.isFinite else { return }
    signals = signals.suffix(GradientNoise.window - 1) + [(sumSquares - contributionSquares) / (1 - concentration)]
    totals = totals.suffix(GradientNoise.window - 1) + [sumSquares]
  }

  /// The share of the signal over the last ``window`` exchanges; nil while there are fewer.
  package var share: Double? {
    let total = totals.reduce(0, +)
    guard signals.count == GradientNoise.window, total > 0 else { return nil }
    return signals.reduce(0, +) / total
  }

  /// The state as text.
  package var text: String {
    zip(signals, totals).map { "\(hexadecimal($0.bitPattern))\(hexadecimal($1.bitPattern))" }.joined()
  }

  /// Restores the state from ``text``.
  package init(text: String) {
    let words = stride(from: 0, to: text.utf8.count / 16 * 16, by: 16).map { start in
      Double(bitPattern: UInt64(text.dropFirst(start).prefix(16), radix: 16) ?? 0)
    }
    for pair in stride(from: 0, to: words.count / 2 * 2, by: 2) {
      signals.append(words[pair])
      totals.append(words[pair + 1])
    }
  }
}
