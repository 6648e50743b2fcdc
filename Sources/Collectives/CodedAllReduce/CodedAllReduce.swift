public import Buffers
public import Codecs
internal import MPI
internal import Synchronization
public import Transport

/// Sums gradients over the ranks and gives every rank the same bytes: a reduce-scatter and an all-gather of codes.
///
/// Rank *j* owns shard *j* of the flat buffer. Every rank encodes its gradient with error feedback and sends each shard's codes
/// to its owner (stage 1); the owner decodes and adds them in rank order, encodes the sum with a residual of its own, and sends
/// these codes to all ranks (stage 2); every rank, including the owner, decodes the same bytes. The models of all ranks are
/// therefore bitwise equal, whatever the transport, the segments and the timing. In a hierarchical exchange the ranks of a host
/// first add their gradients as floats, and act as one (``ExchangeRoutes``).
///
/// An object is one *stream*: it has one residual, and one exchange under way at a time; its gradients may be several buffers
/// that are used in turn.
///
/// - Source: Seide et al. 2014, "1-bit stochastic gradient descent", section 3; the owner's second quantization as there.
/// - Cost: Each rank sends 2 (K − 1)/K times the encoded size of the whole buffer, in 2 (K − 1) messages if a shard is one
///   segment; a single rank encodes and sends nothing.
public final class CodedAllReduce: Aggregation {
  /// The shards, their owners and their segments.
  public let geometry: ExchangeGeometry
  /// The traffic counted so far.
  public internal(set) var traffic = Traffic()
  /// The number of completed exchanges.
  public internal(set) var exchangeCount = 0

  /// The number of floats added or copied at a time: a quarter of a core's smallest cache.
  static let blockCount = 2048

  /// The number of units of work between polls of MPI.
  static let turnsBetweenPolls = 4

  let layout: TensorLayout
  let gradients: [SharedGradient]
  let hosts: HostMap
  let options: Options
  let roles: ExchangeRoles
  let memory: ExchangeMemory
  let messages: ExchangeMessages
  /// Encodes this rank's contributions, and decodes sums.
  let coder: GroupCoder
  /// Encodes the sums that this rank owns.
  let ownerCoder: GroupCoder
  let scratch: FloatBuffer
  /// Sums that were decoded ahead; empty if they wait as codes.
  let decoded: FloatBuffer
  /// The codes of one group from all contributors.
  var sources: [UnsafeRawPointer] = []

  let clock: ExchangeClock
  var isActive = false
  /// The end of the final part of the gradient, as set by the caller; read by the thread that drives the exchange.
  private let announced = Atomic<Int>(0)
  /// The progress of the exchange under way.
  var progress: Progress

  /// Prepares exchanges of the contents of `gradients`, one at a time.
  ///
  /// Collective over the ranks of `gradients`.
  ///
  /// - Parameters:
  ///   - codec: The codec of the gradients.
  ///   - layout: Their layout in the flat buffer.
  ///   - gradients: The buffers of the gradients.
  ///   - options: The options of the exchange.
  ///   - stream: Another exchange of the same gradients and groups, whose residuals and shards this one shares: one stream
  ///     whose codes change along the way. The two are never under way at the same time.
  /// - Throws: `ExchangeError.noSharedMemory` on all ranks of a host that cannot provide the memory.
  public init(
    _ codec: any Codec, layout: TensorLayout, gradients: [SharedGradient], options: Options = Options(),
    continuing stream: CodedAllReduce? = nil
  ) throws {
    require(!gradients.isEmpty, "an exchange needs a gradient")
    for gradient in gradients {
      require(
        layout.count == gradient.values.count, "the gradient has \(gradient.values.count) values, the layout \(layout.count)")
    }
    let hosts = gradients[0].hosts
    let (rankCount, isOneHost) = (hosts.world.count, hosts.remoteRanks.isEmpty)
    (self.layout, self.gradients, self.hosts, self.options) = (layout, gradients, hosts, options)
    geometry = ExchangeGeometry(
      layout, codec: codec, ownership: options.ownership ?? stream?.codec, rankCount: rankCount,
      rule: isOneHost ? .sharedWindow : .messages, leastBucket: isOneHost ? nil : options.linkSpeed?.leastBucketByteCount)
    roles = ExchangeRoles(geometry, hosts.routes(options.topology), hosts, isIdentity: codec.isIdentity)
    if let stream {
      coder = GroupCoder(codec, continuing: stream.coder)
      ownerCoder = GroupCoder(codec, continuing: stream.ownerCoder)
    } else {
      // A single rank encodes nothing.
      let ownedCount = roles.ownedRanges.reduce(0) { $0 + $1.count }
      coder = GroupCoder(codec, count: rankCount > 1 ? layout.count : 0, isRestorable: options.isRestorable)
      ownerCoder = GroupCoder(codec, count: rankCount > 1 ? ownedCount : 0, isRestorable: options.isRestorable)
    }
    coder.passesNonFinite = options.passesNonFinite
    ownerCoder.passesNonFinite = options.passesNonFinite
    decoded = FloatBuffer(count: coder.residual.count > 0 && options.decodesAhead ? layout.count : 0)
    let longestGroup = zip(geometry.groupStarts, geometry.groupStarts.dropFirst()).reduce(0) { max($0, $1.1 - $1.0) }
    scratch = FloatBuffer(count: max(longestGroup, CodedAllReduce.blockCount))
    memory = try ExchangeMemory(geometry, hosts: hosts, keepsContributions: !codec.isIdentity || !isOneHost)
    messages = try ExchangeMessages(geometry, routes: roles.routes, hosts: hosts, codec: codec, arrivals: memory.arrivals)
    clock = ExchangeClock(hosts, observer: options.observer)
    progress = Progress(of: gradients[0], step: 0, rankCount: rankCount, gate: .closed)
  }

  /// Prepares exchanges of the contents of `gradient`.
  ///
  /// Collective over the ranks of `gradient`.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` on all ranks of a host that cannot provide the memory.
  public convenience init(
    _ codec: any Codec, layout: TensorLayout, gradient: SharedGradient, options: Options = Options()
  ) throws {
    try self.init(codec, layout: layout, gradients: [gradient], options: options)
  }

  /// The memory in which this rank writes the messages with the sums it owns.
  package var sumMemory: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: memory.sums, count: geometry.codeSpace(ofShard: rank).count)
  }

  /// The codec of the gradients.
  public var codec: any Codec { coder.codec }
  /// Which rank encodes what for which owner.
  public var routes: ExchangeRoutes { roles.routes }
  /// Time spent so far.
  public var timing: ExchangeTiming { clock.timing }
  /// The gradient of this exchange.
  var gradient: SharedGradient { progress.gradient }
  var rank: Int { roles.rank }
  var rankCount: Int { roles.rankCount }
  var party: [Int] { roles.party }
  var contributors: [Int] { roles.contributors }
  var encodingOrder: [Segment] { roles.encodingOrder }
  /// Whether a whole buffer is larger than a cache, so that stores should bypass it.
  var outgrowsCache: Bool { layout.count >= 1 << 21 }

  public var predictedTraffic: Traffic { geometry.predictedTraffic(of: rank, over: routes) }
  public var predictsAtMost: Bool { codec.hasVaryingLength }

  /// Exchanges the contents of the first gradient, and returns when it may be overwritten.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - step: The training step, the same on all ranks.
  ///   - samples: The number of samples of the minibatch over all ranks, the same on all ranks.
  ///   - destination: Where the sum goes.
  /// - Throws: `ExchangeError` if a rank is missing or out of step; no further exchange is possible after that.
  public func run(step: Int, samples: Int = 0, into destination: Sink) throws {
    try begin(Contribution(step: step, samples: samples), gate: .open(destination))
    try clock.finish(advance)
  }

  public func begin(_ contribution: Contribution) throws { try begin(contribution, gate: .closed) }

  private func begin(_ contribution: Contribution, gate: Gate) throws {
    require(!isActive, "an exchange began while another was under way")
    isActive = true
    announced.store(contribution.isReady ? layout.count : 0, ordering: .releasing)
    progress = Progress(
      of: gradients[contribution.buffer], step: contribution.step, rankCount: rankCount, gate: gate)
    coder.mark()
    ownerCoder.mark()
    clock.begin()
    guard rankCount > 1 else { return }
    try messages.begin(step: contribution.step, samples: contribution.samples)
    countWhatIsReadInPlace()
  }

  public func markReady(upTo end: Int) { announced.store(end, ordering: .releasing) }

  /// The end of the final part of the gradient.
  var announcedReadyCount: Int { announced.load(ordering: .acquiring) }

  public func deliver(into destination: Sink) throws {
    if case .inPlace = destination { fatalError("sums are delivered in place by run alone") }
    require(isActive, "a delivery without an exchange")
    markReady(upTo: layout.count)
    progress.open(.open(destination))
    try clock.finish(advance)
  }

  /// Ends an exchange, drops its sums, and restores the residuals.
  ///
  /// State kept by the options' `ownerTransform` is not restored.
  public func discard() throws {
    require(options.isRestorable, "an exchange was discarded that keeps no copies")
    require(isActive, "nothing to discard")
    markReady(upTo: layout.count)
    progress.gate = .dropping
    try clock.finish(advance)
    coder.restore()
    ownerCoder.restore()
  }
}
