internal import Buffers
internal import Kernels

/// A rank's mean of its gradients, and what has changed of it since the last exchange: the contributions of EF21 with momentum.
///
///     V ← (1 − a)V + a g      x = V − V before      V = g at first
///
/// A contribution is replaced in place, piece by piece in order; V is what it was before if the exchange is discarded. Sums of x are V up
/// to half an ulp of V for each.
///
/// - Source: Fatkhullin et al. 2023, "Momentum provably improves error feedback!", algorithm 1; frontier F3.1.
struct MeanDifferences {
  /// V.
  let mean: FloatBuffer
  /// V before the exchange under way; empty if exchanges are not discarded.
  private let kept: FloatBuffer
  /// a.
  private let share: Float
  /// Whether V has begun.
  private(set) var hasBegun = false
  /// The end of what is replaced of the contribution under way.
  private var end = 0

  init(count: Int, share: Float, isRestorable: Bool) {
    (mean, kept, self.share) = (FloatBuffer(count: count), FloatBuffer(count: isRestorable ? count : 0), share)
  }

  /// Begins a contribution.
  mutating func begin() { end = 0 }

  /// Replaces the values of the contribution up to `newEnd` by those of x, or of V itself if `whole`.
  mutating func replace(upTo newEnd: Int, of contribution: FloatBuffer, whole: Bool) {
    guard newEnd > end else { return }
    let (g, v) = (contribution.baseAddress, mean.baseAddress)
    if kept.count > 0 { copy(v + end, count: newEnd - end, to: kept.baseAddress + end) }
    let old = 1 - share
    for i in end..<newEnd {
      let next = hasBegun ? old * v[i] + share * g[i] : g[i]
      g[i] = whole ? next : next - v[i]
      v[i] = next
    }
    end = newEnd
  }

  /// Keeps what the contribution has changed.
  mutating func commit() { hasBegun = true }

  /// Takes back what the contribution has changed.
  mutating func restore() { if kept.count > 0 { copy(kept.baseAddress, count: end, to: mean.baseAddress) } }

  /// As at the start.
  mutating func forget() {
    mean.clear()
    hasBegun = false
  }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("meanGradient", .equalShare, of: mean))
    inventory.counters["meanGradientHasBegun"] = String(hasBegun)
  }

  mutating func restore(_ counters: [String: String]) { hasBegun = counters["meanGradientHasBegun"] == "true" }
}
