internal import Strategies
internal import Transport

/// What rank 0 tells between two meetings, from its own minibatches alone, without asking other ranks.
struct OwnStepsLog {
  /// What was seen since the last line.
  private var tally = LossTally()
  private var traffic = Traffic()
  /// The last step of which a line was written.
  private(set) var step = 0

  /// A line about some steps.
  struct Line {
    /// The number of steps done.
    let step: Int
    /// The mean loss of this rank's minibatches.
    let loss: Double
    /// This rank's traffic in a step.
    let bytesSent: Int
    let messagesSent: Int
  }

  /// Begins anew at a meeting after `step` steps.
  mutating func begin(at step: Int) { self = OwnStepsLog(step: step) }

  init(step: Int = 0) { self.step = step }

  /// The mean loss since the last line.
  var loss: Double { tally.mean }

  /// Adds a minibatch; gives a line if a multiple of `interval` steps was passed.
  mutating func add(_ own: Course.OwnSteps, every interval: Int) -> Line? {
    tally.add(lossSum: own.loss.lossSum, sampleCount: own.loss.sampleCount)
    let due = own.step / interval * interval
    guard due > step else { return nil }
    defer { (tally, traffic, step) = (LossTally(), own.traffic, due) }
    let spent = own.traffic - traffic
    return Line(
      step: due, loss: tally.mean, bytesSent: spent.bytesSent / (due - step), messagesSent: spent.messagesSent / (due - step))
  }
}
