public import Buffers

/// Finds the largest minibatch that does no harm at the start of an epoch: fewer updates, and less to exchange.
///
/// Each size is tried on the next samples of the epoch, from the same state; the first sets the base, and sizes grow by √2
/// until one is worse than the base by more than a margin. As the learning rate falls, the smallest size grows by the root of
/// its reduction; from the third epoch on, a search ranges from half to twice the previous size.
///
/// The requested minibatch is tried as it is; other sizes are multiples of 64. A trial whose criterion is NaN has failed (CNTK
/// accepts it). A size needs at least four steps within the samples of a trial: a single step is no evidence about its size.
/// Source: Seide et al. 2014, section 4 ("minibatch-size selection"), and CNTK's `AdaptiveMinibatchSizing`; algorithms §1.9.
public struct MinibatchSearch: Hashable, Sendable {
  /// The criterion of a trial.
  public enum Criterion: String, CaseIterable, Sendable {
    /// The mean loss of the samples as they are trained on; the margin is relative to the base's.
    case loss
    /// The share of them classified correctly, as in the paper; the margin is subtracted from the base's.
    case accuracy
  }

  /// Epochs between searches; each of the first epochs, up to this number, has one too.
  public var interval = 1
  /// Samples of each trial; nil for the default.
  public var samples: Int?
  /// How much worse than the base a size may be, in percent; if negative, how much better it must be.
  public var margin = 1.0
  /// The largest size tried.
  public var largest = 1_048_576
  public var criterion = Criterion.loss

  /// The default search.
  public init() {}

  /// What is known at the start of an epoch.
  public struct Situation: Hashable, Sendable {
    /// The epoch, from 0.
    public var epoch: Int
    /// The requested minibatch.
    public var initial: Int
    /// The minibatch of the previous epoch.
    public var current: Int
    /// The learning rate as a share of the full one.
    public var rateShare: Double
    /// The number of samples of an epoch.
    public var sampleCount: Int

    /// What is known at the start of an epoch.
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
    /// The value of the criterion; NaN if the trial failed.
    public var criterion: Double
    public var isAccepted: Bool
  }

  /// Whether there is a search before an epoch, counted from 0.
  public func isDue(before epoch: Int) -> Bool {
    // Before the third epoch no size counts as chosen.
    epoch < 2 || epoch + 1 <= interval || (epoch + 1) % interval == 0
  }

  /// The number of samples of a trial.
  public func sampleCount(in situation: Situation) -> Int {
    min(samples ?? max(32 * situation.initial, situation.sampleCount / 8), situation.sampleCount)
  }

  /// The sizes to try, in that order; a single one is taken without a trial.
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
  ///   - sizes: The sizes, in the order of trying.
  ///   - current: The minibatch to keep if the first trial fails, because nothing can be compared then.
  ///   - measure: Trains with a size and returns the criterion; nil ends the search without a choice.
  /// - Returns: The choice and the trials; nil if the search was ended.
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

/// The searches of `--tune-minibatch`.
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
