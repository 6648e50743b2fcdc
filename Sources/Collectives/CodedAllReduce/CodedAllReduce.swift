public import Buffers
public import Codecs
internal import MPI
internal import Synchronization
public import Transport

/// Sums gradients over the ranks and gives every rank the same bytes back: a reduce-scatter and an all-gather of codes.
///
/// Rank *j* owns shard *j* of the flat buffer. Every rank encodes its gradient, with what earlier codes could not carry, and
/// hands each shard's codes to its owner (stage 1); the owner decodes and adds them in rank order, encodes the sum with a
/// residual of its own, and hands these codes to everybody (stage 2); everybody, the owner too, decodes the same bytes. The
/// models of all ranks are therefore equal bit for bit, whatever the transport, the segments and the timing. In a hierarchical
/// exchange the ranks of a host first add their gradients as floats, and act as one (``ExchangeRoutes``).
///
/// An object is one *stream*: it has one residual, and one exchange under way at a time; its gradients may be several buffers that are
/// used in turn.
///
/// - Source: Seide et al. 2014, "1-bit stochastic gradient descent", section 3; the owner's second quantization as there.
/// - Cost: each rank sends 2 (K − 1)/K times the encoded size of the whole buffer, in 2 (K − 1) messages where a shard is
///   one segment; with one rank nothing is encoded and nothing is sent.
public final class CodedAllReduce: Aggregation {
  /// How gradients are encoded.
  public let codec: any Codec
  /// Who owns what.
  public let geometry: ExchangeGeometry
  /// Who encodes what for whom.
  public let routes: ExchangeRoutes
  /// What the codes of this rank's contributions could not carry, as long as the layout; empty for an identity and
  /// at one rank.
  public let residual: FloatBuffer
  /// What the codes of this rank's sums could not carry, as long as the own shard; empty for an identity
  /// and at one rank.
  public let ownerResidual: FloatBuffer
  /// The traffic counted so far.
  public internal(set) var traffic = Traffic()
  /// The number of exchanges done.
  public internal(set) var exchangeCount = 0
  /// The groups that a lossy codec sent as zeros so far because they or their sums were not finite; floats that are sent as
  /// they are pass unseen.
  public internal(set) var nonFiniteGroups = 0
  /// Time spent so far.
  public internal(set) var timing = ExchangeTiming()
  /// The values whose sums this rank owns, in the order in which ``ownerResidual`` holds theirs.
  public let ownedRanges: [Range<Int>]

  /// The floats that are added and copied at a time: a quarter of a core's smallest cache.
  static let blockCount = 2048

  /// The units of work after which MPI is asked what has arrived.
  static let turnsBetweenPolls = 4

  let layout: TensorLayout
  let gradients: [SharedGradient]
  let hosts: HostMap
  /// Whether some ranks are reached by messages.
  let hasRemoteRanks: Bool
  let memory: ExchangeMemory
  let messages: ExchangeMessages
  let options: Options
  let rank: Int
  let rankCount: Int
  /// The ranks whose gradients are added before this one encodes, this one too.
  let party: [Int]
  /// The ranks whose contributions to the own shard are added, in this order.
  let contributors: [Int]
  /// The contributors whose memory this rank reads, and the shards whose sums it reads in another's memory, with whose.
  let readContributors: [Int]
  let readShards: [(owner: Int, source: Int)]
  /// The segments that this rank encodes, in this order: one for each owner in turn, bucket by bucket.
  let encodingOrder: [Segment]
  let scratch: FloatBuffer
  /// Copies of the residuals as they were before an exchange; empty where it cannot be discarded.
  let keptResidual: FloatBuffer
  let keptOwnerResidual: FloatBuffer
  /// Sums that were decoded before they were wanted; empty where they wait as codes.
  let decoded: FloatBuffer
  /// Whether a whole buffer is larger than a cache, so that its stores had better bypass it.
  let outgrowsCache: Bool

  /// The end of what is final of the gradient, as the caller says; read by the thread that drives the exchange.
  private let announced = Atomic<Int>(0)
  /// How far the exchange under way is.
  var progress: Progress
  /// The units of work done since MPI was last asked what has arrived; 1 where it is to be asked as soon as there is no work.
  var unpolledTurns = 1
  var watchdog: Watchdog
  var isActive = false
  /// The gradient of this exchange.
  var gradient: SharedGradient
  var nonFiniteGroupsBefore = 0
  var waitingSince: ContinuousClock.Instant?
  var sources: [UnsafeRawPointer] = []

  /// Prepares exchanges of what lies in `gradients`, one at a time.
  ///
  /// Collective over the ranks of `gradients`.
  ///
  /// - Parameters:
  ///   - codec: How gradients are encoded.
  ///   - layout: How they lie in the flat buffer.
  ///   - gradients: Where they are.
  ///   - options: How the exchange is driven.
  ///   - stream: Another exchange of the same gradients and groups, whose residuals and shards this one takes for its own: one
  ///     stream whose codes change on the way. Never are both under way.
  /// - Throws: `ExchangeError.noSharedMemory` where a host cannot give the memory, on all its ranks.
  public init(
    _ codec: any Codec, layout: TensorLayout, gradients: [SharedGradient], options: Options = Options(),
    continuing stream: CodedAllReduce? = nil
  ) throws {
    require(!gradients.isEmpty, "an exchange needs a gradient")
    for gradient in gradients {
      require(
        layout.count == gradient.values.count, "the gradient has \(gradient.values.count) values, the layout \(layout.count)")
    }
    gradient = gradients[0]
    let hosts = gradient.hosts
    let world = hosts.world
    self.codec = codec
    self.layout = layout
    self.gradients = gradients
    self.hosts = hosts
    self.options = options
    rank = world.rank
    rankCount = world.count
    let isOneHost = hosts.remoteRanks.isEmpty
    hasRemoteRanks = !isOneHost
    require(stream.map { $0.codec.isIdentity == codec.isIdentity } ?? true, "floats and codes are not one stream")
    geometry = ExchangeGeometry(
      layout, codec: codec, ownership: options.ownership ?? stream?.codec, rankCount: rankCount,
      rule: isOneHost ? .sharedWindow : .messages, leastBucket: isOneHost ? nil : options.linkSpeed?.leastBucketByteCount)
    routes = hosts.routes(options.topology)
    party = routes.parties[routes.partyOfRank[rank]]
    contributors = routes.contributors(toShard: rank)
    let (routes, rank) = (routes, rank)
    readContributors = contributors.filter { $0 != rank && hosts.hostRanks[$0] != nil }
    readShards = (0..<rankCount).filter { $0 != rank }.map { ($0, routes.source(ofShard: $0, for: rank)) }
      .filter { $0.source != rank }
    ownedRanges = geometry.elements(ofShard: rank)
    outgrowsCache = layout.count >= 1 << 21
    let isLossy = !codec.isIdentity && rankCount > 1
    residual = stream?.residual ?? FloatBuffer(count: isLossy ? layout.count : 0)
    ownerResidual = stream?.ownerResidual ?? FloatBuffer(count: isLossy ? ownedRanges.reduce(0) { $0 + $1.count } : 0)
    keptResidual = stream?.keptResidual ?? FloatBuffer(count: options.isRestorable ? residual.count : 0)
    keptOwnerResidual = stream?.keptOwnerResidual ?? FloatBuffer(count: options.isRestorable ? ownerResidual.count : 0)
    decoded = FloatBuffer(count: isLossy && options.decodesAhead ? layout.count : 0)
    let longestGroup = zip(geometry.groupStarts, geometry.groupStarts.dropFirst()).reduce(0) { max($0, $1.1 - $1.0) }
    scratch = FloatBuffer(count: max(longestGroup, CodedAllReduce.blockCount))
    memory = try ExchangeMemory(geometry, hosts: hosts, keepsContributions: !codec.isIdentity || !isOneHost)
    messages = try ExchangeMessages(
      geometry, routes: routes, hosts: hosts, codecHash: XXHash64.hash(codec.specification), arrivals: memory.arrivals)
    encodingOrder = geometry.encodingOrder(of: rank, over: routes, isIdentity: codec.isIdentity)
    progress = Progress(rankCount: rankCount, gate: .closed)
    watchdog = Watchdog(hosts.waitingRanks)
  }

  /// Prepares exchanges of what lies in `gradient`.
  ///
  /// Collective over the ranks of `gradient`.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` where a host cannot give the memory, on all its ranks.
  public convenience init(
    _ codec: any Codec, layout: TensorLayout, gradient: SharedGradient, options: Options = Options()
  ) throws {
    try self.init(codec, layout: layout, gradients: [gradient], options: options)
  }

  /// Where this rank writes the messages with the sums that it owns.
  package var sumMemory: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: memory.sums, count: geometry.codeSpace(ofShard: rank).count)
  }

  /// Where the value `index` of the flat buffer lies in ``ownerResidual``; nil for a value that another rank owns.
  public func ownedOffset(of index: Int) -> Int? {
    var offset = 0
    for range in ownedRanges {
      if range.contains(index) { return offset + index - range.lowerBound }
      offset += range.count
    }
    return nil
  }

  public var predictedTraffic: Traffic { geometry.predictedTraffic(of: rank, over: routes) }

  /// Exchanges what lies in the first gradient, and returns when it may be written again.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - step: The step of training; all ranks name the same.
  ///   - samples: The samples of the minibatch over all ranks; all ranks name the same.
  ///   - destination: Where the sum goes.
  /// - Throws: `ExchangeError` where a rank is missing or out of step; nothing can be exchanged after that.
  public func run(step: Int, samples: Int = 0, into destination: Sink) throws {
    try begin(Contribution(step: step, samples: samples), gate: .open(destination))
    try finish()
  }

  public func begin(_ contribution: Contribution) throws { try begin(contribution, gate: .closed) }

  private func begin(_ contribution: Contribution, gate: Gate) throws {
    require(!isActive, "an exchange began while another was under way")
    isActive = true
    gradient = gradients[contribution.buffer]
    announced.store(contribution.isReady ? layout.count : 0, ordering: .releasing)
    progress = Progress(rankCount: rankCount, gate: gate)
    nonFiniteGroupsBefore = nonFiniteGroups
    watchdog.progress()
    guard rankCount > 1 else { return }
    try messages.begin(step: contribution.step, samples: contribution.samples)
    countWhatIsReadInPlace()
  }

  public func markReady(upTo end: Int) { announced.store(end, ordering: .releasing) }

  /// The end of what is final of the gradient.
  var announcedReadyCount: Int { announced.load(ordering: .acquiring) }

  public func deliver(into destination: Sink) throws {
    if case .inPlace = destination { fatalError("sums are delivered in place by run alone") }
    require(isActive, "a delivery without an exchange")
    markReady(upTo: layout.count)
    progress.open(.open(destination))
    try finish()
  }

  /// Ends an exchange of which nothing is wanted, and puts the residuals back as they were.
  ///
  /// What the options' `ownerTransform` remembers is its own affair.
  public func discard() throws {
    require(options.isRestorable, "an exchange was discarded that keeps no copies")
    require(isActive, "nothing to discard")
    markReady(upTo: layout.count)
    progress.gate = .dropping
    try finish()
    residual.copy(from: keptResidual)
    ownerResidual.copy(from: keptOwnerResidual)
    nonFiniteGroups = nonFiniteGroupsBefore
  }

  private func finish() throws {
    var idleSince: ContinuousClock.Instant?
    while true {
      let turn = try advance()
      if turn == .idle {
        if idleSince == nil { idleSince = .now }
        watchdog.giveWay()
        continue
      }
      if let start = idleSince { timing.wait += .now - start }
      idleSince = nil
      if turn == .done { return }
    }
  }
}
