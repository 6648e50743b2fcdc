internal import Checkpoints
internal import Collectives
internal import Datasets
internal import MPI
package import Networks
internal import Reporting
internal import Strategies
internal import Transport

/// What a run is prepared with: options, ranks, data, network, and outputs.
struct RunContext {
  /// What is trained, and how; the same on all ranks.
  let options: TrainerOptions
  /// Which ranks share samples, and which hold the same slice of the model.
  let grid: RankGrid
  /// Connects the slices of the model; nil if the model is on one rank.
  let blocks: BlockExchange?
  /// How ranks agree on anything slower than a step: disk access, start, end.
  let agreement: Agreement
  let dataset: any Dataset
  /// The network, or this rank's slice of it.
  let network: any Network
  /// The realigned labels; nil if realignment was not requested.
  let labels: RealignedLabels?
  /// The order of events to follow; nil for the one in which they come.
  let replayed: EventRecord?
  let store: CheckpointStore?
  /// Reports to people and files; on rank 0 only.
  let runLog: RunLog?
  /// Records what this rank does; nil if no timeline was requested.
  let timeline: Timeline?

  /// All ranks, in the order of the grid.
  var world: Communicator { grid.all.world }
}

/// The progress of a run.
struct RunProgress {
  /// The number of steps done.
  var step = 0
  /// The checkpoint that this job resumed from; nil if it began the run.
  var resumed: SavedRun?
  /// The loss since the last evaluation, over all ranks.
  var tally = LossTally()
  /// What this rank has told since the last meeting.
  var ownSteps = OwnStepsLog()
  /// Traffic between steps, counted with the next step.
  var uncountedTraffic = Traffic()
  /// The last evaluation.
  var evaluation: Evaluation?
  /// The path of this run's newest checkpoint.
  var newestCheckpoint: String?
}

extension TrainingRun {
  var options: TrainerOptions { context.options }
  var world: Communicator { context.world }
  var grid: RankGrid { context.grid }
  var blocks: BlockExchange? { context.blocks }
  var agreement: Agreement { context.agreement }
  var dataset: any Dataset { context.dataset }
  package var network: any Network { context.network }
  var runLog: RunLog? { context.runLog }
  var timeline: Timeline? { context.timeline }
  var step: Int { progress.step }
}
