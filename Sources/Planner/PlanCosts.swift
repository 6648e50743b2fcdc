/// What work and messages cost: what a prediction rests on, measured or given.
public struct PlanCosts: Hashable, Sendable {
  /// Seconds of a rank's gradient by its number of samples, with reading them: T_frm is the slope.
  public var compute: CostCurve
  /// Seconds of all passes over the gradient that the owners of stripes share, C · T_post.
  public var postSeconds: Double
  /// Seconds of the update of the whole model, T_upd, which every rank does.
  public var updateSeconds: Double
  /// What encoding and decoding cost, by the codec's specification.
  public var kernels: [String: KernelCosts]
  /// Between hosts; nil where there is one host and nothing is known of others.
  public var network: LinkCosts?
  /// Between ranks of a host; nil where they are alone on theirs, or send messages as if they were.
  public var memory: LinkCosts?
  /// The most ranks that share a host.
  public var ranksPerHost: Int

  /// Costs.
  public init(
    compute: CostCurve, postSeconds: Double = 0, updateSeconds: Double = 0, kernels: [String: KernelCosts] = [:],
    network: LinkCosts? = nil, memory: LinkCosts? = nil, ranksPerHost: Int = 1
  ) {
    precondition(ranksPerHost > 0, "a host has at least one rank")
    self.compute = compute
    self.postSeconds = postSeconds
    self.updateSeconds = updateSeconds
    self.kernels = kernels
    self.network = network
    self.memory = memory
    self.ranksPerHost = ranksPerHost
  }
}

/// Seconds that a codec's kernels take for each value, on a rank whose neighbours are as busy.
public struct KernelCosts: Hashable, Sendable {
  /// Gradient and residual to code.
  public var encode: Double
  /// Code to values.
  public var decode: Double
  /// Adding up codes: once for each value, however many codes there are.
  public var sum: Double
  /// Adding up codes: for each value of each code.
  public var sumPerCode: Double

  /// Costs of kernels; without arguments, nothing.
  public init(encode: Double = 0, decode: Double = 0, sum: Double = 0, sumPerCode: Double = 0) {
    self.encode = encode
    self.decode = decode
    self.sum = sum
    self.sumPerCode = sumPerCode
  }
}

/// What handing data from rank to rank costs.
public struct LinkCosts: Hashable, Sendable {
  /// Seconds of a small message on its way, between the slowest pair.
  public var latency: Double
  /// Seconds that each further message of a stage costs the rank that sends or receives it.
  public var messageSeconds: Double
  /// Seconds that bytes take when all ranks send at once, by the bytes that leave a host (between hosts) or a rank (inside one).
  public var transfer: CostCurve
  /// Whether ``transfer`` was measured on exchanges of floats, and so contains their copying and adding.
  public var includesFloatKernels: Bool
  /// Seconds that a step took beyond what its parts add up to, by the codec's specification.
  ///
  /// Caches are cold after the computation, and messages have to be handed over. There is none for a codec whose steps were not
  /// measured.
  public var remainders: [String: Double] = [:]
  /// The agreement on a step as it was measured; nil where it was not.
  public var meeting: Meeting?

  /// A small message from every rank to every other.
  public struct Meeting: Hashable, Sendable {
    /// How long it takes.
    public var seconds: Double
    /// How many others each rank meets.
    public var peers: Int

    /// A meeting with so many others.
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

  /// A link of so many bits per second in each direction.
  public init(latency: Double, messageSeconds: Double = 0, bitsPerSecond: Double) {
    self.init(latency: latency, messageSeconds: messageSeconds, transfer: CostCurve(perUnit: 8 / bitsPerSecond))
  }

  /// Seconds from handing out one message to each of `peers` ranks to having one from each, whatever is in them.
  public func stageSeconds(peers: Int) -> Double { peers > 0 ? latency + Double(peers - 1) * messageSeconds : 0 }

  /// Seconds of an agreement with `peers` others.
  public func meetingSeconds(peers: Int) -> Double {
    guard let meeting else { return stageSeconds(peers: peers) }
    return max(0, meeting.seconds + Double(peers - meeting.peers) * messageSeconds)
  }
}
