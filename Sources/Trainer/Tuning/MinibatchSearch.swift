public import Buffers

/// Finds the largest minibatch that does not hurt, where an epoch begins: fewer updates, and less to exchange.
///
/// Each size is tried on the next samples of the epoch, from the same state; the first sets the base, and sizes grow by √2 until one is
/// worse than the base by more than a margin. While the learning rate falls the smallest size grows, by the root of how
/// far it has fallen; from the third epoch on a search begins at half the size before and ends at twice that.
///
/// The minibatch that was asked for is tried as it is; other sizes are multiples of 64. A trial whose criterion is not a number has
/// failed (CNTK accepts it). A size needs four steps at least within the samples of a trial: one step alone says nothing of its
/// size.
/// Source: Seide et al. 2014, section 4 ("minibatch-size selection"), and CNTK's `AdaptiveMinibatchSizing`; algorithms §1.9.
public struct MinibatchSearch: Hashable, Sendable {
  /// What a trial is judged by.
  public enum Criterion: String, CaseIterable, Sendable {
    /// The mean loss of the samples as they are trained on; the margin is a share of the base's.
    case loss
    /// The share of them classified rightly, as in the paper; the margin is taken off the base's.
    case accuracy
  }

  /// Epochs between searches; in the first epochs, as many, there is one in each.
  public var interval = 1
  /// Samples of each trial, nil for the usual.
  public var samples: Int?
  /// How much worse than the base a size may be, in percent; where it is negative, how much better it must be.
  public var margin = 1.0
  /// No larger size is tried.
  public var largest = 1_048_576
  public var criterion = Criterion.loss

  /// The usual search.
  public init() {}

  /// What is known where an epoch begins.
  public struct Situation: Hashable, Sendable {
    /// The epoch, from 0.
    public var epoch: Int
    /// The minibatch that was asked for.
    public var initial: Int
    /// The minibatch of the epoch before.
    public var current: Int
    /// The learning rate as a share of the full one.
    public var rateShare: Double
    /// The samples of an epoch.
    public var sampleCount: Int

    /// What is known where an epoch begins.
    public init(epoch: Int, initial: Int, current: Int, rateShare: Double, sampleCount: Int) {
      self.epoch = epoch
      self.initial = initial
      self.current = current
      self.rateShare = rateShare
      self.sampleCount = sampleCount
    }
  }

  /// A size that was tried.
  public struct Trial: Hashable, Sendable {
    public var minibatch: Int
    /// What it is judged by; NaN where it failed.
    public var criterion: Double
    public var isAccepted: Bool
  }

  /// Whether there is a search before an epoch, counted from 0.
  public func isDue(before epoch: Int) -> Bool {
    // Before the third epoch no size counts as chosen.
    epoch < 2 || epoch + 1 <= interval || (epoch + 1) % interval == 0
  }

  /// The samples of a trial.
  public func sampleCount(in situation: Situation) -> Int {
    min(samples ?? max(32 * situation.initial, situation.sampleCount / 8), situation.sampleCount)
  }

  /// The sizes to try, in the order of trying; one alone is taken without a trial.
  public func sizes(in situation: Situation) -> [Int] {
    let reduction = situation.rateShare.squareRoot()
    var low = reduction < 1 ? Int(Double(situation.initial) / max(reduction, 1e-6)) : situation.initial
    var high = min(largest, max(situation.initial, sampleCount(in: situation) / 4))
    if situation.epoch >= 2 {
      low = max(low, situation.current / 2)
      high = min(high, 2 * situation.current)
    }
    high = max(high, situation.initial)
    let most = max(high / 64 * 64, situation.initial)
    guard low <= high else { return [most] }
    var sizes: [Int] = []
    var (power, isBetween) = (Double(low), false)
    while true {
      let size = power * (isBetween ? 2.0.squareRoot() : 1)
      guard size <= Double(high) else { return sizes }
      let rounded = size == Double(situation.initial) ? situation.initial : Int((size + 32) / 64) * 64
      let next = min(max(rounded, situation.initial), most)
      if sizes.last != next { sizes.append(next) }
      if isBetween { power *= 2 }
      isBetween.toggle()
    }
  }

  /// Chooses among `sizes`.
  ///
  /// - Parameters:
  ///   - sizes: In the order of trying.
  ///   - current: The minibatch that stays where the first trial fails, because nothing can be compared then.
  ///   - measure: Trains with a size and gives the criterion; nil ends the search without a choice.
  /// - Returns: the choice and what was tried; nil where the search was ended.
  public func choose(
    among sizes: [Int], current: Int, measure: (Int) throws -> Double?
  ) rethrows -> (minibatch: Int, trials: [Trial])? {
    guard sizes.count > 1 else { return (sizes.first ?? current, []) }
    var (best, trials) = (current, [Trial]())
    for size in sizes {
      guard let value = try measure(size) else { return nil }
      let isAccepted = trials.first.map { accepts(value, base: $0.criterion) } ?? !value.isNaN
      trials.append(Trial(minibatch: size, criterion: value, isAccepted: isAccepted))
      guard isAccepted else { break }
      best = size
    }
    return (best, trials)
  }

  private func accepts(_ value: Double, base: Double) -> Bool {
    switch criterion {
    case .loss: value <= base * (1 + margin / 100)
    case .accuracy: value >= base - margin / 100
    }
  }
}

/// The searches that `--tune-minibatch` knows.
public let minibatchSearches = Registry<MinibatchSearch>(
  "minibatch search",
  [
    .init(
      "search", "tries sizes before an epoch, each √2 times the one before, and takes the largest that does not hurt",
      keys: [
        ("every", "epochs between searches (1)"),
        ("samples", "training samples of each trial (an eighth of an epoch, 32 minibatches at least)"),
        ("margin", "percent by which a trial may be worse than the first, below 0: must be better (1)"),
        ("max", "the largest size (1048576)"),
        ("criterion", "loss (default) or accuracy, of the training samples of a trial"),
      ]
    ) { specification in
      var search = MinibatchSearch()
      search.interval = try specification.integer("every", default: 1, in: 1...1_000_000)
      if specification.options["samples"] != nil {
        search.samples = try specification.integer("samples", default: 1, in: 1...Int(Int32.max))
      }
      search.margin = try specification.number("margin", default: 1, in: -100...1000)
      search.largest = try specification.integer("max", default: search.largest, in: 1...Int(Int32.max))
      if let name = specification.options["criterion"] {
        guard let criterion = MinibatchSearch.Criterion(rawValue: name) else {
          throw SpecificationError("'\(specification)': criterion is loss or accuracy, not '\(name)'")
        }
        search.criterion = criterion
      }
      return search
    }
  ])
