public import Files

/// The last line of a run.
public struct EndEvent: MetricsEvent {
  /// The wire traffic, counted where it is handed over and predicted from the format.
  public struct Wire: Sendable {
    /// Bytes that each rank sent in gradient exchanges.
    public var bytesSent: [Int]
    /// Bytes that each rank received.
    public var bytesReceived: [Int]
    /// Messages that each rank sent.
    public var messages: [Int]
    /// Bytes that each rank should have sent according to the format.
    public var predictedBytesSent: [Int]
    /// Of the bytes sent, those that each rank sent to ranks of its own host.
    public var insideHost: [Int]
    /// Of the bytes sent, those that each rank sent as an owner (sums, and what was found in them); the others went to owners.
    public var bytesReturned: [Int]
    /// Bits per parameter and direction in compressed exchanges; nil on one rank.
    public var bitsPerParameter: Double?
    /// How many times larger fp32 would be, in compressed exchanges; nil on one rank.
    public var compressionRatio: Double?
    /// Groups that were sent uncompressed although the codec compresses.
    public var fallbacks: Int
    /// Bytes of activations and their deltas that each rank sent, and that it should have sent according to the layer sizes;
    /// nil if a model is on one rank.
    public var activations: (bytesSent: [Int], predictedBytesSent: [Int])?

    /// The wire traffic.
    public init(
      bytesSent: [Int], bytesReceived: [Int], messages: [Int], predictedBytesSent: [Int], insideHost: [Int],
      bytesReturned: [Int], bitsPerParameter: Double?, compressionRatio: Double?, fallbacks: Int,
      activations: (bytesSent: [Int], predictedBytesSent: [Int])? = nil
    ) {
      self.bytesSent = bytesSent
      self.bytesReceived = bytesReceived
      self.messages = messages
      self.predictedBytesSent = predictedBytesSent
      self.insideHost = insideHost
      self.bytesReturned = bytesReturned
      self.bitsPerParameter = bitsPerParameter
      self.compressionRatio = compressionRatio
      self.fallbacks = fallbacks
      self.activations = activations
    }

    var json: JSONValue {
      var members: [JSONValue.Member] = [
        .init("bytesSent", .integers(bytesSent)), .init("bytesReceived", .integers(bytesReceived)),
        .init("messages", .integers(messages)), .init("predictedBytesSent", .integers(predictedBytesSent)),
        .init("insideHost", .integers(insideHost)), .init("bytesReturned", .integers(bytesReturned)),
        .init("bitsPerParameter", .number(bitsPerParameter)), .init("compressionRatio", .number(compressionRatio)),
        .init("fallbacks", .integer(fallbacks)),
      ]
      if let activations {
        members.append(.init("activationBytesSent", .integers(activations.bytesSent)))
        members.append(.init("predictedActivationBytesSent", .integers(activations.predictedBytesSent)))
      }
      return .object(members)
    }
  }

  /// The cost of trials.
  public struct Trials: Hashable, Sendable {
    /// Wall time, of the slowest rank.
    public var seconds: Double
    /// Bytes that each rank sent, including agreement.
    public var bytesSent: [Int]

    /// The cost of trials.
    public init(seconds: Double, bytesSent: [Int]) { (self.seconds, self.bytesSent) = (seconds, bytesSent) }

    var json: JSONValue { ["seconds": .number(seconds), "bytesSent": .integers(bytesSent)] }
  }

  /// The number of steps done.
  public var steps: Int
  /// The number of epochs done.
  public var epochs: Int
  /// Wall time, of the slowest rank.
  public var seconds: Double
  /// What the test samples say.
  public var test: TestResult
  /// The xxHash64 of the parameters.
  public var modelHash: UInt64
  /// The wire traffic.
  public var wire: Wire
  /// The time of each phase, on the slowest rank.
  public var timing: PhaseTimes
  /// The cost of trials of minibatch sizes and learning rates, not included above; nil if there were none.
  public var trials: Trials?
  /// What the strategy has to say.
  public var others: [JSONValue.Member]

  /// The end of a run.
  public init(
    steps: Int, epochs: Int, seconds: Double, test: TestResult, modelHash: UInt64,
    wire: Wire, timing: PhaseTimes, trials: Trials? = nil, others: [JSONValue.Member] = []
  ) {
    self.steps = steps
    self.epochs = epochs
    self.seconds = seconds
    self.test = test
    self.modelHash = modelHash
    self.wire = wire
    self.timing = timing
    self.trials = trials
    self.others = others
  }

  public var json: JSONValue {
    let members: [JSONValue.Member] = [
      .init("event", "end"), .init("steps", .integer(steps)), .init("epochs", .integer(epochs)),
      .init("seconds", .number(seconds)),
    ]
    let trials = trials.map { [JSONValue.Member("trials", $0.json)] } ?? []
    return .object(
      members + test.members + [
        .init("modelHash", .string(hexadecimal(modelHash))), .init("wire", wire.json),
        .init("timing", .object(zip(PhaseTimes.names, timing.seconds).map { .init($0, .number($1)) })),
      ] + trials + others)
  }
}
