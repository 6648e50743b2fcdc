internal import Checkpoints
internal import Collectives
internal import Datasets
internal import MPI
internal import Networks
internal import Reporting
internal import Transport

/// What a run is prepared with: options and ranks, data and network, and where it writes.
struct RunContext {
  /// What is trained, and how; the same on all ranks.
  let options: TrainerOptions
  /// Which ranks share samples, and which hold the same slice of the model.
  let grid: RankGrid
  /// How the slices of a model reach one another; nil if a model is on one rank.
  let blocks: BlockExchange?
  /// How ranks agree on what is slower than a step: disks, the beginning, the end.
  let agreement: Agreement
  let dataset: any Dataset
  /// The network, or this rank's slice of it.
  let network: any Network
  /// The labels of data that are realigned; nil if that was not asked for.
  let labels: RealignedLabels?
  let store: CheckpointStore?
  /// Where the run reports to people and files; on rank 0 alone.
  let runLog: RunLog?
  /// Where what this rank does is noted; nil if no timeline was asked for.
  let timeline: Timeline?

  /// All ranks, in the order of the grid.
  var world: Communicator { grid.all.world }
}

/// How far a run is.
struct RunProgress {
  /// The number of steps done.
  var step = 0
  /// The checkpoint from which this job went on; nil if it began the run.
  var resumed: SavedRun?
  /// The loss since the last evaluation, over all ranks.
  var tally = LossTally()
  /// What was sent between steps and is counted with the next one.
  var uncountedTraffic = Traffic()
  /// The last evaluation.
  var evaluation: Evaluation?
  /// Where the newest checkpoint of this run is.
  var newestCheckpoint: String?
}

extension TrainingRun {
  var options: TrainerOptions { context.options }
  var world: Communicator { context.world }
  var grid: RankGrid { context.grid }
  var blocks: BlockExchange? { context.blocks }
  var agreement: Agreement { context.agreement }
  var dataset: any Dataset { context.dataset }
  var network: any Network { context.network }
  var runLog: RunLog? { context.runLog }
  var timeline: Timeline? { context.timeline }
  var step: Int { progress.step }
}
