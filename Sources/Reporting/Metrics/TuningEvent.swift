public import Files

/// A decision about the minibatch size or the learning rate, made at the beginning of an epoch.
public struct TuningEvent: MetricsEvent {
  /// What was decided.
  public enum Quantity: String, Sendable {
    /// The samples of a step.
    case minibatch
    /// The learning rate.
    case learningRate
  }

  /// A basis of a decision: a size or a rate that was tried, or what was observed; nil if not varied or not requested.
  public struct Trial: Hashable, Sendable {
    /// The samples of a step.
    public var minibatch: Int?
    /// The learning rate.
    public var learningRate: Double?
    /// The mean loss; NaN if the trial failed.
    public var loss: Double?
    /// The share of samples classified correctly; NaN if the trial failed.
    public var accuracy: Double?
    /// Whether it was chosen.
    public var isAccepted = false

    /// A trial.
    public init(
      minibatch: Int? = nil, learningRate: Double? = nil, loss: Double? = nil, accuracy: Double? = nil, isAccepted: Bool
    ) {
      (self.minibatch, self.learningRate) = (minibatch, learningRate)
      (self.loss, self.accuracy, self.isAccepted) = (loss, accuracy, isAccepted)
    }
  }

  /// The number of steps done.
  public var step: Int
  /// The epoch that begins, from 1.
  public var epoch: Int
  /// What was decided.
  public var quantity: Quantity
  /// The value in the previous epoch; a learning rate is the one for the requested minibatch size.
  public var before: Double
  /// The value from this epoch on.
  public var after: Double
  /// The bases of the decision.
  public var trials: [Trial] = []
  /// The loss that a change after an epoch is compared with.
  public var previousLoss: Double?
  /// Whether the previous state is restored.
  public var goesBack = false
  /// Whether this decision ends the run.
  public var endsRun = false
  /// Wall time since the start.
  public var seconds = 0.0

  /// A decision that changes nothing.
  public init(step: Int, epoch: Int, quantity: Quantity, before: Double) {
    (self.step, self.epoch, self.quantity, self.before, self.after) = (step, epoch, quantity, before, before)
  }

  public var json: JSONValue {
    [
      "event": "tuning", "step": .integer(step), "epoch": .integer(epoch), "quantity": .string(quantity.rawValue),
      "before": value(before), "after": value(after), "previousLoss": .number(previousLoss), "goesBack": .bool(goesBack),
      "endsRun": .bool(endsRun), "trials": .array(trials.map(\.json)), "seconds": .number(seconds),
    ]
  }

  private func value(_ number: Double) -> JSONValue { quantity == .minibatch ? .integer(Int(number)) : .number(number) }

  /// The decision as one line of text.
  public var text: String {
    let change = before == after ? "stays \(number(after))" : "\(number(before)) → \(number(after))"
    let end = endsRun ? "; the run ends here" : ""
    let back = goesBack ? "; back to the state before" : ""
    return "before epoch \(epoch): \(quantity == .minibatch ? "minibatch" : "learning rate") \(change)\(reason)\(back)\(end)"
  }

  private func number(_ number: Double) -> String {
    quantity == .minibatch ? String(Int(number)) : significant(number, digits: 3)
  }

  private var reason: String {
    let results = trials.map { trial in
      let name =
        trial.minibatch.map { "\($0): " } ?? trial.learningRate.map { "\(significant($0, digits: 3)): " } ?? ""
      if trial.loss?.isNaN ?? trial.accuracy?.isNaN ?? false { return name + "failed" }
      let loss = trial.loss.map { "loss \(decimal($0, digits: 4))" }
      return name + (loss ?? trial.accuracy.map { "accuracy \(decimal($0 * 100, digits: 2)) %" } ?? "")
    }
    let comparison = previousLoss.map { " after \(decimal($0, digits: 4))" } ?? ""
    return results.isEmpty ? ", nothing else to try" : " (\(results.joined(separator: ", "))\(comparison))"
  }
}

extension TuningEvent.Trial {
  var json: JSONValue {
    .object(
      [
        minibatch.map { JSONValue.Member("minibatch", .integer($0)) },
        learningRate.map { .init("learningRate", .number($0)) }, loss.map { .init("loss", .number($0)) },
        accuracy.map { .init("accuracy", .number($0)) }, .init("isAccepted", .bool(isAccepted)),
      ].compactMap { $0 })
  }
}
