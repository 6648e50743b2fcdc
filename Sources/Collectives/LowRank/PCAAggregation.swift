internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// Sums by principal components: rows of a tensor's values cross as their products with a basis U that all ranks have, and what it does
/// not carry comes later.
///
///     X_i = g_i + e_i      P = Σ X_i U      Y = P Uᵀ      e_i ← X_i − (X_i U) Uᵀ
///
/// X has N rows of D values that follow one another in a tensor, and U is D × q, orthonormal. In each of R exchanges an R-th of the rows,
/// others each time, crosses whole as well: they are delivered as they are, nothing of them stays, and their sums are the sample of the
/// covariance of which U has the principal components, found anew by each rank from the same bits after R exchanges, and at first after 1,
/// 2, 4, … So nothing waits longer than R exchanges, and Y + Σ e_i is what was given. All that crosses is linear in X: owners add shards of
/// it in rank order. Vectors, and tensors too small to gain, cross as floats.
///
/// A matrix whose gradient + residual is not finite, or has magnitudes beyond 2¹⁰⁰, contributes zeros, keeps its residual, and is
/// counted. A single rank delivers its gradient as it is.
///
/// - Source: Yu et al. 2018, "GradiVeQ: vector quantization for bandwidth-efficient gradient aggregation"; algorithms §5.5(e). The paper
///   takes the covariance from exchanges of whole gradients between those of components, and keeps no residual.
/// - Cost: each rank sends 2 (K − 1)/K of 4 Σ (N q + N D/R) bytes and of the floats, in two rounds; 4q + D/R multiplications for each value,
///   and some 50 D³ of a matrix when U is found anew.
final class PCAAggregation: StagedAggregation {
  var specification: String { settings.specification }
  let result = AggregationResult.gradient
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  let rounds: MessageRounds
  private let settings: PCASettings
  /// Whether there is no other rank, so that gradients are passed on.
  private let isAlone: Bool
  private let shards: [Range<Int>]
  private let bases: PrincipalBases
  /// e of this rank; zeros for what crosses as floats.
  private let residual: FloatBuffer
  /// P of all matrices, their rows that cross whole, and the values that cross as floats: this rank's, then their sums.
  private let values: FloatBuffer
  /// Rows of Y.
  private let block: FloatBuffer
  /// The exchanges so far, in this run and those that it resumes.
  private var totalCount = 0
  private(set) var nonFiniteGroups = 0

  /// Prepares sums by principal components; collective.
  init(_ settings: PCASettings, parts: AggregationParts) throws {
    let (world, count) = (parts.hosts.world, parts.layout.count)
    self.settings = settings
    (gradients, exchange) = (parts.gradients, parts.stagedExchange)
    shards = settings.shards(world.count)
    isAlone = world.count == 1 && !parts.worksAlone
    rounds = try MessageRounds(settings.rounds(rankCount: world.count), hosts: parts.hosts)
    bases = PrincipalBases(
      count: settings.matrices.count, length: settings.length, components: settings.components, seed: parts.seed)
    residual = FloatBuffer(count: count)
    values = FloatBuffer(count: settings.count)
    block = FloatBuffer(count: settings.matrices.isEmpty ? 0 : max(settings.length, min(count, LowRankAggregation.blockCount)))
  }

  var predictsAtMost: Bool { false }
  var residualSquares: Double { residual.sumOfSquares }
  var remembered: FloatBuffer? { residual }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    isAlone ? passing(gradient) : projecting(gradient)
  }

  /// The stages of a single rank, whose gradient is the sum, with what ranks of before had not sent.
  private func passing(_ gradient: FloatBuffer) -> [Stage] {
    exchange.passing(gradient) { [self] in
      guard residual.sumOfSquares > 0 else { return }
      add(residual.baseAddress, count: gradient.count, to: gradient.baseAddress)
      residual.clear()
    }
  }

  private func projecting(_ gradient: FloatBuffer) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [self] in
      contribute(gradient)
      for (owner, shard) in shards.enumerated() {
        copy(values.baseAddress + shard.lowerBound, count: shard.count, to: rounds.message(to: owner, in: 0))
      }
      try rounds.send(0)
    }
    let delivering = [exchange.delivery { [self] in deliver(to: $0) }, rounds.ending { [self] in prepareNext() }]
    return [beginning] + rounds.summing(0, of: shards, into: values) + delivering
  }

  /// Where the rows of a matrix that cross whole are.
  private func sampledRows(_ matrix: PCASettings.Matrix) -> UnsafeMutablePointer<Float> {
    values.baseAddress + settings.leftCount + matrix.samples
  }

  /// Writes what crosses of gradient + residual, and takes it from the residual.
  private func contribute(_ gradient: FloatBuffer) {
    for (index, matrix) in settings.matrices.enumerated() {
      let (range, p) = (matrix.factors.range, values.baseAddress + matrix.factors.left)
      let (g, x) = (gradient.baseAddress + range.lowerBound, residual.baseAddress + range.lowerBound)
      guard allFinite(g, count: range.count, limit: 0x1p99), allFinite(x, count: range.count, limit: 0x1p99) else {
        nonFiniteGroups += 1
        p.update(repeating: 0, count: matrix.factors.rank * matrix.factors.rows)
        sampledRows(matrix).update(repeating: 0, count: matrix.sampleCount * settings.length)
        continue
      }
      add(g, count: range.count, to: x)
      LowRankProducts.left(x, matrix.factors, bases[index], into: p)
      let sampled = matrix.sampled(after: totalCount, refresh: settings.refresh)
      copy(x + sampled.lowerBound * settings.length, count: sampled.count * settings.length, to: sampledRows(matrix))
      for row in 0..<matrix.factors.rows {
        let own = x + row * settings.length
        if sampled.contains(row) {
          own.update(repeating: 0, count: settings.length)
        } else {
          LowRankProducts.addRow(row, matrix.factors, p, bases[index], sign: -1, to: own)
        }
      }
    }
    settings.floats.gather(from: gradient, into: values.baseAddress + settings.leftCount + settings.sampleCount)
  }

  /// Passes Y to the sink.
  private func deliver(to sink: Sink) {
    for (index, matrix) in settings.matrices.enumerated() {
      let sampled = matrix.sampled(after: totalCount, refresh: settings.refresh)
      sink.takeRows(of: matrix.factors, through: block) { row, sum in
        if sampled.contains(row) {
          copy(sampledRows(matrix) + (row - sampled.lowerBound) * settings.length, count: settings.length, to: sum)
        } else {
          LowRankProducts.addRow(row, matrix.factors, values.baseAddress + matrix.factors.left, bases[index], sign: 1, to: sum)
        }
      }
    }
    settings.floats.deliver(values.baseAddress + settings.leftCount + settings.sampleCount, to: sink)
  }

  /// Adds the rows that crossed whole to the covariances, and finds bases anew if it is time.
  private func prepareNext() {
    totalCount += 1
    let isWhole = totalCount % settings.refresh == 0
    let isEarly = totalCount < settings.refresh && totalCount.nonzeroBitCount == 1
    for (index, matrix) in settings.matrices.enumerated() {
      bases.add(sampledRows(matrix), count: matrix.sampleCount, to: index)
      if isWhole || isEarly { bases.renew(index) }
    }
    if isWhole { bases.forgetRows() }
  }

  // MARK: State

  func forget() { residual.clear() }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [
      SavedTensor("residual", .summed, of: residual), SavedTensor("components", of: bases.vectors),
      SavedTensor("covariances", of: bases.covariances), SavedTensor("covarianceExponents", of: bases.exponents),
    ]
    inventory.counters["componentExchanges"] = String(totalCount)
  }

  func restore(counters: [String: String]) { totalCount = counters["componentExchanges"].flatMap { Int($0) } ?? 0 }
}
