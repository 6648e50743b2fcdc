internal import Buffers
internal import Files
internal import Reporting
internal import Strategies

extension TrainingRun {
  /// What the strategy has to say, and how good the models are that workers keep for themselves, if they do.
  ///
  /// Collective. Each is evaluated like the model that represents the run.
  func conclusion() throws -> StrategyConclusion {
    var conclusion = strategy.conclusion
    var accuracies: [Double] = []
    try strategy.showOwnModels { model in
      accuracies.append(try timeline.span(.evaluation) { try evaluator.evaluate(model).accuracy })
    }
    if let worst = accuracies.min(), let best = accuracies.max() {
      conclusion.lines.append(
        "accuracy of the workers' own models: \(decimal(100 * worst, digits: 2)) to \(decimal(100 * best, digits: 2)) %")
      conclusion.members.append(.init("workerAccuracy", .array(accuracies.map { .number($0) })))
    }
    return conclusion
  }
}
