internal import Buffers
internal import Collectives
internal import Optimizers
internal import Strategies
internal import Transport

/// The state of a run that tunes itself: past decisions, and what the next ones are based on.
final class Tuner {
  let search: MinibatchSearch?
  let control: RateControl?
  /// The trial that a search trains, while one is running.
  private(set) var trial: Trial?
  /// Makes it; nil if there is nothing to search.
  private let makeTrial: ((_ stepsBefore: Int) throws -> Trial)?
  /// The steps of trials in the searches that have ended: one that was broken off is done again with the same numbers.
  private var trialSteps = 0
  private let grid: RankGrid

  /// The factor for the learning rate given by options and schedule.
  var factor = 1.0
  /// The last epoch whose rate is decided; a run stopped in the search after that does not decide it twice.
  var decidedEpoch = -1
  /// The rates at the start of the last epochs, for the requested minibatch.
  var recentRates: [Double] = []
  /// The loss since the last decision about the rate, over all ranks.
  var tally = LossTally()
  /// What changes after epochs are based on.
  var memory = AfterEpoch.Memory()
  /// The state to go back to if the loss rises; nil if the run never goes back.
  private(set) var best: BestState?
  /// Seconds spent on trials by this job.
  var seconds = 0.0
  /// The bytes that this rank sent in trials to the other slices of its model, and the number predicted.
  var activations = (sent: 0, predicted: 0)
  /// The bytes that this rank sent in trials to the ranks that share the samples.
  private var gradientBytesSent = 0
  /// All bytes that this rank sent in trials.
  var bytesSent: Int { gradientBytesSent + activations.sent }
  /// Whether anything is searched by trials.
  var searches: Bool { makeTrial != nil }

  /// A tuner of a run; nil if neither minibatch nor rate is tuned.
  ///
  /// - Parameters:
  ///   - search: How the minibatch is searched.
  ///   - control: How training progress controls the rate.
  ///   - parts: What the strategy of the run is made from.
  ///   - optimizer: Makes an optimizer for trials only.
  ///   - loader: The samples of the run.
  init?(
    _ search: MinibatchSearch?, _ control: RateControl?, like parts: StrategyParts,
    optimizer: @escaping () -> any Optimizer, loader: BatchLoader
  ) {
    (grid, self.search, self.control) = (parts.grid, search, control)
    var searchesRates = false
    if case .search = control { searchesRates = true }
    makeTrial =
      search != nil || searchesRates
      ? { try Trial(like: parts, optimizer: optimizer(), loader: loader, after: $0) } : nil
    if search == nil && control == nil { return nil }
  }

  /// Runs a search, during which there is a ``trial``; `body` returns whether it came to its end, and so does this.
  ///
  /// Collective.
  ///
  /// Memory that the ranks share for it is released afterwards.
  func searching(_ body: () throws -> Bool) throws -> Bool {
    guard let makeTrial else { fatalError("there is nothing to search") }
    return try grid.all.releasingMemory {
      try grid.dataGroup.releasingMemory {
        let trial = try makeTrial(trialSteps)
        self.trial = trial
        // If it throws, messages may be in flight that need their memory.
        let isDone = try body()
        if isDone { trialSteps = trial.stepCount }
        gradientBytesSent += trial.traffic.bytesSent
        self.trial = nil
        return isDone
      }
    }
  }

  /// Records the state before the first step as the best, if the run may go back.
  func begin(with state: StateInventory, minibatch: Int) {
    if case .afterEpoch(let control) = control, control.loadsBest { best = BestState(state, minibatch: minibatch) }
  }

  /// Discards losses and states of the labels before a realignment, which later ones cannot be compared with.
  func startAfresh(with state: StateInventory, minibatch: Int) {
    tally = LossTally()
    memory.previous = nil
    best?.take(state, minibatch: minibatch)
  }

  /// Records the rate of an epoch that begins.
  func note(rate: Double) { recentRates = recentRates.suffix(RateSearch.memory - 1) + [rate] }

  /// Adds everything that later decisions are based on to the inventory.
  func contribute(to inventory: inout StateInventory) {
    inventory.counters["tunedFactor"] = String(factor.bitPattern)
    inventory.counters["tunedEpoch"] = String(decidedEpoch)
    inventory.counters["tunedRates"] = recentRates.map { String($0.bitPattern) }.joined(separator: " ")
    inventory.counters["tunedLossSum"] = String(tally.lossSum.bitPattern)
    inventory.counters["tunedLossSamples"] = String(tally.sampleCount)
    inventory.counters["tunedLossBefore"] = memory.previous.map { String($0.bitPattern) }
    inventory.counters["tunedHasReduced"] = String(memory.hasReduced)
    inventory.counters["tunedTrialSteps"] = String(trialSteps)
    best?.contribute(to: &inventory)
  }

  /// Restores the counters; tensors are read in place.
  func restore(_ counters: [String: String]) {
    func number(_ name: String) -> Double? { counters[name].flatMap { UInt64($0) }.map { Double(bitPattern: $0) } }
    factor = number("tunedFactor") ?? 1
    decidedEpoch = counters["tunedEpoch"].flatMap { Int($0) } ?? -1
    recentRates = (counters["tunedRates"] ?? "").split(separator: " ").compactMap { UInt64($0).map { Double(bitPattern: $0) } }
    let samples = counters["tunedLossSamples"].flatMap { Int($0) } ?? 0
    tally = LossTally(lossSum: number("tunedLossSum") ?? 0, sampleCount: samples)
    memory.previous = number("tunedLossBefore")
    memory.hasReduced = counters["tunedHasReduced"] == "true"
    trialSteps = counters["tunedTrialSteps"].flatMap { Int($0) } ?? 0
    best?.restore(counters)
  }
}
