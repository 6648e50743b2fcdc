package import Buffers

/// What a rank has done alone since the last exchange, by momentum of its own.
///
///     m_i ← β₁m_i + (1 − β₁)K g_i      w_i ← w_i − η m_i/d      contribution: the mean of m_i over the steps, /K
///
/// and d the frozen divisor of each value. The sum M of the contributions becomes the momentum of all, and the parameters those of the last
/// exchange minus the sum of the rates times M/d: both have the same bits on every rank again.
///
/// Source: Lu et al. 2022, algorithm 1; algorithms §14.3, where contributions are weighted by rates: here each step counts the same.
struct LocalMomentum {
  /// Σ m_i over the steps.
  private let sums: FloatBuffer
  /// The parameters of the last exchange.
  private let base: FloatBuffer
  /// The steps taken alone since then.
  private(set) var count = 0
  /// The sum of their rates.
  private var rates = 0.0

  init(count: Int) { (sums, base) = (FloatBuffer(count: count), FloatBuffer(count: count)) }

  /// Takes a step: `momentum` is the new m_i, and `move` moves the parameters by it.
  mutating func take(_ momentum: FloatBuffer, from parameters: FloatBuffer, rate: Float, move: () -> Void) {
    if count == 0 { base.copy(from: parameters) }
    for i in 0..<sums.count { sums.baseAddress[i] += momentum.baseAddress[i] }
    move()
    count += 1
    rates += Double(rate)
  }

  /// Replaces the new m_i in `range` by the contribution of the interval that it ends.
  func contribute(_ range: Range<Int>, of momentum: FloatBuffer, rankCount: Int) {
    let (m, divisor) = (momentum.baseAddress, Float((count + 1) * rankCount))
    if count == 0 {
      for i in range { m[i] = m[i] / divisor }
    } else {
      for i in range { m[i] = (sums.baseAddress[i] + m[i]) / divisor }
    }
  }

  /// Makes a contribution of the steps so far alone.
  func contribute(to contribution: FloatBuffer, rankCount: Int) {
    let divisor = Float(count * rankCount)
    for i in 0..<sums.count { contribution.baseAddress[i] = sums.baseAddress[i] / divisor }
  }

  /// Takes the parameters in `range` back to those of the last exchange.
  func goBack(_ range: Range<Int>, _ parameters: FloatBuffer) {
    guard count > 0 else { return }
    for i in range { parameters.baseAddress[i] = base.baseAddress[i] }
  }

  /// The rate of the whole interval, whose last step has the rate `rate`.
  func rate(with rate: Float) -> Float { Float(rates + Double(rate)) }

  /// Begins the next interval.
  mutating func end() {
    if count > 0 { sums.clear() }
    (count, rates) = (0, 0)
  }
}

/// A rank's own momentum in place of its gradient, or the contribution of several steps of it, for ``ZeroOneAdam``.
package final class LocalMomentumContribution: RankTransform {
  private let optimizer: ZeroOneAdam
  private let tensors: [Tensor]

  init(_ optimizer: ZeroOneAdam, _ tensors: [Tensor]) { (self.optimizer, self.tensors) = (optimizer, tensors) }

  package func transform(_ index: Int, of gradient: FloatBuffer, at parameters: FloatBuffer, share: Float) {
    optimizer.contribute(tensors[index].range, of: gradient)
  }

  package func commit() {}
  package func contribute(to inventory: inout StateInventory) {}
}
