public import Buffers
public import Collectives
public import Files
public import Networks
public import Optimizers
public import PointToPoint
public import Reporting
public import Transport

/// When a rank contributes what, and what it does with the results.
///
/// The training loop depends only on this. Every call is collective, except ``abandon()``.
///
/// ``advance(from:to:on:)`` and every other call returns at a *meeting*. There, ``StrategyParts/parameters`` hold the model that
/// represents the run, the same bits on every rank (of a slice): the model of each rank if all are equal, that of the servers, an
/// elastic centre, or the mean of models that differ, added in a fixed order. Replica check, evaluation, checkpoint, hash,
/// `--output`, trials and realignment read it, at meetings only; in between, its contents are the strategy's business.
///
/// Models that ranks or workers keep for themselves are state of the strategy, in its own buffers and its inventory: `.local` for
/// one on each rank, which is zero on a different number of ranks, where ``place()`` replaces it by the representative model; or
/// `.owned` pieces of one flat vector of all workers' models. A meeting should not change what follows, so that
/// `--evaluate-every` does not; a strategy in which it does says so.
public protocol Strategy: Stateful {
  /// Trains from step `step`, counted from 0, to a meeting: after `meeting` steps at the latest.
  ///
  /// A synchronous strategy does one step; others do as many as lie before their next meeting. If ranks exchange every H steps
  /// (``ExchangeSchedule/stepsPerExchange``), both are multiples of H, or the end of the run.
  ///
  /// - Throws: `TrainingError` on every rank if the run must not continue.
  func advance(from step: Int, to meeting: Int, on course: Course) throws -> StepOutcome

  /// Applies what is still in flight after the last step; returns its traffic.
  func drain() throws -> Traffic
  /// Completes what is in flight before state is read; changes no later bit.
  func settle() throws
  /// Abandons what is in flight, if the run ends with an error.
  func abandon()

  /// Adjusts the inventory to what `shareCount` ranks that share samples have saved, before it is loaded from their checkpoint.
  func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int)
  /// Moves loaded state to where it is needed, if other ranks had saved it. Collective.
  func place() throws
  /// Begins with the model in ``StrategyParts/parameters``, which was set from outside, the same on every rank: models that
  /// ranks keep for themselves become it. Collective.
  func startFromModel() throws
  /// Completes what is in flight, and discards what past gradients left behind.
  ///
  /// Collective. Residuals and momentum become zero. Sums of squares, an optimizer's estimate of gradient sizes, are kept.
  func forget() throws
  /// Seconds spent so far, except `data`.
  var times: PhaseTimes { get }
  /// This rank's traffic so far, compared with that of floats.
  var report: ExchangeReport { get }
  /// Sentences about the run for the summary at its end, and the same as members of its last metrics line; on rank 0.
  var conclusion: StrategyConclusion { get }
  /// What may go wrong with the settings of the run, sentences without a full stop, told before the first step; on rank 0.
  var warnings: [String] { get }
  /// What this rank did as the owner of a shard up to the last meeting; nil without owners that take pushes.
  var service: ServiceRecord? { get }
  /// Called once after the last step, when everything is saved: measures what the report still lacks. Collective.
  func finish() throws
  /// Shows the models that workers keep for themselves, one after another and each on every rank; none if they have none. Collective,
  /// at a meeting.
  func showOwnModels(_ show: (FloatBuffer) throws -> Void) throws
}

/// What a strategy has to say at the end of a run.
public struct StrategyConclusion: Sendable {
  /// Lines of the summary for users.
  public var lines: [String] = []
  /// Members of the last metrics line.
  public var members: [JSONValue.Member] = []

  /// Nothing to say.
  public init() {}
}

extension Strategy {
  public var conclusion: StrategyConclusion { StrategyConclusion() }

  public var warnings: [String] { [] }

  public var service: ServiceRecord? { nil }

  public func prepareToLoad(_ inventory: inout StateInventory, savedBy shareCount: Int) {}

  public func place() throws {}

  public func startFromModel() throws {}

  public func showOwnModels(_ show: (FloatBuffer) throws -> Void) throws {}

  /// Does step `step`, counted from 0, at the learning rate `rate`.
  package func step(_ step: Int, from loader: BatchLoader, rate: Float, isMeasured: Bool) throws -> StepOutcome {
    try advance(from: step, to: step + 1, on: Course(loader: loader, rate: { _ in rate }, isMeasured: { _ in isMeasured }))
  }
}

/// What a strategy needs to know about the steps that it does.
public struct Course {
  /// Loads this rank's samples, possibly none.
  public let loader: BatchLoader
  /// The learning rate of a step as this rank computes it.
  ///
  /// Cosines and powers may be rounded differently on another machine, and the rate affects the model: all ranks use that of
  /// rank 0.
  public let rate: (_ step: Int) -> Float
  /// Whether norms of a step are needed, which cost a pass over gradient and residual.
  public let isMeasured: (_ step: Int) -> Bool
  /// Takes note of what this rank does between meetings, once for each of its minibatches.
  package let note: (OwnSteps) -> Void
  /// Takes note of how long this rank computed a gradient, and of how many samples.
  package var measure: (_ step: Int, _ samples: Int, _ seconds: Double) -> Void = { _, _, _ in }
  /// The number by which random codes of a step are drawn, once each: that of the step, except in trials, which have others.
  package let drawNumber: (_ step: Int) -> Int

  /// What one rank knows of the steps since the last meeting, without asking others.
  package struct OwnSteps {
    /// The steps of which all minibatches have been begun, by any rank.
    package var step: Int
    /// The loss of this rank's last minibatch.
    package var loss: LossTally
    /// This rank's traffic since the last meeting.
    package var traffic: Traffic
  }

  /// A course.
  public init(loader: BatchLoader, rate: @escaping (Int) -> Float, isMeasured: @escaping (Int) -> Bool) {
    self.init(loader: loader, rate: rate, isMeasured: isMeasured, note: { _ in })
  }

  package init(
    loader: BatchLoader, rate: @escaping (Int) -> Float, isMeasured: @escaping (Int) -> Bool,
    note: @escaping (OwnSteps) -> Void, drawNumber: @escaping (Int) -> Int = { $0 }
  ) {
    (self.loader, self.rate, self.isMeasured) = (loader, rate, isMeasured)
    (self.note, self.drawNumber) = (note, drawNumber)
  }
}

/// The outcome of one or several steps: the same on every rank, except traffic.
public struct StepOutcome {
  /// The number of steps done.
  public var stepCount = 1
  /// Σ −log p over the step's samples.
  public var lossSum = 0.0
  /// The number of samples of the step over all ranks.
  public var sampleCount = 0
  /// How many of their targets were classified correctly, before the step.
  public var correctCount = 0
  /// Whether the step, or a part of it, changed nothing because some gradient was not finite.
  public var isSkipped = false
  /// The loss over the samples of the parts that were applied.
  package var learnt = LossTally()
  /// Whether some rank was asked to stop.
  public var isStopRequested = false
  /// A warning for the user.
  public var warning: String?
  /// ‖residuals of all ranks‖/‖gradients of all ranks‖ before the step, if measured; 0 without residuals.
  public var residualRatio = 0.0
  /// The share of the signal in the last gradients while an automatic warm start is running; nil otherwise.
  public var signalShare: Double?
  /// Why an automatic warm start ended with this step; nil if it did not.
  package var warmStartEnd: AutomaticStart.End?
  /// The mean of ‖x_i − x̄‖² over the models of workers that have their own; nil if they have not.
  public var consensusDistance: Double?
  /// This rank's traffic in this step.
  public var traffic = Traffic()
  /// The order of events, if it is recorded.
  package var events: EventLine?
  /// The bytes of activations that this rank sent in this step; nil if the model is on one rank.
  public var activationBytes: Int?

  /// An empty outcome.
  public init() {}

  /// The mean loss per sample: over those that were applied, or over all if there are none.
  package var meanLoss: Double { learnt.sampleCount > 0 ? learnt.mean : lossSum / Double(sampleCount) }

  /// Adds the agreement on the step, or on a part of it, and its verdict.
  mutating func add(_ judgement: StepFrame.Judgement) {
    add(judgement.agreement, isSkipped: judgement.verdict.isSkipped)
    warning = warning ?? judgement.verdict.warning
  }

  /// Adds the outcome of a step that followed.
  mutating func add(_ next: StepOutcome) {
    stepCount += next.stepCount
    lossSum += next.lossSum
    sampleCount += next.sampleCount
    correctCount += next.correctCount
    learnt.add(lossSum: next.learnt.lossSum, sampleCount: next.learnt.sampleCount)
    isSkipped = isSkipped || next.isSkipped
    isStopRequested = isStopRequested || next.isStopRequested
    warning = warning ?? next.warning
    residualRatio = next.residualRatio
    traffic += next.traffic
  }

  /// Adds what ranks agreed on.
  mutating func add(_ agreement: StepAgreement, isSkipped: Bool = false) {
    let (loss, samples) = (agreement.sum(\.lossSum), agreement.sum(\.sampleCount))
    lossSum += loss
    sampleCount += samples
    if !isSkipped { learnt.add(lossSum: loss, sampleCount: samples) }
    correctCount += agreement.sum(\.correctCount)
    isStopRequested = isStopRequested || agreement.statements.contains { $0.isStopRequested }
    residualRatio = agreement.residualRatio
    self.isSkipped = self.isSkipped || isSkipped
  }
}

/// What a strategy is made from.
public struct StrategyParts {
  /// All ranks: which of them share samples, and which hold the same slice of the model.
  public var grid: RankGrid
  /// How all ranks agree on a step.
  public var records: RecordExchange
  /// How the ranks that hold the slices of one model sum their local values; nil if the model is on one rank.
  public var sliceRecords: RecordExchange?
  /// How these ranks exchange activations; nil if the model is on one rank.
  public var blocks: BlockExchange?
  /// The network, whose layout the parameters have.
  public var network: any Network
  /// The model that represents the run: at meetings the same bits on every rank.
  public var parameters: FloatBuffer
  /// Turns aggregated gradients into updates.
  public var optimizer: any Optimizer
  /// The transforms of gradients that belong to the optimizer.
  package var transforms: OptimizerTransforms
  /// How gradients are aggregated after the warm start.
  public var aggregation: AggregationRecipe
  /// The options of the run.
  public var options: TrainerOptions
  /// The run as planned at its start; the loader knows which samples belong to a step.
  public var plan: RunPlan
  /// How the ranks that share samples share the statistics of a batch; nil if each normalizes by its own.
  package var statistics: StatisticsGather?
  /// Where the strategy records what it does; nil if no timeline was requested.
  package var timeline: Timeline?
  /// The order of events to follow; nil for the one in which they come.
  package var replayed: EventRecord?

  /// The parts of a strategy; each rank has the whole model unless `blocks` connects its slices.
  package init(
    grid: RankGrid, records: RecordExchange, sliceRecords: RecordExchange? = nil, blocks: BlockExchange? = nil,
    network: any Network, parameters: FloatBuffer, optimizer: any Optimizer,
    transforms: OptimizerTransforms = OptimizerTransforms(), aggregation: AggregationRecipe, options: TrainerOptions,
    plan: RunPlan
  ) {
    (self.grid, self.records, self.sliceRecords, self.blocks) = (grid, records, sliceRecords, blocks)
    (self.network, self.parameters, self.optimizer, self.transforms) = (network, parameters, optimizer, transforms)
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
      weightDecay: options.weightDecay, clip: options.clip, ofOptimizer: transforms,
      optimizer: optimizer)
  }
}
