internal import MPI

/// The learning rates of a run's steps, the same bits on every rank.
///
/// Cosines and powers may be rounded differently on another machine, and the rate reaches the model: rank 0 computes the rates
/// and sends them, a thousand steps at a time.
final class RateTable {
  private static let length = 1024

  private let learningRate: Double
  private let schedule: Schedule
  private let horizon: Int
  private let world: Communicator
  private var first = 0
  private var rates: [Float] = []

  init(_ options: TrainerOptions, schedule: Schedule, horizon: Int, on world: Communicator) {
    learningRate = options.learningRate
    self.schedule = schedule
    self.horizon = horizon
    self.world = world
  }

  /// The rate of a step.
  ///
  /// Collective: all ranks ask for the same steps in the same order.
  ///
  /// - Communication: 4 KiB from rank 0 every 1024 steps.
  func rate(at step: Int) throws -> Float {
    if !(first..<first + rates.count).contains(step) {
      first = step
      rates = (step..<step + RateTable.length).map { Float(learningRate * schedule.factor(at: $0, of: horizon)) }
      try world.broadcast(&rates, root: 0)
    }
    return rates[step - first]
  }
}
