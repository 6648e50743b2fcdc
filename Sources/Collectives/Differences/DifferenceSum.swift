internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// EF21 with momentum, both ways: ranks and owners send codes of what has changed, and everybody adds up what arrives.
///
///     c_i = code of V_i − G_i      G_i ← G_i + c_i      owner: G ← G + Σ c_i      c = code of G − Ĝ      Ĝ ← Ĝ + c
///
/// V_i is a mean of the gradients of rank i (``MeanDifferences``), and Ĝ, the same bits on every rank, is delivered in place of the sum. As
/// V_i − G_i is what remained of the last code and what V_i has changed since, this is a coded all-reduce of these changes, with error
/// feedback: the residuals of ranks and owners are V_i − G_i and G − Ĝ, so that Ĝ + Σ residuals = Σ V_i, up to rounding.
///
/// As V_i settles, messages go to zero, where those of error feedback on gradients keep the size of what ranks differ by. V_i takes the
/// place of an optimizer's momentum. Any code that sends later what it does not send now will do.
///
/// - Source: Richtárik et al. 2021, "EF21"; Fatkhullin et al. 2023 (momentum); frontier F3.1; the same way down is EF21 of the owner's sum.
/// - Cost: the bytes of the code; two more floats per parameter on every rank, and two more passes.
final class DifferenceSum: Aggregation {
  let specification: String
  let result = AggregationResult.gradient
  private let sum: CodedAllReduce
  private let gradients: [SharedGradient]
  private let isAlone: Bool
  private var differences: MeanDifferences
  /// Ĝ.
  private let delivered: FloatBuffer
  /// The buffer of the contribution under way; nil if none is: what is marked as ready then is not this exchange's.
  private var buffer: Int?

  /// Prepares sums of differences; collective.
  init(_ specification: String, _ codec: any Codec, share: Float, parts: AggregationParts) throws {
    (self.specification, gradients) = (specification, parts.gradients)
    var options = parts.options
    options.seed = parts.seed
    sum = try CodedAllReduce(codec, layout: parts.layout, gradients: parts.gradients, options: options)
    isAlone = parts.hosts.world.count == 1
    differences = MeanDifferences(count: parts.layout.count, share: share, isRestorable: options.isRestorable)
    delivered = FloatBuffer(count: parts.layout.count)
  }

  private func replace(upTo end: Int) {
    if let buffer { differences.replace(upTo: end, of: gradients[buffer].values, whole: isAlone) }
  }

  func begin(_ contribution: Contribution) throws {
    buffer = contribution.buffer
    differences.begin()
    if contribution.isReady { replace(upTo: delivered.count) }
    try sum.begin(contribution)
  }

  func markReady(upTo end: Int) {
    replace(upTo: end)
    sum.markReady(upTo: end)
  }

  func advance() throws -> ExchangeTurn { try sum.advance() }

  func deliver(into sink: Sink) throws {
    replace(upTo: delivered.count)
    try sum.deliver(
      into: .update { [self] range, values in
        let total = delivered.baseAddress + range.lowerBound
        if isAlone { copy(values, count: range.count, to: total) } else { add(values, count: range.count, to: total) }
        sink.take(total, in: range)
      })
    differences.commit()
    buffer = nil
  }

  func discard() throws {
    try sum.discard()
    differences.restore()
    buffer = nil
  }

  func abandon() { sum.abandon() }

  var residualSquares: Double { sum.residualSquares }
  var exchangeCount: Int { sum.exchangeCount }
  var traffic: Traffic { sum.traffic }
  var predictedTraffic: Traffic { sum.predictedTraffic }
  var predictsAtMost: Bool { sum.predictsAtMost }
  var timing: ExchangeTiming { sum.timing }
  var nonFiniteGroups: Int { sum.nonFiniteGroups }
  /// Owners keep a part of what is not sent.
  var estimationError: Double { isAlone ? 0 : 1 }

  // MARK: State

  func place() throws { try sum.place() }

  func forget() {
    sum.forget()
    differences.forget()
    delivered.clear()
  }

  func contribute(to inventory: inout StateInventory) {
    if isAlone {
      // Several ranks that go on from here begin without any, and one has no use for theirs.
      let (count, none) = (delivered.count, { FloatBuffer(count: $0) })
      inventory.tensors += CodedAllReduce.savedResiduals(none(count), ofOwner: none(count), [0..<count])
    } else {
      sum.contribute(to: &inventory)
    }
    differences.contribute(to: &inventory)
    inventory.tensors.append(SavedTensor("deliveredGradient", of: delivered))
  }

  func restore(counters: [String: String]) {
    sum.restore(counters: counters)
    differences.restore(counters)
  }
}
