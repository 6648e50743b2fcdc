public import Files

/// A line of the metrics file.
public protocol MetricsEvent {
  /// The line, with its keys in the documented order.
  var json: JSONValue { get }
}

/// The first line of a run.
public struct StartEvent: MetricsEvent {
  /// The number of ranks.
  public var ranks: Int
  /// The number of hosts.
  public var hosts: Int
  /// The number of parameters.
  public var parameters: Int
  /// All options with their values, in display order.
  public var options: [(name: String, value: JSONValue)]
  /// The codec that the ranks chose, and why; nil if the codec was given.
  public var codecChoice: (codec: String, reason: String)?
  /// The checkpoint that the run resumes from, and the number of steps done there; nil for a new run.
  ///
  /// Lines of later steps above this one belong to steps that were lost.
  public var resumed: (path: String, step: Int)?

  /// The start of a run.
  public init(
    ranks: Int, hosts: Int, parameters: Int, options: [(name: String, value: JSONValue)],
    codecChoice: (codec: String, reason: String)? = nil, resumed: (path: String, step: Int)? = nil
  ) {
    (self.codecChoice, self.resumed) = (codecChoice, resumed)
    self.ranks = ranks
    self.hosts = hosts
    self.parameters = parameters
    self.options = options
  }

  public var json: JSONValue {
    let fixed: [JSONValue.Member] = [
      .init("event", "start"), .init("ranks", .integer(ranks)), .init("hosts", .integer(hosts)),
      .init("parameters", .integer(parameters)),
    ]
    let choice: [JSONValue.Member] =
      codecChoice.map {
        [.init("chosenCodec", .string($0.codec)), .init("codecReason", .string($0.reason))]
      } ?? []
    let origin: [JSONValue.Member] =
      resumed.map { [.init("resumedFrom", .string($0.path)), .init("resumedStep", .integer($0.step))] } ?? []
    return .object(fixed + options.map { .init($0.name, $0.value) } + choice + origin)
  }
}

/// A logged step.
public struct StepEvent: MetricsEvent {
  /// The number of steps done.
  public var step: Int
  /// The epoch, from 1.
  public var epoch: Int
  /// The samples processed since the start, over all ranks.
  public var samples: Int
  /// The global mean loss of this minibatch, or of all since the last meeting; between meetings, that of the rank's own since its last
  /// line.
  public var loss: Double
  /// The learning rate of this step.
  public var learningRate: Float
  /// Wall time since the start, of the slowest rank.
  public var seconds: Double
  /// Bytes of this step, the maximum over ranks.
  public var wireBytes: Int
  /// Messages of this step, the maximum over ranks.
  public var messages: Int
  /// ‖residuals of all ranks‖ / ‖gradients of all ranks‖; nil if there are no residuals.
  public var residualRatio: Double?
  /// Bytes of activations and their deltas in this step, the maximum over ranks; nil if a model is on one rank.
  public var activationBytes: Int?
  /// The share of signal in the gradients, while an automatic warm start monitors it.
  public var signalShare: Double?
  /// The mean of ‖x_i − x̄‖² over workers that have models of their own; nil if they have not.
  public var consensusDistance: Double?
  /// The rank that tells what it alone knows, between two meetings of an asynchronous run; nil if all ranks were asked.
  public var rank: Int?

  /// A logged step.
  public init(
    step: Int, epoch: Int, samples: Int, loss: Double, learningRate: Float, seconds: Double, wireBytes: Int,
    messages: Int, residualRatio: Double?, activationBytes: Int? = nil, signalShare: Double? = nil,
    consensusDistance: Double? = nil, rank: Int? = nil
  ) {
    (self.consensusDistance, self.rank) = (consensusDistance, rank)
    self.step = step
    self.epoch = epoch
    self.samples = samples
    self.loss = loss
    self.learningRate = learningRate
    self.seconds = seconds
    self.wireBytes = wireBytes
    self.messages = messages
    self.residualRatio = residualRatio
    self.activationBytes = activationBytes
    self.signalShare = signalShare
  }

  public var json: JSONValue {
    var members: [JSONValue.Member] = [
      .init("event", "step"), .init("step", .integer(step)), .init("epoch", .integer(epoch)),
      .init("samples", .integer(samples)), .init("loss", .number(loss)), .init("learningRate", .number(learningRate)),
      .init("seconds", .number(seconds)), .init("wireBytes", .integer(wireBytes)), .init("messages", .integer(messages)),
      .init("residualRatio", .number(residualRatio)),
    ]
    if let activationBytes { members.append(.init("activationBytes", .integer(activationBytes))) }
    if let signalShare { members.append(.init("signalShare", .number(signalShare))) }
    if let consensusDistance { members.append(.init("consensusDistance", .number(consensusDistance))) }
    if let rank { members.append(.init("rank", .integer(rank))) }
    return .object(members)
  }
}

/// An evaluation.
public struct EpochEvent: MetricsEvent {
  /// The epoch, from 1.
  public var epoch: Int
  /// The mean loss of the training samples since the last evaluation.
  public var trainLoss: Double
  /// What the test samples say.
  public var test: TestResult
  /// Wall time since the start, of the slowest rank.
  public var seconds: Double

  /// An evaluation.
  public init(epoch: Int, trainLoss: Double, test: TestResult, seconds: Double) {
    self.epoch = epoch
    self.trainLoss = trainLoss
    self.test = test
    self.seconds = seconds
  }

  public var json: JSONValue {
    let members: [JSONValue.Member] = [
      .init("event", "epoch"), .init("epoch", .integer(epoch)), .init("trainLoss", .number(trainLoss)),
    ]
    return .object(members + test.members + [.init("seconds", .number(seconds))])
  }
}

/// New labels for the training samples.
public struct RealignmentEvent: MetricsEvent {
  /// The epoch after which they were computed, from 1.
  public var epoch: Int
  /// The number of steps done.
  public var step: Int
  /// The share of training samples whose labels changed.
  public var changedLabels: Double
  /// The number of training utterances that were too short to align.
  public var keptUtterances: Int
  /// The time it took, on rank 0.
  public var seconds: Double

  /// New labels for the training samples.
  public init(epoch: Int, step: Int, changedLabels: Double, keptUtterances: Int, seconds: Double) {
    self.epoch = epoch
    self.step = step
    self.changedLabels = changedLabels
    self.keptUtterances = keptUtterances
    self.seconds = seconds
  }

  public var json: JSONValue {
    [
      "event": "realignment", "epoch": .integer(epoch), "step": .integer(step), "changedLabels": .number(changedLabels),
      "keptUtterances": .integer(keptUtterances), "seconds": .number(seconds),
    ]
  }
}

/// A checkpoint that was written.
public struct CheckpointEvent: MetricsEvent {
  /// The number of steps done.
  public var step: Int
  /// Its path.
  public var path: String

  /// A checkpoint that was written.
  public init(step: Int, path: String) {
    self.step = step
    self.path = path
  }

  public var json: JSONValue { ["event": "checkpoint", "step": .integer(step), "path": .string(path)] }
}

/// Something that the user should know and that does not end the run.
public struct WarningEvent: MetricsEvent {
  /// One sentence.
  public var text: String

  /// A warning.
  public init(_ text: String) { self.text = text }

  public var json: JSONValue { ["event": "warning", "text": .string(text)] }
}
