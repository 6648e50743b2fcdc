internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// Low-rank sums: each matrix of a gradient crosses as two factors of r columns, and what they do not carry comes later.
///
///     X_i = g_i + e_i      P = orth(Σ X_i Q)      Q ← Σ X_iᵀ P      Y = P Qᵀ      e_i ← X_i − P (X_iᵀ P)ᵀ
///
/// Y is the sum that is delivered, and Σ e_i = Σ X_i − Y: nothing is lost. Q is kept for the next exchange, so that exchanges are
/// steps of a power iteration. Factors are linear in X, so that owners add shards of them, of all matrices together, in rank order;
/// each rank makes P orthonormal by itself, from the same bits. Vectors, and matrices too small to gain, cross as floats with P.
///
/// Q begins with random signs. A column that carries nothing begins anew with random signs, too, and so does every `refresh` exchanges
/// one of the columns in turn: what Q leaves out would otherwise be left out for ever. Its columns are scaled by powers of two, which
/// P does not depend on, so that gradients of any magnitude fit.
///
/// A matrix whose gradient + residual is not finite, or has magnitudes beyond 2¹⁰⁰, contributes zeros, keeps its residual, and is
/// counted. A single rank delivers its gradient as it is.
///
/// - Source: Vogels et al. 2019, "PowerSGD", with the residual of its later code; algorithms §6.1; frontier F2.3 for the refresh.
/// - Cost: each rank sends 2 (K − 1)/K of 4 Σ r(n + m) bytes and of the floats, in four rounds; 8r operations per value.
final class LowRankAggregation: StagedAggregation {
  /// The most values of the rows that are passed on together, if a row is no longer.
  static let blockCount = 4096

  var specification: String { settings.specification }
  let result = AggregationResult.gradient
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  let rounds: MessageRounds
  private let settings: LowRankSettings
  /// Whether there is no other rank, so that gradients are passed on.
  private let isAlone: Bool
  private let shards: [[Range<Int>]]
  private let seed: UInt64
  /// e of this rank: of matrices; zeros for what crosses as floats.
  private let residual: FloatBuffer
  /// P of all matrices, and the values that cross as floats: this rank's, then their sums.
  private let left: FloatBuffer
  /// Q of all matrices.
  private let right: FloatBuffer
  /// This rank's part of Q in an exchange.
  private let ownRight: FloatBuffer
  /// Rows of Y.
  private let block: FloatBuffer
  /// Whether a matrix contributes to the exchange.
  private var contributes: [Bool] = []
  /// The exchanges so far, in this run and those that it resumes.
  private var totalCount = 0
  private(set) var nonFiniteGroups = 0

  /// Prepares low-rank sums; collective.
  init(_ settings: LowRankSettings, parts: AggregationParts) throws {
    let (world, count) = (parts.hosts.world, parts.layout.count)
    self.settings = settings
    (gradients, exchange, seed) = (parts.gradients, parts.stagedExchange, parts.seed)
    shards = settings.shards(world.count)
    isAlone = world.count == 1 && !parts.worksAlone
    rounds = try MessageRounds(settings.rounds(rankCount: world.count), hosts: parts.hosts)
    residual = FloatBuffer(count: count)
    left = FloatBuffer(count: settings.leftCount + settings.floats.count)
    (right, ownRight) = (FloatBuffer(count: settings.rightCount), FloatBuffer(count: settings.rightCount))
    let longest = settings.matrices.map(\.columns).max() ?? 0
    block = FloatBuffer(count: longest == 0 ? 0 : max(longest, min(count, Self.blockCount)))
    for matrix in settings.matrices {
      for column in 0..<matrix.rank { draw(column, of: matrix) }
    }
  }

  var predictsAtMost: Bool { false }
  var residualSquares: Double { residual.sumOfSquares }
  var remembered: FloatBuffer? { residual }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    isAlone ? passing(gradient) : factoring(gradient)
  }

  /// The stages of a single rank, whose gradient is the sum, with what ranks of before had not sent.
  private func passing(_ gradient: FloatBuffer) -> [Stage] {
    exchange.passing(gradient) { [self] in
      guard residual.sumOfSquares > 0 else { return }
      add(residual.baseAddress, count: gradient.count, to: gradient.baseAddress)
      residual.clear()
    }
  }

  private func factoring(_ gradient: FloatBuffer) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [self] in
      contribute(gradient)
      try scatter(left, in: 0)
    }
    let turning = Stage(.encode) { [self] in
      for (index, matrix) in settings.matrices.enumerated() {
        LowRankProducts.orthonormalize(left.baseAddress + matrix.left, matrix.rank, ofLength: matrix.rows)
        let own = ownRight.baseAddress + matrix.right
        if contributes[index] {
          LowRankProducts.right(
            residual.baseAddress + matrix.range.lowerBound, matrix, left.baseAddress + matrix.left, into: own)
        } else {
          own.update(repeating: 0, count: matrix.rank * matrix.columns)
        }
      }
      try scatter(ownRight, in: 2)
    }
    let delivering = [exchange.delivery { [self] in deliver(to: $0) }, rounds.ending { [self] in prepareNext() }]
    return [beginning] + rounds.summing(0, of: shards[0], into: left) + [turning]
      + rounds.summing(2, of: shards[1], into: right) + delivering
  }

  /// Adds the gradient to the residual, and multiplies by Q.
  private func contribute(_ gradient: FloatBuffer) {
    contributes = settings.matrices.map { matrix in
      let (g, x) = (gradient.baseAddress + matrix.range.lowerBound, residual.baseAddress + matrix.range.lowerBound)
      let (p, q) = (left.baseAddress + matrix.left, right.baseAddress + matrix.right)
      guard isSmall(g, x, matrix.range.count) else {
        nonFiniteGroups += 1
        p.update(repeating: 0, count: matrix.rank * matrix.rows)
        return false
      }
      add(g, count: matrix.range.count, to: x)
      LowRankProducts.left(x, matrix, q, into: p)
      return true
    }
    settings.floats.gather(from: gradient, into: left.baseAddress + settings.leftCount)
  }

  /// Whether no sum is beyond 2¹⁰⁰, nor not a number.
  private func isSmall(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Bool {
    allFinite(a, count: count, limit: 0x1p99) && allFinite(b, count: count, limit: 0x1p99)
  }

  /// Sends each owner its shard of `values`.
  private func scatter(_ values: FloatBuffer, in round: Int) throws {
    for (owner, shard) in shards[round / 2].enumerated() {
      copy(values.baseAddress + shard.lowerBound, count: shard.count, to: rounds.message(to: owner, in: round))
    }
    try rounds.send(round)
  }

  /// Passes Y to the sink; what this rank's part of it lacks stays in the residual.
  private func deliver(to sink: Sink) {
    for (index, matrix) in settings.matrices.enumerated() {
      let (p, q) = (left.baseAddress + matrix.left, right.baseAddress + matrix.right)
      let (own, x) = (ownRight.baseAddress + matrix.right, residual.baseAddress + matrix.range.lowerBound)
      sink.takeRows(of: matrix, through: block) { row, values in
        LowRankProducts.addRow(row, matrix, p, q, sign: 1, to: values)
        if contributes[index] { LowRankProducts.addRow(row, matrix, p, own, sign: -1, to: x + row * matrix.columns) }
      }
    }
    settings.floats.deliver(left.baseAddress + settings.leftCount, to: sink)
  }

  /// Scales Q for the next exchange, and draws columns anew that carry nothing, or whose turn it is.
  private func prepareNext() {
    totalCount += 1
    let turn = settings.refresh > 0 && totalCount % settings.refresh == 0 ? totalCount / settings.refresh : nil
    for matrix in settings.matrices {
      for column in 0..<matrix.rank {
        let values = right.values(in: matrix.right + column * matrix.columns..<matrix.right + (column + 1) * matrix.columns)
        var largest: Float = 0
        for value in values { largest = max(largest, value.magnitude) }
        let isUseful = largest > 0 && values.allSatisfy(\.isFinite)
        if !isUseful || turn.map({ $0 % matrix.rank == column }) ?? false {
          draw(column, of: matrix)
        } else {
          let down = Float(sign: .plus, exponent: max(-126, min(127, -Int(largest.exponent))), significand: 1)
          multiply(values, by: down)
        }
      }
    }
  }

  /// Fills a column of Q with random signs, the same on every rank.
  private func draw(_ column: Int, of matrix: LowRankSettings.Matrix) {
    let philox = Philox(seed: seed, purpose: .lowRank, step: totalCount)
    let start = matrix.right + column * matrix.columns
    for i in 0..<matrix.columns {
      right[start + i] = philox.word(column * matrix.columns + i, tensor: matrix.tensor) & 1 == 0 ? 1 : -1
    }
  }

  // MARK: State

  func forget() { residual.clear() }

  func contribute(to inventory: inout StateInventory) {
    inventory.tensors += [SavedTensor("residual", .summed, of: residual), SavedTensor("rightFactors", of: right)]
    inventory.counters["lowRankExchanges"] = String(totalCount)
  }

  func restore(counters: [String: String]) { totalCount = counters["lowRankExchanges"].flatMap { Int($0) } ?? 0 }
}
