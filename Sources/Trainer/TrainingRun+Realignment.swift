internal import Collectives
internal import Datasets
internal import Files
internal import Reporting
internal import Strategies
internal import Transport

extension TrainingRun {
  /// Whether realignment is due before the next step: it was requested after the epoch that just ended and is not yet done.
  ///
  /// A run resumed from the checkpoint of that step realigns as well; after the last step this is not consulted.
  var isRealignmentDue: Bool {
    guard let labels = context.labels, let epochs = options.realign, step > 0 else { return false }
    let (last, epoch) = (plan.epoch(of: previousMeeting), plan.epoch(of: step))
    return last < epoch && (last + 1...epoch).contains { epochs.contains($0) && labels.epoch < $0 }
  }

  /// Replaces the samples' labels by those most likely under the model.
  ///
  /// Collective. Residuals and momentum from gradients of the old labels are discarded, and a learning rate that follows the
  /// loss compares no losses across the change. A checkpoint of the same step comes first, so a crash right after it loses no
  /// realignment.
  func realign() throws {
    guard let labels = context.labels, let dataset = dataset as? any RealignableDataset else { return }
    let start = Stopwatch()
    try save()
    try model.statistics?.combine()
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
