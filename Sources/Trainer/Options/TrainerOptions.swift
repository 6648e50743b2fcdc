public import Collectives
public import Transport

/// Everything that a run may be told, each with its default; `train`, YAML files and checkpoints say it by the same names.
public struct TrainerOptions: Codable, Hashable, Sendable {
  /// What is trained.
  public var model = "mlp:512,512"
  /// What it is trained on.
  public var data = "glyphs"
  /// How training samples are dealt to clients.
  public var partition = "iid"
  /// The number of clients; one for each rank by default.
  public var clients: Int?
  /// The clients that share a step; as many as there are ranks by default.
  public var sampled: Int?
  /// How often every training sample is used, unless ``steps`` says otherwise.
  public var epochs = 5
  /// The length of the run in steps; wins over ``epochs``.
  public var steps: Int?
  /// Samples of a step, over all ranks.
  public var minibatch = 256
  /// How the aggregated gradient becomes an update.
  public var optimizer = "sgd"
  /// η, for the mean gradient of a minibatch.
  public var learningRate = 0.1
  /// ρ of u ← ρu + g.
  public var momentum = 0.9
  /// λ of g + λw, before the momentum.
  public var weightDecay = 0.0
  /// The largest norm that an aggregated gradient may have; longer ones are shortened to it; none by default.
  public var clip: Double?
  /// How the learning rate changes over the planned steps.
  public var schedule = "cosine"
  /// How the minibatch is found while training; it stays by default.
  public var tuneMinibatch: String?
  /// How the learning rate follows how training goes; by default it follows its schedule alone.
  public var tuneRate: String?
  /// How gradients cross the network; `auto` for what the ranks measure as fastest at the start.
  public var codec = "one-bit"
  /// How the run starts before its codec takes over; with floats for a tenth of its steps by default.
  public var warmStart: WarmStart?
  /// How ranks work together.
  public var strategy = "all-reduce"
  /// P, the number of ranks that a model is split over; ranks = K · P.
  public var modelParallel = 1
  /// After which epochs the training samples get new labels from the model; never by default.
  public var realign: RealignmentEpochs?
  /// Who carries an exchange on while the model computes.
  public var overlap = Overlap.auto
  /// Who adds up before anything is encoded.
  public var topology = Topology.auto
  /// What everything random follows from.
  public var seed: UInt64 = 1
  /// Threads of matrix products, for each rank.
  public var threads = 1
  /// Where checkpoints are written; none by default.
  public var checkpoint: String?
  /// Steps between checkpoints; beside these, one is written at the end.
  public var checkpointEvery: Int?
  /// Whether to go on from the newest checkpoint.
  public var resume = false
  /// The file of JSON lines that tells the run's course; none by default.
  public var metrics: String?
  /// The file of trace events that shows what each rank does, and when; none by default.
  public var timeline: String?
  /// Steps between logged steps.
  public var logEvery = 10
  /// Steps between evaluations on the test samples; an epoch by default.
  public var evaluateEvery: Int?
  /// Steps between checks that all ranks hold the same model; 0 for never.
  public var verifyEvery = 100
  /// What happens to a step whose gradient is not finite on some rank.
  public var nonFinite = NonFinitePolicy.skip
  /// Seconds without progress of a peer after which the run ends.
  public var timeout = 60.0
  /// Seconds without progress of a peer after which the run says who is awaited.
  public var patience = 10.0
  /// Where the final model is written; nowhere by default.
  public var output: String?
  /// Whether progress is hidden; summaries, warnings and errors are not.
  public var quiet = false
  /// Which memory and messages the exchange uses.
  public var transport = Transport.auto
  /// For tests: `STEP:RANK`, whose gradient gets a value that is not a number.
  public var injectNonFinite: String?
  /// For tests: `KIND:rank=R,phase=P…`, what happens to a rank, and when (`FaultInjector`).
  public var injectFault: String?
  /// For tests: so many hosts, among which the ranks of this one are dealt in order.
  public var pretendHosts: Int?

  /// The defaults.
  public init() {}
}

/// What happens to a step whose gradient is not finite on some rank.
///
/// Source: algorithms A5.
public enum NonFinitePolicy: String, CaseIterable, Codable, Sendable {
  /// No rank changes its model, momentum or residual; after ten such steps in a row the run ends.
  case skip
  /// The run ends.
  case abort
  /// What is not finite becomes zero, and the step goes on.
  case zero
}
