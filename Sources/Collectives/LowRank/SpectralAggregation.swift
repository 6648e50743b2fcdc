internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// Sums by singular values: of each matrix, each rank sends a few singular values with their vectors, and so do owners of the sum.
///
///     svd        X_i = g_i + e_i      e_i ← X_i − P_i Q_iᵀ      S ← S + Σ P_i Q_iᵀ      Y = P Qᵀ      S ← S − Y
///     spectral   X_i = g_i                                      S = Σ P_i Q_iᵀ          Y = P Qᵀ
///
/// P_i Q_iᵀ has the r largest singular values of X_i, and P Qᵀ those of S; what they lack stays with the rank and with the owner, so that
/// Y + Σ e_i + S is what was given. Of `spectral`, values are drawn, the larger the likelier, and divided by their probability: Y is right
/// on average over both draws, and nothing stays. Large matrices are cut into blocks of rows, which bounds the work; owners have blocks, and
/// all get the bytes of Y. Vectors, and blocks too small to gain, cross as floats, which owners add in rank order.
///
/// A block whose gradient + residual is not finite, or has magnitudes beyond 2⁹⁰, contributes zeros, keeps its residual, and is counted. A
/// single rank delivers its gradient as it is.
///
/// - Source: Wang et al. 2018, "ATOMO: communication-efficient learning via atomic sparsification"; algorithms §6.2.
/// - Cost: a rank sends 4 Σ r(n + m) bytes and its floats to the owners, and each owner (K − 1) times those of its blocks to all: (K − 1)/K
///   of all twice as long as there are blocks for all ranks. Some 4 s operations in fp64 for each value and sweep (``SingularValues``), for
///   a smaller side s, on ranks and on owners.
final class SpectralAggregation: StagedAggregation {
  /// The most values of the rows that are passed on together, if a row is no longer.
  static let blockCount = 4096
  /// The largest magnitude of a gradient and of a residual, so that factors of sums are finite.
  private static let limit: Float = 0x1p89

  var specification: String { settings.specification }
  let result = AggregationResult.gradient
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  let rounds: MessageRounds
  private let settings: SpectralSettings
  /// Whether there is no other rank, so that gradients are passed on.
  private let isAlone: Bool
  private let rank: Int
  private let shares: [(blocks: Range<Int>, floats: Range<Int>)]
  private let random: SpectralRandom
  /// e of this rank; empty if nothing stays.
  private let residual: FloatBuffer
  /// S of the owned blocks, one after another.
  private let sums: FloatBuffer
  /// The values that cross as floats: this rank's, then their sums.
  private let floats: FloatBuffer
  /// Rows of Y.
  private let rows: FloatBuffer
  private(set) var nonFiniteGroups = 0

  /// Prepares sums by singular values; collective.
  init(_ settings: SpectralSettings, parts: AggregationParts) throws {
    let (world, count) = (parts.hosts.world, parts.layout.count)
    self.settings = settings
    (gradients, exchange, rank) = (parts.gradients, parts.stagedExchange, world.rank)
    shares = settings.shares(world.count)
    random = SpectralRandom(seed: parts.seed, streams: parts.options.streams, isUsed: settings.form == .drawn)
    isAlone = world.count == 1 && !parts.worksAlone
    rounds = try MessageRounds(settings.rounds(rankCount: world.count), hosts: parts.hosts)
    residual = FloatBuffer(count: settings.form == .largest ? count : 0)
    sums = FloatBuffer(count: shares[rank].blocks.reduce(0) { $0 + settings.blocks[$1].range.count })
    floats = FloatBuffer(count: settings.floats.count)
    let longest = settings.blocks.map(\.columns).max() ?? 0
    rows = FloatBuffer(count: longest == 0 ? 0 : max(longest, min(count, Self.blockCount)))
  }

  var predictsAtMost: Bool { false }
  var residualSquares: Double { residual.sumOfSquares }
  /// Owners keep a part of what is not sent, or nobody does.
  var estimationError: Double { isAlone ? 0 : settings.form == .largest ? 1 : .infinity }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    isAlone ? passing(gradient) : factoring(gradient, step: contribution.step)
  }

  /// The stages of a single rank, whose gradient is the sum, with what ranks and owners of before had not sent.
  private func passing(_ gradient: FloatBuffer) -> [Stage] {
    exchange.passing(gradient) { [self] in
      guard settings.form == .largest, residual.sumOfSquares + sums.sumOfSquares > 0 else { return }
      add(residual.baseAddress, count: gradient.count, to: gradient.baseAddress)
      forEachOwned { block, values, _ in
        add(values, count: block.range.count, to: gradient.baseAddress + block.range.lowerBound)
      }
      forget()
    }
  }

  private func factoring(_ gradient: FloatBuffer, step: Int) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [self] in
      try contribute(gradient, step: step)
      if settings.form == .drawn { sums.clear() }
    }
    let adding = rounds.messages(from: rounds.peers, in: 0, .sum) { [self] message, peer in take(message, from: peer) }
    let returning = Stage(.sum) { [self] in
      forEachOwned { block, values, place in
        reduce(values, block, random.ofSum(step, owner: rank, block.range), into: rounds.message(in: 1) + place)
      }
      try rounds.send(1)
    }
    let delivering = rounds.messages(from: rounds.peers, in: 1, .decode) { [self] message, owner in
      if let sink = exchange.sink { deliver(message, from: owner, to: sink) }
    }
    let rest = Stage(.decode) { [self] in
      if let sink = exchange.sink { settings.floats.deliver(floats.baseAddress, to: sink) }
    }
    return [beginning] + adding + [returning, exchange.delivery { _ in }] + delivering + [rest, rounds.ending()]
  }

  /// Sends the owners the factors of this rank's blocks, and floats.
  private func contribute(_ gradient: FloatBuffer, step: Int) throws {
    settings.floats.gather(from: gradient, into: floats.baseAddress)
    for (owner, share) in shares.enumerated() {
      var message = rounds.message(to: owner, in: 0)
      for block in settings.blocks[share.blocks] {
        let number = random.ofRank(step, rank: rank, block.range)
        encode(gradient.baseAddress + block.range.lowerBound, block, number, into: message)
        message += SpectralSettings.factorCount(block)
      }
      copy(floats.baseAddress + share.floats.lowerBound, count: share.floats.count, to: message)
    }
    try rounds.send(0)
  }

  /// Writes the factors of gradient + residual of a block; what they lack stays in the residual.
  private func encode(
    _ g: UnsafeMutablePointer<Float>, _ block: LowRankSettings.Matrix, _ random: Double?,
    into factors: UnsafeMutablePointer<Float>
  ) {
    let x = settings.form == .largest ? residual.baseAddress + block.range.lowerBound : g
    let count = block.range.count
    guard allFinite(g, count: count, limit: Self.limit), allFinite(x, count: count, limit: Self.limit) else {
      nonFiniteGroups += 1
      return factors.update(repeating: 0, count: SpectralSettings.factorCount(block))
    }
    guard settings.form == .largest else { return SpectralFactors.write(of: x, block, drawnBy: random, into: factors) }
    add(g, count: count, to: x)
    reduce(x, block, nil, into: factors)
  }

  /// Writes the factors of X; what they lack is left in it, if anything stays.
  private func reduce(
    _ x: UnsafeMutablePointer<Float>, _ block: LowRankSettings.Matrix, _ random: Double?,
    into factors: UnsafeMutablePointer<Float>
  ) {
    SpectralFactors.write(of: x, block, drawnBy: random, into: factors)
    guard settings.form == .largest else { return }
    for row in 0..<block.rows { addRow(row, block, factors, sign: -1, to: x + row * block.columns) }
  }

  private func addRow(
    _ row: Int, _ block: LowRankSettings.Matrix, _ factors: UnsafePointer<Float>, sign: Float,
    to values: UnsafeMutablePointer<Float>
  ) {
    LowRankProducts.addRow(row, block, factors + block.left, factors + block.right, sign: sign, to: values)
  }

  /// Calls `body` with each block that this rank owns, its S, and the place of its factors in messages.
  private func forEachOwned(_ body: (LowRankSettings.Matrix, _ values: UnsafeMutablePointer<Float>, _ place: Int) -> Void) {
    var (values, place) = (sums.baseAddress, 0)
    for block in settings.blocks[shares[rank].blocks] {
      body(block, values, place)
      values += block.range.count
      place += SpectralSettings.factorCount(block)
    }
  }

  /// Adds what a rank sends of this rank's shares.
  private func take(_ message: UnsafePointer<Float>, from peer: Int) {
    var end = 0
    forEachOwned { block, values, place in
      for row in 0..<block.rows { addRow(row, block, message + place, sign: 1, to: values + row * block.columns) }
      end = place + SpectralSettings.factorCount(block)
    }
    let (sum, count) = (rounds.message(in: 1) + end, shares[rank].floats.count)
    if peer == 0 { copy(message + end, count: count, to: sum) } else { add(message + end, count: count, to: sum) }
  }

  /// Passes Y of an owner's blocks to the sink, and keeps its floats.
  private func deliver(_ message: UnsafePointer<Float>, from owner: Int, to sink: Sink) {
    var factors = message
    for block in settings.blocks[shares[owner].blocks] {
      sink.takeRows(of: block, through: rows) { row, values in addRow(row, block, factors, sign: 1, to: values) }
      factors += SpectralSettings.factorCount(block)
    }
    copy(factors, count: shares[owner].floats.count, to: floats.baseAddress + shares[owner].floats.lowerBound)
  }

  // MARK: State

  func forget() {
    residual.clear()
    sums.clear()
  }

  func contribute(to inventory: inout StateInventory) {
    guard settings.form == .largest else { return }
    let owned = settings.blocks[shares[rank].blocks].map(\.range)
    inventory.tensors += CodedAllReduce.savedResiduals(residual, ofOwner: sums, owned)
  }
}

/// The numbers by which singular values are drawn: one for each block, by the step and by who draws.
private struct SpectralRandom {
  let seed: UInt64
  let streams: CodeStreams
  /// Whether anything is drawn.
  let isUsed: Bool

  func ofRank(_ step: Int, rank: Int, _ block: Range<Int>) -> Double? { number(step, streams.contributions(of: rank), block) }

  func ofSum(_ step: Int, owner: Int, _ block: Range<Int>) -> Double? { number(step, streams.sums(of: owner), block) }

  /// The number of a block, by its first value.
  private func number(_ step: Int, _ stream: Int, _ block: Range<Int>) -> Double? {
    guard isUsed else { return nil }
    return Double(Philox(seed: seed, purpose: .singularValues, step: step, stream: stream).uniform(block.lowerBound))
  }
}
