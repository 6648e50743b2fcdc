package import Buffers
package import Collectives
internal import Optimizers
package import Transport

/// The outer step at the owners of shards: each keeps v of its own shard alone, and what it encodes for all ranks is the step s.
///
/// The owner's residual E is in units of the model then, and neither it nor that of a rank needs a rescale if α or a learning rate changes.
/// Source: frontier F1.2.
/// - Memory: d/K values of v on each of K ranks.
package final class OwnerMomentum: OwnerTransform {
  private let rule: OuterRule
  private var ownedRanges: [Range<Int>] = []
  /// Where the values of each owned range begin in ``velocity``.
  private var offsets: [Int] = []
  /// v; empty without momentum.
  private var velocity = FloatBuffer(count: 0)
  /// What owners of an earlier job had not sent, until it is applied by the one rank of this job; empty otherwise.
  private var inherited = FloatBuffer(count: 0)
  /// What the schedule leaves of Lion's α in this round.
  package var share: Float = 1

  package init(_ rule: OuterRule) { self.rule = rule }

  package func attach(ownedRanges: [Range<Int>], isRestorable: Bool, hosts: HostMap) throws {
    require(!isRestorable, "an outer step cannot be discarded")
    self.ownedRanges = ownedRanges
    var end = 0
    offsets = ownedRanges.map { range in
      end += range.count
      return end - range.count
    }
    if rule.remembers { velocity = FloatBuffer(count: end) }
  }

  package func begin() {}

  package func transform(_ range: Range<Int>, _ values: UnsafeMutablePointer<Float>) {
    guard !range.isEmpty else { return }
    let piece = ownedRanges.partitionPoint { $0.upperBound > range.lowerBound }
    require(
      piece < ownedRanges.count && ownedRanges[piece].clamped(to: range) == range, "\(range) is not owned by this rank")
    let offset = offsets[piece] + range.lowerBound - ownedRanges[piece].lowerBound
    rule.step(values, rule.remembers ? velocity.baseAddress + offset : nil, count: range.count, share: share)
    guard inherited.count > 0 else { return }
    for index in range { values[index - range.lowerBound] += inherited.baseAddress[index] }
  }

  package func deliver(into sink: Sink, by deliver: (Sink) throws -> Void) throws {
    try deliver(sink)
    inherited = FloatBuffer(count: 0)
  }

  /// What owners had not sent is a step already: it is applied with the next, and does not enter v.
  package func restoreUnits(of remainder: FloatBuffer) {
    inherited = FloatBuffer(count: remainder.count)
    inherited.copy(from: remainder)
    remainder.clear()
  }

  /// Sets v to zero.
  package func forget() { velocity.clear() }

  package let traffic = Traffic()
  package let seconds = 0.0

  package func contribute(to inventory: inout StateInventory) {
    if rule.remembers { inventory.tensors.append(SavedTensor("outerMomentum", .owned(ownedRanges), of: velocity)) }
  }
}

/// The outer step on every rank, with the same v on each: where sums have no owners who transform them, or where the model that is
/// evaluated is not the one at which rounds begin.
///
/// In block momentum with Nesterov's look-ahead, W ← W − αv is the model, and the next round begins at W − αμv.
/// Source: algorithms §9.3, textbook form; frontier F1.1, L3.
/// - Memory: v, the sum that is delivered, and with a look-ahead the start of a round: d values each.
package final class ReplicatedMomentum {
  private let rule: OuterRule
  /// v; empty without momentum.
  private let velocity: FloatBuffer
  /// Ψ̄.
  package let sum: FloatBuffer
  /// Whether rounds begin ahead of the model.
  package let looksAhead: Bool

  package init(_ rule: OuterRule, count: Int, looksAhead: Bool) {
    self.rule = rule
    self.looksAhead = looksAhead && rule.style == .nesterov && rule.momentum > 0
    velocity = FloatBuffer(count: rule.remembers ? count : 0)
    sum = FloatBuffer(count: count)
  }

  /// Moves `model` by the outer step of the sum that has been delivered.
  package func step(_ model: FloatBuffer, share: Float) {
    var rule = rule
    // Without its look-ahead a step is that of the heavy ball.
    if looksAhead { rule.style = .heavyBall }
    rule.step(sum.baseAddress, rule.remembers ? velocity.baseAddress : nil, count: sum.count, share: share)
    for i in 0..<sum.count { model.baseAddress[i] -= sum.baseAddress[i] }
  }

  /// Sets `start` to the point at which the next round begins.
  package func lookAhead(from model: FloatBuffer, to start: FloatBuffer) {
    let length = rule.rate * rule.momentum
    for i in 0..<start.count { start.baseAddress[i] = model.baseAddress[i] - length * velocity.baseAddress[i] }
  }

  package func forget() { velocity.clear() }

  package func contribute(to inventory: inout StateInventory) {
    if rule.remembers { inventory.tensors.append(SavedTensor("outerMomentum", of: velocity)) }
  }
}
