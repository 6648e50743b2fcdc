internal import Collectives
internal import Datasets

/// What a run that tunes itself remembers: what was decided, and what the next decisions rest on.
final class Tuner {
  let search: MinibatchSearch?
  let control: RateControl?
  /// What searches train; nil where there is nothing to search.
  let trial: Trial?

  /// What the rate of options and schedule is multiplied with.
  var factor = 1.0
  /// The last epoch whose rate is decided; a run that was stopped in the search after that does not decide it twice.
  var decidedEpoch = -1
  /// The rates at the beginning of the last epochs, of the minibatch that was asked for.
  var recentRates: [Double] = []
  /// The loss since the last decision about the rate, over all ranks.
  var tally = LossTally()
  /// What changes after epochs rest on.
  var memory = AfterEpoch.Memory()
  /// The state to go back to where the loss rises, and the minibatch that led there; nil where that never happens.
  var best: (state: StateSnapshot, minibatch: Int)?
  /// Seconds spent on trials by this job.
  var seconds = 0.0
  /// The bytes that this rank sent in trials to the other stripes of its model, and what they should have been.
  var activations = (sent: 0, predicted: 0)
  /// All bytes that this rank sent in trials.
  var bytesSent: Int { (trial?.traffic.bytesSent ?? 0) + activations.sent }

  /// What `recipe` asks for, nil where that is nothing; collective.
  ///
  /// - Parameters:
  ///   - recipe: The choices of the run.
  ///   - parts: What the strategy of the run is made from.
  ///   - optimizer: For trials alone.
  ///   - feed: The samples of the run.
  init?(_ recipe: Recipe, like parts: StrategyParts, optimizer: any Optimizer, feed: SampleFeed) throws {
    (search, control) = (recipe.minibatchSearch, recipe.rateControl)
    var searchesRates = false
    if case .search = control { searchesRates = true }
    trial =
      search != nil || searchesRates ? try Trial(like: parts, optimizer: optimizer, feed: feed) : nil
    if search == nil && control == nil { return nil }
  }

  /// Takes the state before the first step for the best, where a run may go back.
  func begin(with state: StateInventory, minibatch: Int) {
    if case .afterEpoch(let control) = control, control.loadsBest { best = (StateSnapshot(of: state), minibatch) }
  }

  /// Forgets losses and states of the labels before a realignment, which those after it cannot be compared with.
  func startAfresh(with state: StateInventory, minibatch: Int) {
    tally = LossTally()
    memory.previous = nil
    best?.state.take(state)
    best?.minibatch = minibatch
  }

  /// Notes the rate of an epoch that begins.
  func note(rate: Double) { recentRates = recentRates.suffix(RateSearch.memory - 1) + [rate] }

  /// Adds everything here that later decisions rest on to the list of everything.
  func contribute(to inventory: inout StateInventory) {
    inventory.counters["tunedFactor"] = String(factor.bitPattern)
    inventory.counters["tunedEpoch"] = String(decidedEpoch)
    inventory.counters["tunedRates"] = recentRates.map { String($0.bitPattern) }.joined(separator: " ")
    inventory.counters["tunedLossSum"] = String(tally.lossSum.bitPattern)
    inventory.counters["tunedLossSamples"] = String(tally.sampleCount)
    inventory.counters["tunedLossBefore"] = memory.previous.map { String($0.bitPattern) }
    inventory.counters["tunedHasReduced"] = String(memory.hasReduced)
    guard let best else { return }
    let state = best.state.inventory
    inventory.counters["minibatch\(Tuner.mark)"] = String(best.minibatch)
    for (name, value) in state.counters { inventory.counters[name + Tuner.mark] = value }
    inventory.replicated += (state.model + state.replicated).map { $0.renamed($0.name + Tuner.mark) }
    inventory.own += state.own.map { $0.renamed($0.name + Tuner.mark) }
  }

  /// Takes back the counters; tensors are read into their own places.
  func restore(_ counters: [String: String]) {
    func number(_ name: String) -> Double? { counters[name].flatMap { UInt64($0) }.map { Double(bitPattern: $0) } }
    factor = number("tunedFactor") ?? 1
    decidedEpoch = counters["tunedEpoch"].flatMap { Int($0) } ?? -1
    recentRates = (counters["tunedRates"] ?? "").split(separator: " ").compactMap { UInt64($0).map { Double(bitPattern: $0) } }
    let samples = counters["tunedLossSamples"].flatMap { Int($0) } ?? 0
    tally = LossTally(lossSum: number("tunedLossSum") ?? 0, sampleCount: samples)
    memory.previous = number("tunedLossBefore")
    memory.hasReduced = counters["tunedHasReduced"] == "true"
    guard let best else { return }
    let saved = counters.filter { $0.key.hasSuffix(Tuner.mark) }.map { (String($0.key.dropLast(Tuner.mark.count)), $0.value) }
    best.state.setCounters(Dictionary(uniqueKeysWithValues: saved))
    self.best?.minibatch = counters["minibatch\(Tuner.mark)"].flatMap { Int($0) } ?? best.minibatch
  }

  /// What follows the names of the state to go back to in a checkpoint.
  private static let mark = ".best"
}
