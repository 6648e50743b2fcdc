internal import Buffers

/// The costs of work and messages, measured or given, on which predictions are based.
public struct PlanCosts: Hashable, Sendable {
  /// Seconds of a rank's gradient by its number of samples, including reading them: T_frm is the slope.
  public var compute: CostCurve
  /// Seconds of all passes over the gradient that the owners of shards share, C · T_post.
  public var postSeconds: Double
  /// Seconds of the update of the whole model, T_upd, which every rank does.
  public var updateSeconds: Double
  /// The costs of encoding and decoding, by codec specification.
  public var kernels: [String: KernelCosts]
  /// The costs of aggregations that are no coded all-reduce, by specification.
  public var sparse: [String: SparseCosts] = [:]
  /// The share of the squared norm of gradient and residual that a code does not carry, by codec specification, if it was measured.
  ///
  /// It comes later if the codec keeps a residual.
  public var lostSignal: [String: Double] = [:]
  /// Costs between hosts; nil if there is one host and no other is known.
  public var network: LinkCosts?
  /// Costs between ranks of a host; nil if each is alone on its host, or sends messages as if it were.
  public var memory: LinkCosts?
  /// The most ranks that share a host.
  public var ranksPerHost: Int

  /// Costs.
  public init(
    compute: CostCurve, postSeconds: Double = 0, updateSeconds: Double = 0, kernels: [String: KernelCosts] = [:],
    network: LinkCosts? = nil, memory: LinkCosts? = nil, ranksPerHost: Int = 1
  ) {
    require(ranksPerHost > 0, "a host has at least one rank")
    self.compute = compute
    self.postSeconds = postSeconds
    self.updateSeconds = updateSeconds
    self.kernels = kernels
    self.network = network
    self.memory = memory
    self.ranksPerHost = ranksPerHost
  }
}

/// Seconds per value of a codec's kernels, on a rank whose neighbours are equally busy.
public struct KernelCosts: Hashable, Sendable {
  /// From gradient and residual to code.
  public var encode: Double
  /// From code to values.
  public var decode: Double
  /// Summing codes: per value, for any number of codes.
  public var sum: Double
  /// Summing codes: per value of each code.
  public var sumPerCode: Double

  /// Costs of kernels; zero without arguments.
  public init(encode: Double = 0, decode: Double = 0, sum: Double = 0, sumPerCode: Double = 0) {
    self.encode = encode
    self.decode = decode
    self.sum = sum
    self.sumPerCode = sumPerCode
  }
}

/// The cost of passing data between ranks.
public struct LinkCosts: Hashable, Sendable {
  /// The latency in seconds of a small message between the slowest pair.
  public var latency: Double
  /// Seconds that each further message of a stage costs the rank that sends or receives it.
  public var messageSeconds: Double
  /// Transfer seconds when all ranks send at once, by the bytes that leave a host (between hosts) or a rank (inside one).
  public var transfer: CostCurve
  /// Whether ``transfer`` was measured on exchanges of floats, and so includes copying and summing them.
  public var includesFloatKernels: Bool
  /// Seconds of a step beyond the sum of its parts, by codec specification.
  ///
  /// Caches are cold after the computation, and messages must be handed over. A codec whose steps were not measured has no
  /// entry.
  public var remainders: [String: Double] = [:]
  /// The agreement on a step as measured; nil if it was not.
  public var meeting: Meeting?

  /// A small message from every rank to every other.
  public struct Meeting: Hashable, Sendable {
    /// Its duration in seconds.
    public var seconds: Double
    /// The number of other ranks that each rank meets.
    public var peers: Int

    /// A meeting with `peers` other ranks.
    public init(seconds: Double, peers: Int) {
      self.seconds = seconds
      self.peers = peers
    }
  }

  /// Costs of a link.
  public init(
    latency: Double, messageSeconds: Double = 0, transfer: CostCurve, includesFloatKernels: Bool = false,
    meeting: Meeting? = nil
  ) {
    self.meeting = meeting
    self.latency = latency
    self.messageSeconds = messageSeconds
    self.transfer = transfer
    self.includesFloatKernels = includesFloatKernels
  }

  /// A link of `bitsPerSecond` in each direction.
  public init(latency: Double, messageSeconds: Double = 0, bitsPerSecond: Double) {
    self.init(latency: latency, messageSeconds: messageSeconds, transfer: CostCurve(perUnit: 8 / bitsPerSecond))
  }

  /// Seconds from sending one message to each of `peers` ranks to receiving one from each, regardless of their contents.
  public func stageSeconds(peers: Int) -> Double { peers > 0 ? latency + Double(peers - 1) * messageSeconds : 0 }

  /// Seconds of an agreement with `peers` other ranks.
  public func meetingSeconds(peers: Int) -> Double {
    guard let meeting else { return stageSeconds(peers: peers) }
    return max(0, meeting.seconds + Double(peers - meeting.peers) * messageSeconds)
  }
}
