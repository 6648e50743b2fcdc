public import Buffers
public import Codecs
internal import MPI

/// Sums gradients over the ranks and gives every rank the same bytes back: a reduce-scatter and an all-gather of codes.
///
/// Rank *j* owns stripe *j* of the flat buffer. Every rank encodes its gradient, with what earlier codes could not carry, and
/// hands each stripe's codes to its owner (stage 1); the owner decodes and adds them in rank order, encodes the sum with a
/// residual of its own, and hands these codes to everybody (stage 2); everybody, the owner too, decodes the same bytes. The
/// models of all ranks are therefore equal bit for bit, whatever the transport, the segments and the timing.
///
/// - Source: Seide et al. 2014, "1-bit stochastic gradient descent", section 3; the owner's second quantization as there.
/// - Cost: each rank sends 2 (K − 1)/K times the encoded size of the whole buffer, in 2 (K − 1) messages where a stripe is
///   one segment; with one rank nothing is encoded and nothing is sent.
public final class GradientExchange {
  /// How an exchange is driven.
  public struct Options: Sendable {
    /// How long nothing may arrive before the exchange gives up.
    public var timeout: Duration = .seconds(60)
    /// Called before each unit of work; tests put random delays here, which must change no bit.
    public var pause: (@Sendable () -> Void)?
    /// The usual options.
    public init() {}
  }

  /// Where the aggregated gradient goes; all ranks choose the same kind.
  public enum Destination {
    /// Over the gradient itself, as in `MPI_IN_PLACE`.
    ///
    /// Inside a host this is the cheapest for floats: an owner writes the sum where each rank wants it, and nobody reads it again.
    case inPlace
    /// Into a buffer of the layout's length.
    case buffer(FloatBuffer)
    /// To a closure, piece by piece, every value once: the update of the model while the values are in the cache.
    ///
    /// Pieces come in any order; the closure must treat each value by itself.
    case update((Range<Int>, UnsafePointer<Float>) -> Void)
  }

  /// What a turn of the work loop did.
  public enum Progress {
    /// A unit of work; there may be more.
    case busy
    /// Nothing: others are awaited.
    case idle
    /// The exchange has ended.
    case done
  }

  /// Time spent, by kind of work.
  public struct Timing: Sendable {
    /// Encoding contributions.
    public var encode = Duration.zero
    /// Decoding, adding and encoding as an owner.
    public var sum = Duration.zero
    /// Decoding sums, with the update that is fused into it.
    public var decode = Duration.zero
    /// Waiting for others.
    public var wait = Duration.zero
  }

  /// How gradients are encoded.
  public let codec: any Codec
  /// Who owns what.
  public let geometry: ExchangeGeometry
  /// What the codes of this rank's contributions could not carry, as long as the layout; empty for an identity and
  /// at one rank.
  public let residual: FloatBuffer
  /// What the codes of this rank's sums could not carry, as long as the own stripe; empty for an identity
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
  public internal(set) var timing = Timing()

  /// The floats that are added and copied at a time: a quarter of a core's smallest cache.
  static let blockCount = 2048

  let gradient: SharedGradient
  let hosts: HostMap
  let memory: ExchangeMemory
  let messages: ExchangeMessages
  let options: Options
  let rank: Int
  let rankCount: Int
  /// The segments in the order in which they are encoded: one for each owner in turn, the own stripe last.
  let encodingOrder: [Segment]
  let scratch: FloatBuffer
  /// Whether a whole buffer is larger than a cache, so that its stores had better bypass it.
  let outgrowsCache: Bool

  // Counters only: arrival order never enters arithmetic.
  var encodedCount = 0
  var availableContributions: [Int]
  var availableSums: [Int]
  var decodedSums: [Int]
  var summedCount = 0
  var watchdog: Watchdog
  var isActive = false
  var destination = Destination.update { _, _ in }
  var codes: [UnsafeRawPointer] = []

  /// Prepares exchanges of what lies in `gradient`.
  ///
  /// Collective over the ranks of `gradient`.
  ///
  /// - Throws: `ExchangeError.noSharedMemory` where a host cannot give the memory, on all its ranks.
  public init(_ codec: any Codec, layout: TensorLayout, gradient: SharedGradient, options: Options = Options()) throws {
    precondition(
      layout.count == gradient.values.count, "the gradient has \(gradient.values.count) values, the layout \(layout.count)")
    let hosts = gradient.hosts
    let world = hosts.world
    self.codec = codec
    self.gradient = gradient
    self.hosts = hosts
    self.options = options
    rank = world.rank
    rankCount = world.count
    let isOneHost = hosts.remoteRanks.isEmpty
    geometry = ExchangeGeometry(layout, codec: codec, rankCount: rankCount, rule: isOneHost ? .sharedWindow : .messages)
    outgrowsCache = layout.count >= 1 << 21
    let isLossy = !codec.isIdentity && rankCount > 1
    residual = FloatBuffer(count: isLossy ? layout.count : 0)
    ownerResidual = FloatBuffer(count: isLossy ? geometry.elements(ofStripe: rank).count : 0)
    let longestGroup = zip(geometry.groupStarts, geometry.groupStarts.dropFirst()).reduce(0) { max($0, $1.1 - $1.0) }
    scratch = FloatBuffer(count: max(longestGroup, GradientExchange.blockCount))
    memory = try ExchangeMemory(geometry, hosts: hosts, keepsContributions: !codec.isIdentity || !isOneHost)
    messages = try ExchangeMessages(geometry, hosts: hosts, codecHash: XXHash64.hash(codec.specification))
    encodingOrder = GradientExchange.encodingOrder(geometry, rank: rank, hosts: hosts, identity: codec.isIdentity)
    availableContributions = Array(repeating: 0, count: rankCount)
    availableSums = availableContributions
    decodedSums = availableContributions
    watchdog = Watchdog(limit: options.timeout)
  }

  /// The values whose sums this rank owns.
  public var ownedRange: Range<Int> { geometry.elements(ofStripe: rank) }

  /// The traffic of one exchange of this rank, from the format alone.
  public var predictedTraffic: Traffic { geometry.predictedTraffic(of: rank) { memory.isShared(with: $0) } }

  /// Exchanges what lies in the gradient, and returns when the gradient may be written again.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - step: The step of training; all ranks name the same.
  ///   - samples: The samples of the minibatch over all ranks; all ranks name the same.
  ///   - destination: Where the sum goes.
  /// - Throws: `ExchangeError` where a rank is missing or out of step; nothing can be exchanged after that.
  public func run(step: Int, samples: Int = 0, into destination: Destination) throws {
    try begin(step: step, samples: samples, into: destination)
    while try advance() != .done {}
  }

  /// Starts an exchange, which ``advance()`` carries on.
  public func begin(step: Int, samples: Int = 0, into destination: Destination) throws {
    precondition(!isActive, "an exchange began while another was under way")
    isActive = true
    self.destination = destination
    encodedCount = 0
    summedCount = 0
    for peer in 0..<rankCount {
      availableContributions[peer] = 0
      availableSums[peer] = 0
      decodedSums[peer] = 0
    }
    watchdog.progress()
    guard rankCount > 1 else { return }
    try messages.begin(step: step, samples: samples)
    if codec.isIdentity { publishFloats() }
    traffic.plainGroups += geometry.plainGroupCount + geometry.plainGroups(in: geometry.stripes[rank])
  }

  /// One segment for each owner in turn, nearest first, so that all owners are fed at the same rate.
  private static func encodingOrder(_ geometry: ExchangeGeometry, rank: Int, hosts: HostMap, identity: Bool) -> [Segment] {
    let rankCount = geometry.segments.count
    var order: [Segment] = []
    for index in 0..<(geometry.segments.map(\.count).max() ?? 0) {
      for distance in 1...rankCount {
        let owner = (rank + distance) % rankCount
        guard index < geometry.segments[owner].count else { continue }
        // Floats are read where they lie, by this rank and by those of its host.
        if identity, owner == rank || hosts.hostRanks[owner] != nil { continue }
        order.append(geometry.segments[owner][index])
      }
    }
    return order
  }
}
