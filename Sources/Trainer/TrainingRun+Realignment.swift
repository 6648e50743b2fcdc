internal import Collectives
internal import Datasets
internal import Files
internal import Reporting
internal import Transport

extension TrainingRun {
  /// Whether the samples get new labels before the next step: an epoch has ended after which they should, and have not yet.
  ///
  /// A run that goes on from the checkpoint of that moment does it as well; after the last step nobody asks.
  var isRealignmentDue: Bool {
    guard let labels = context.labels, let epochs = options.realign, step > 0, plan.beginsEpoch(step) else { return false }
    let epoch = plan.epoch(of: step)
    return epochs.contains(epoch) && labels.epoch < epoch
  }

  /// Gives the samples the labels that the model holds for most likely.
  ///
  /// Collective. What was left over from gradients of the old labels is forgotten, and a rate that follows the loss compares none
  /// across the change. The checkpoint before it is of the same step, so that no realignment is lost with a crash right after it.
  func realign() throws {
    guard let labels = context.labels, let dataset = dataset as? any RealignableDataset else { return }
    let start = Stopwatch()
    try save()
    try strategy.forget()
    try replicas.verify(parameters, step: step)
    let epoch = plan.epoch(of: step)
    let result = try Realigner(dataset: dataset, network: network, grid: grid, records: records)
      .realign(labels, with: parameters, after: epoch)
    tuner?.startAfresh(with: stateInventory, minibatch: plan.minibatch(of: epoch))
    runLog?.tell(
      RealignmentEvent(
        epoch: epoch, step: step, changedLabels: Double(result.changed) / Double(dataset.count(.train)),
        keptUtterances: result.kept, seconds: start.seconds))
    let share = decimal(100 * Double(result.changed) / Double(dataset.count(.train)), digits: 1)
    let kept = result.kept == 0 ? "" : "; \(counted(result.kept, "utterance")) too short for that kept their labels"
    runLog?.say(
      "realigned after epoch \(epoch) in \(duration(start.seconds)): \(share) % of the training labels changed\(kept)")
  }
}
