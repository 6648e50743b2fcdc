internal import Buffers
internal import Codecs
internal import Kernels
internal import MPI
internal import Transport

/// Lazily aggregated gradients: ranks upload when their gradient has changed enough; owners sum the last uploads of all.
///
///     ∇ = Σ_m ĝ_m      ĝ_m: the last upload of rank m
///
/// What is enough follows from how far the model has moved in the last steps (``DescentHistory``), by one of several rules
/// (``UploadRule``). Owners keep the last upload of each rank for their shard and sum them anew in rank order, in fp32 as a coded
/// all-reduce does: when all upload, the sum has the same bits. If none does, nothing comes back either: all ranks still have
/// the sum. One rank uploads always.
///
/// - Source: Chen et al. 2018; Sun et al. 2019; algorithms §10.8.
/// - Cost: a record of 64 bytes to each other rank; (K − 1)/K of the floats, or of the codes, of each rank that uploads; and of
///   the floats of the sums from each owner to K − 1 ranks, if any rank does.
final class LazyAggregation: StagedAggregation {
  let specification: String
  let result = AggregationResult.gradient
  private let settings: LazySettings
  let gradients: [SharedGradient]
  let exchange: StagedExchange
  let rounds: MessageRounds
  private let rank: Int
  private let shards: [Range<Int>]
  private let history: DescentHistory
  /// ĝ of this rank.
  private let held: FloatBuffer
  /// ĝ of each rank, for the shard of this one.
  private let copies: [FloatBuffer]
  /// ∇ of the last exchange.
  private let sum: FloatBuffer
  private let rule: any UploadRule
  private var ledger: UploadLedger
  /// ‖g − ĝ‖² of this rank after the last exchange.
  private(set) var residualSquares = 0.0

  /// Prepares lazy sums; collective.
  init(_ settings: LazySettings, parts: AggregationParts) throws {
    let (world, count) = (parts.hosts.world, parts.layout.count)
    self.settings = settings
    (specification, gradients, exchange) = (settings.specification, parts.gradients, parts.stagedExchange)
    rank = world.rank
    shards = LazySettings.shards(count, world.count)
    rounds = try MessageRounds(settings.rounds(count: count, rankCount: world.count), hosts: parts.hosts)
    let (isAlone, ownCount) = (world.count == 1, shards[world.rank].count)
    history = DescentHistory(isAlone ? FloatBuffer(count: 0) : parts.model, count: isAlone ? 0 : count, depth: settings.depth)
    held = FloatBuffer(count: isAlone ? 0 : count)
    copies = isAlone ? [] : shards.map { _ in FloatBuffer(count: ownCount) }
    sum = FloatBuffer(count: isAlone ? 0 : count)
    rule = try settings.makeRule(held: held, model: history.model, rank: world.rank, of: world.count)
    ledger = UploadLedger(rankCount: world.count)
  }

  private var isAlone: Bool { shards.count == 1 }

  var uploads: UploadCounts? { UploadCounts(byRank: ledger.uploads, exchangeCount: ledger.exchangeCount) }
  var secondPoint: SecondPoint? { isAlone ? nil : rule.secondPoint }

  func stages(of gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    isAlone ? passing(gradient) : uploading(gradient, contribution)
  }

  /// The stages of a single rank, whose gradient is the sum.
  private func passing(_ gradient: FloatBuffer) -> [Stage] {
    exchange.passing(gradient) { [self] in ledger.note([true]) }
  }

  /// The stages in which ranks decide, tell each other, and upload; the others follow from who does.
  private func uploading(_ gradient: FloatBuffer, _ contribution: Contribution) -> [Stage] {
    let beginning = rounds.beginning(exchange) { [history] in history.begin(rate: contribution.rate) }
    let telling = rounds.sendingOrNot(0, .encode) { [self] in
      let threshold = history.threshold(weight: settings.weight, rankCount: shards.count)
      let (isNews, distance) = rule.judge(gradient, threshold: threshold)
      residualSquares = distance
      guard isNews || ledger.mustUpload(rank, settings) else { return false }
      write(gradient)
      residualSquares = settings.grid == nil ? 0 : squaredDistance(gradient, held)
      rule.noteUpload()
      return true
    } learn: { [self] senders in
      ledger.note(senders)
      exchange.next(senders.contains(true) ? summing(senders) : [exchange.delivery { [self] in deliver(to: $0) }])
    }
    return [beginning] + telling + [rounds.ending { [self] in history.follow(sum) }]
  }

  /// Writes the messages of an upload; ĝ becomes what they say.
  private func write(_ gradient: FloatBuffer) {
    let radius = settings.grid?.radius(of: gradient.baseAddress, from: held.baseAddress, count: gradient.count) ?? 0
    for (owner, shard) in shards.enumerated() {
      let (values, message) = (gradient.baseAddress + shard.lowerBound, rounds.message(to: owner, in: 0))
      let known = held.baseAddress + shard.lowerBound
      if let grid = settings.grid {
        grid.encode(values, moving: known, count: shard.count, radius: radius, into: message)
      } else {
        copy(values, count: shard.count, to: message)
        copy(values, count: shard.count, to: known)
      }
    }
  }

  /// The stages in which owners take the uploads of `senders`, sum, and send back.
  private func summing(_ senders: [Bool]) -> [Stage] {
    let own = shards[rank].count
    let taking = rounds.messages(from: rounds.peers.filter { senders[$0] }, in: 0, .sum) { [self] values, peer in
      if let grid = settings.grid {
        grid.decode(values, moving: copies[peer].baseAddress, count: own)
      } else {
        copy(values, count: own, to: copies[peer].baseAddress)
      }
    }
    let adding = Stage(.sum) { [self] in
      let terms = copies.map { UnsafePointer($0.baseAddress) }
      orderedSum(terms, termCount: terms.count, count: own, into: rounds.message(in: 1))
      try rounds.send(1, outgoing: shards.map { _ in own }, incoming: shards.map(\.count))
    }
    let taken = rounds.messages(from: rounds.peers, in: 1, .decode) { [self] values, peer in
      copy(values, count: shards[peer].count, to: sum.baseAddress + shards[peer].lowerBound)
      exchange.sink?.take(values, in: shards[peer])
    }
    return taking + [adding, exchange.delivery { _ in }] + taken
  }

  /// Delivers the last sum, as no rank has uploaded.
  private func deliver(to sink: Sink) { sink.take(sum.baseAddress, in: 0..<sum.count) }

  // MARK: State

  /// All ranks upload to the next exchanges, as at the start.
  func forget() {
    for buffer in [held, sum] + copies { buffer.clear() }
    history.forget()
    ledger.startAnew()
    residualSquares = 0
  }

  func contribute(to inventory: inout StateInventory) {
    ledger.contribute(to: &inventory)
    guard !isAlone else { return }
    history.contribute(to: &inventory)
    rule.contribute(to: &inventory)
    inventory.tensors += [SavedTensor("lazyUpload", .local, of: held), SavedTensor("lazySum", .local, of: sum)]
    inventory.tensors += copies.enumerated().map { SavedTensor("lazyUpload.\($0)", .local, of: $1) }
  }

  /// On another number of ranks, uploads begin anew.
  func restore(counters: [String: String]) {
    if ledger.restore(counters) { history.restore(counters) } else { forget() }
  }
}
