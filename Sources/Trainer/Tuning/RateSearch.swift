/// Finds the learning rate of an epoch before it begins, by trials on its first samples, all from the same state.
///
/// The base is the criterion at rate 0, or, if higher, its mean with the previous epoch's, weighted by the root of the trial's
/// share of an epoch. From 0.618⁻¹ times the largest of the last five rates, the rate is multiplied by 0.618 until a trial is
/// no worse than the base. Before the first epoch, a bracket from a hundredth of the requested rate to the rate found is then
/// narrowed by golden sections at its worse end until its ends differ by at most a fifth; the better end is the rate.
/// NaN is worse than any number.
/// Source: CNTK's `SearchForBestLearnRate`; algorithms §1.9.
public struct RateSearch: Hashable, Sendable {
  /// A rate that was tried.
  public struct Trial: Hashable, Sendable {
    public var rate: Double
    /// The mean loss of the samples; NaN if the trial failed.
    public var criterion: Double
  }

  /// What is known at the start of an epoch; rates are those of the requested minibatch.
  public struct Situation: Hashable, Sendable {
    /// The requested rate.
    public var initial: Double
    /// The rate that the epoch would have, which is kept if even rate 0 has no criterion.
    public var current: Double
    /// The rates of the last epochs; at most five count.
    public var recent: [Double]
    /// The criterion since the last search; nil before the first epoch.
    public var previous: Double?
    /// The share of an epoch that a trial covers.
    public var share: Double

    /// What is known at the start of an epoch.
    public init(initial: Double, current: Double, recent: [Double], previous: Double?, share: Double) {
      self.initial = initial
      self.current = current
      self.recent = recent
      self.previous = previous
      self.share = share
    }
  }

  /// The golden section, as CNTK rounds it.
  static let section = 0.618
  /// The number of past rates that count.
  static let memory = 5

  /// Epochs between searches.
  public var interval = 1
  /// Samples of each trial; nil for the default.
  public var samples: Int?
  /// The least rate, as a share of the requested one.
  public var least = 0.001

  /// The default search.
  public init() {}

  /// The number of samples of a trial.
  public func sampleCount(of epoch: Int, minibatch: Int) -> Int { min(samples ?? max(32 * minibatch, epoch / 8), epoch) }

  /// Chooses a rate.
  ///
  /// - Parameters:
  ///   - situation: What is known.
  ///   - isFirst: Whether the epoch is the first.
  ///   - measure: Trains with a rate and returns the mean loss; nil ends the search without a choice.
  /// - Returns: The choice and the trials, rate 0 first; nil if the search was ended.
  public func choose(
    in situation: Situation, isFirst: Bool, measure: (Double) throws -> Double?
  ) rethrows -> (rate: Double, trials: [Trial])? {
    var trials: [Trial] = []
    func criterion(_ rate: Double) throws -> Double? {
      guard let value = try measure(rate) else { return nil }
      trials.append(Trial(rate: rate, criterion: value))
      return value.isNaN ? .infinity : value
    }
    guard var base = try criterion(0) else { return nil }
    guard base < .infinity else { return (situation.current, trials) }
    if let previous = situation.previous, previous.isFinite {
      let weight = situation.share.squareRoot()
      base = max(base, weight * previous + (1 - weight) * base)
    }
    var right = (situation.recent.suffix(RateSearch.memory).max() ?? situation.initial) / RateSearch.section
    let least = least * situation.initial
    guard var rightCriterion = try criterion(right) else { return nil }
    while rightCriterion > base && right > least {
      right *= RateSearch.section
      guard let value = try criterion(right) else { return nil }
      rightCriterion = value
    }
    guard isFirst else { return (right, trials) }
    var left = situation.initial / 100
    guard left < right else { return (right, trials) }
    guard var leftCriterion = try criterion(left) else { return nil }
    while right > 1.2 * left {
      let isRightWorse = rightCriterion > leftCriterion
      if isRightWorse { right *= RateSearch.section } else { left /= RateSearch.section }
      guard let value = try criterion(isRightWorse ? right : left) else { return nil }
      if isRightWorse { rightCriterion = value } else { leftCriterion = value }
    }
    return (leftCriterion < rightCriterion ? left : right, trials)
  }
}
