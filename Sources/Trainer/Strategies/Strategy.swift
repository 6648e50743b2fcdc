public import Buffers
public import Collectives
public import Networks
public import Optimizers
public import Reporting
public import Transport

/// When a rank contributes what, and what it does with what arrives.
///
/// The loop knows no more than this. Every call is collective, save ``abandon()``.
public protocol Strategy: Stateful {
  /// Whether the models of all ranks are equal, and when.
  var consistency: Consistency { get }

  /// Trains from step `step`, counted from 0, to a step at which all ranks are together: `meeting` at the latest.
  ///
  /// A synchronous strategy does one step; others do as many as lie before their next meeting.
  ///
  /// - Throws: `TrainingError` where the run must not go on, on every rank.
  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome

  /// Applies what is still under way, after the last step; returns its traffic.
  func drain() throws -> Traffic
  /// Brings what is under way to a standstill before state is read; changes no later bit.
  func settle() throws
  /// Gives up what is under way, where the run ends by an error.
  func abandon()

  /// Puts what was loaded where it is needed, when other ranks had saved it. Collective.
  func place() throws
  /// Ends what is under way, and forgets what past gradients left behind.
  ///
  /// Collective. Residuals and momentum become zero. Sums of squares stay, by which an optimizer knows the sizes of gradients.
  func forget() throws
  /// Takes over what other ranks had left behind of their contributions, and owners of their sums, where this run has no
  /// residuals: it goes into the next gradient.
  func inherit(_ contributions: FloatBuffer, sums: FloatBuffer)

  /// Seconds spent so far, `data` apart.
  var times: PhaseTimes { get }
  /// What this rank sent and received so far, and how that compares with floats.
  var report: ExchangeReport { get }
  /// Called once after the last step, when everything is saved: measures what the report still lacks. Collective.
  func finish() throws
}

/// Whether the models of all ranks are equal, and when: replica check, evaluation, checkpoint and hash ask it.
public enum Consistency: Hashable, Sendable {
  /// After every step.
  case replicated
  /// At meetings.
  case atMeetings
  /// Never; one model speaks for all.
  case independent
}

extension Strategy {
  public var consistency: Consistency { .replicated }

  public func place() throws {}

  /// Does step `step`, counted from 0, at the rate `rate`.
  package func step(_ step: Int, from loader: BatchLoader, rate: Float, isMeasured: Bool) throws -> StepOutcome {
    try advance(from: step, to: step + 1, on: Course(loader: loader, rate: { _ in rate }, isMeasured: { _ in isMeasured }))
  }
}

/// What a strategy is told of the steps that it does.
public struct Course {
  /// Gives this rank's samples, possibly none.
  public let loader: BatchLoader
  /// The learning rate of a step as this rank computes it.
  ///
  /// Cosines and powers may be rounded differently on another machine, and the rate reaches the model: that of rank 0 counts on all
  /// ranks.
  public let rate: (_ step: Int) -> Float
  /// Whether norms are wanted of a step, which cost a pass over gradient and residual.
  public let isMeasured: (_ step: Int) -> Bool

  /// A course.
  public init(loader: BatchLoader, rate: @escaping (Int) -> Float, isMeasured: @escaping (Int) -> Bool) {
    (self.loader, self.rate, self.isMeasured) = (loader, rate, isMeasured)
  }
}

/// What became of a step, or of several: the same on every rank, traffic apart.
public struct StepOutcome {
  /// The steps that were done.
  public var stepCount = 1
  /// Σ −log p over the step's samples.
  public var lossSum = 0.0
  /// The step's samples over all ranks.
  public var sampleCount = 0
  /// How many of them were classified rightly, before the step.
  public var correctCount = 0
  /// Whether the step, or a part of it, changed nothing, because some gradient was not finite.
  public var isSkipped = false
  /// The loss over the samples of those parts that did change something.
  var learnt = LossTally()
  /// Whether some rank was asked to stop.
  public var isStopRequested = false
  /// What the user should be told.
  public var warning: String?
  /// ‖residuals of all ranks‖/‖gradients of all ranks‖ before the step, where it was wanted; 0 where nothing is left behind.
  public var residualRatio = 0.0
  /// The share of the signal in the last gradients, while an automatic warm start watches it; nil otherwise.
  public var signalShare: Double?
  /// Why an automatic warm start ended with this step; nil where it did not.
  var warmStartEnd: AutomaticStart.End?
  /// This rank's traffic in this step.
  public var traffic = Traffic()
  /// The bytes of activations that this rank sent in this step; nil where a model is on one rank.
  public var activationBytes: Int?

  /// Nothing yet.
  public init() {}

  /// The mean loss of a sample: of those that were learnt from, of all where there are none.
  var meanLoss: Double { learnt.sampleCount > 0 ? learnt.mean : lossSum / Double(sampleCount) }

  /// Adds what the ranks said of the step, or of a part of it, and what became of it.
  mutating func add(_ judgement: StepFrame.Judgement) {
    let (agreement, verdict) = (judgement.agreement, judgement.verdict)
    let (loss, samples) = (agreement.sum(\.lossSum), agreement.sum(\.sampleCount))
    lossSum += loss
    sampleCount += samples
    if !verdict.isSkipped { learnt.add(lossSum: loss, sampleCount: samples) }
    correctCount += agreement.sum(\.correctCount)
    isStopRequested = isStopRequested || agreement.statements.contains { $0.isStopRequested }
    residualRatio = agreement.residualRatio
    isSkipped = isSkipped || verdict.isSkipped
    warning = warning ?? verdict.warning
  }
}

/// What a strategy is made from.
public struct StrategyParts {
  /// All ranks: which of them share samples, and which hold the same slice of the model.
  public var grid: RankGrid
  /// How all ranks agree on a step.
  public var records: RecordExchange
  /// How the ranks that hold the slices of one model add up what each knows of its own; nil where a model is on one rank.
  public var sliceRecords: RecordExchange?
  /// How they reach one another's activations; nil where a model is on one rank.
  public var blocks: BlockExchange?
  /// The network, whose layout the parameters have.
  public var network: any Network
  /// The parameters, the same bits on every rank.
  public var parameters: FloatBuffer
  /// Turns aggregated gradients into updates.
  public var optimizer: any Optimizer
  /// How gradients are scaled on their way between the ranks; nil for not at all.
  public var scaling: AdaGrad?
  /// What ranks make of their gradients after the warm start.
  public var aggregation: AggregationRecipe
  /// The options of the run.
  public var options: TrainerOptions
  /// The run as planned at its start; which samples belong to a step, the loader knows.
  public var plan: RunPlan
  /// Where the strategy notes what it does; nil where nobody asked for that.
  var timeline: Timeline?

  /// The parts of a strategy whose model is whole on each rank, unless ranks are told how they reach one another's activations.
  package init(
    grid: RankGrid, records: RecordExchange, sliceRecords: RecordExchange? = nil, blocks: BlockExchange? = nil,
    network: any Network, parameters: FloatBuffer, optimizer: any Optimizer, scaling: AdaGrad? = nil,
    aggregation: AggregationRecipe, options: TrainerOptions, plan: RunPlan
  ) {
    (self.grid, self.records, self.sliceRecords, self.blocks) = (grid, records, sliceRecords, blocks)
    (self.network, self.parameters, self.optimizer, self.scaling) = (network, parameters, optimizer, scaling)
    (self.aggregation, self.options, self.plan) = (aggregation, options, plan)
  }
}

extension StrategyParts {
  /// The ranks that exchange gradients: those of this rank's slice.
  public var hosts: HostMap { grid.dataGroup }
  /// What the transforms of gradients are made from.
  package var transformParts: TransformParts {
    TransformParts(
      layout: network.layout, result: aggregation.capabilities.result, shareCount: grid.shareCount,
      weightDecay: options.weightDecay, clip: options.clip, scaling: scaling)
  }
  /// Who carries exchanges on while the model computes.
  package var overlap: Overlap { options.overlap.resolved(for: hosts, among: grid.all, threads: options.threads) }
}

/// A strategy that was chosen, before the model and the ranks are known.
public struct StrategyRecipe: Sendable {
  /// The aggregation that a short form names itself; nil where `--codec` does.
  public var aggregation: AggregationRecipe?
  /// Whether computing and exchange take turns by half minibatches.
  public var isDelayed = false
  /// The exchanges of a step.
  public var exchangesInStep: Int { isDelayed ? 2 : 1 }

  /// Makes the strategy; collective.
  package func callAsFunction(_ parts: StrategyParts) throws -> any Strategy {
    isDelayed ? try Delayed(parts) : try Synchronous(parts)
  }
}

/// The strategies that `--strategy` knows: when ranks exchange what.
///
/// What they make of it, `--codec` says; names of sparse aggregations are short for `all-reduce` with them.
public let strategies = Registry<StrategyRecipe>(
  "strategy",
  [
    .init("all-reduce", "every rank exchanges every step's gradient and makes the same update") { _ in StrategyRecipe() },
    .init("double-buffer", "half a minibatch is computed while the gradient of the half before is exchanged") { _ in
      StrategyRecipe(isDelayed: true)
    },
  ] + ["fetch-sgd", "sketched-sgd", "true-top-k", "local-top-k"].map(shortForm))

/// `all-reduce` with an aggregation of nearly the same name.
private func shortForm(_ name: String) -> Registry<StrategyRecipe>.Entry {
  let codec = name == "local-top-k" ? "top-k" : name
  guard let entry = aggregations.entries.first(where: { $0.name == codec }) else { fatalError("no codec \(codec)") }
  return .init(name, "short for all-reduce with --codec \(codec): \(entry.summary)", keys: entry.keys) {
    StrategyRecipe(aggregation: try entry.make($0))
  }
}
