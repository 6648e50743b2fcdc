package import Buffers
package import Collectives
internal import Kernels
package import Transport

/// AdaGrad on the sum over the ranks, by the owner of each coordinate: `adagrad:place=aggregate`.
///
/// The order of a step is sum, AdaGrad, second encoding, momentum and update; the first three on the owner of a coordinate, the
/// last two on every rank. The average multiplier m̄ is that of a whole tensor, whose parts are summed by several owners; if
/// each had to know it before encoding, the exchange pipeline would stall once per tensor. Owners therefore encode x ⊘ s, and
/// every rank divides by m̄ after decoding. A code scales with its values, so this is the same except for the owners' residual:
/// it stays in units of x ⊘ s, and what it carries into a later step is divided by the m̄ of that step.
/// Source: Seide et al. 2014, section 3.4; algorithms §1.7 (b).
/// - Cost: one float for each parameter that a rank owns (two if a step can be discarded), and one for every parameter, where
///   the sums wait for m̄; 24 bytes per tensor to each other rank.
package final class AggregateScaling: OwnerTransform {
  private let tensors: [Tensor]
  private var ownedRanges: [Range<Int>] = []
  /// Where the values of each owned range begin in the state.
  private var offsets: [Int] = []
  private var state: AdaGradState
  private let sums: [MultiplierSum]
  private var records: RecordExchange?
  private let aggregate: FloatBuffer
  private let rule: AdaGrad
  /// Seconds spent on work outside the exchange, including the update of the model.
  package private(set) var seconds = 0.0

  /// Creates the transform of the sums of a model with these tensors.
  package init(_ rule: AdaGrad, _ layout: TensorLayout) {
    self.rule = rule
    tensors = layout.tensors
    state = AdaGradState(rule, count: 0, isRestorable: false)
    sums = layout.tensors.map { _ in MultiplierSum() }
    aggregate = FloatBuffer(count: layout.count)
  }

  /// Prepares for the ranges this rank owns; each tensor is complete over all of `hosts`.
  package func attach(ownedRanges: [Range<Int>], isRestorable: Bool, hosts: HostMap) throws {
    self.ownedRanges = ownedRanges
    var end = 0
    offsets = ownedRanges.map { range in
      end += range.count
      return end - range.count
    }
    state = AdaGradState(rule, count: end, isRestorable: isRestorable)
    records = try RecordExchange(hosts, capacity: MultiplierSum.wordCount * tensors.count)
  }

  /// The sums of squares of the ranges this rank owns.
  private var squares: FloatBuffer { state.squares }

  /// Adds its state to the inventory.
  package func contribute(to inventory: inout StateInventory) {
    inventory.tensors.append(SavedTensor("ownerAdaGrad", .owned(ownedRanges), of: squares))
  }

  /// The traffic of agreeing on multipliers.
  package var traffic: Traffic { records?.traffic ?? Traffic() }

  /// Prepares for the sums of a new exchange.
  package func begin() { for sum in sums { sum.clear() } }

  /// Scales a piece of a sum that this rank owns; called by the thread that drives the exchange.
  package func transform(_ range: Range<Int>, _ values: UnsafeMutablePointer<Float>) {
    guard !range.isEmpty else { return }
    let piece = ownedRanges.partitionPoint { $0.upperBound > range.lowerBound }
    let offset = offsets[piece] + range.lowerBound - ownedRanges[piece].lowerBound
    require(range.upperBound <= ownedRanges[piece].upperBound, "\(range) is not owned by this rank")
    var tensor = tensors.partitionPoint { $0.range.upperBound > range.lowerBound }
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min(tensors[tensor].range.upperBound, range.upperBound)
      state.scale(
        values + (start - range.lowerBound), at: offset + start - range.lowerBound, count: end - start, addingTo: sums[tensor])
      start = end
      tensor += 1
    }
  }

  /// Takes the sums that `deliver` brings, divides them by the average multipliers, and passes them on; collective.
  ///
  /// - Parameters:
  ///   - destination: Where they go.
  ///   - deliver: Ends the exchange.
  package func deliver(
    into destination: Sink, by deliver: (Sink) throws -> Void
  ) throws {
    var buffer = aggregate
    if case .buffer(let wanted) = destination { buffer = wanted }
    try deliver(.buffer(buffer))
    let stopwatch = Stopwatch()
    defer { seconds += stopwatch.seconds }
    state.commit()
    guard let records else { fatalError("sums are scaled before their owner is known") }
    let words = try records.gather(sums.flatMap(\.words), activity: "the average multipliers of AdaGrad")
    for (index, tensor) in tensors.enumerated() {
      let start = index * MultiplierSum.wordCount
      let mean = MultiplierSum.mean(of: words.map { Array($0[start..<start + MultiplierSum.wordCount]) })
      multiply(buffer.values(in: tensor.range), by: Float(1 / mean))
    }
    if case .update(let update) = destination { update(0..<buffer.count, buffer.baseAddress) }
  }

  /// Converts the owners' residual back to units of a gradient, if this rank owns everything.
  package func restoreUnits(of remainder: FloatBuffer) {
    require(remainder.count == squares.count, "what was left behind is not what this rank owns")
    for index in 0..<remainder.count { remainder[index] *= (squares[index] + rule.epsilon).squareRoot() }
  }
}
