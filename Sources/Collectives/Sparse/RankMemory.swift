internal import Buffers
internal import Transport

/// A rank's memory of its own gradients, as changes of parameters: momentum, and the residual of what was not sent.
///
///     u ← ρu + g      v ← v + ηu
///
/// Source: algorithms §2.4, practical form; Lin et al. 2018 for the masking of momentum.
final class RankMemory {
  /// v: the values not sent.
  let values: FloatBuffer
  /// u; empty without momentum.
  private let momenta: FloatBuffer
  private let momentum: Float
  /// Whether momentum is cleared where something was sent.
  private let masksMomentum: Bool

  init(count: Int, momentum: Double, masksMomentum: Bool) {
    values = FloatBuffer(count: count)
    momenta = FloatBuffer(count: momentum > 0 ? count : 0)
    self.momentum = Float(momentum)
    self.masksMomentum = masksMomentum
  }

  /// The values that a rank remembers.
  static func memory(_ sizes: AggregationSizes) -> MemoryRow {
    ("memory of ranks", (sizes.momentum > 0 ? 2 : 1) * sizes.count)
  }

  /// Adds a gradient, times `factor`, at the learning rate `rate`.
  func add(_ gradient: FloatBuffer, times factor: Float = 1, rate: Float) {
    let (v, u, g) = (values.baseAddress, momenta.baseAddress, gradient.baseAddress)
    if momenta.count == 0 {
      for index in 0..<values.count { v[index] += rate * (factor * g[index]) }
    } else {
      for index in 0..<values.count {
        u[index] = momentum * u[index] + factor * g[index]
        v[index] += rate * u[index]
      }
    }
  }

  /// Clears a value that was sent.
  func clear(at index: Int) {
    values[index] = 0
    if masksMomentum && momenta.count > 0 { momenta[index] = 0 }
  }

  /// Clears everything that was not sent, but not the momentum.
  func clearValues() { values.clear() }

  func clear() {
    values.clear()
    momenta.clear()
  }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("residual", .summed, of: values))
    if momenta.count > 0 { inventory.tensors.append(SavedTensor("residualMomentum", .summed, of: momenta)) }
  }
}
