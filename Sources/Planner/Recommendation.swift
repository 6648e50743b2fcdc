internal import Codecs
internal import Files
internal import Strategies
internal import Trainer

/// What to do, and why: one choice from a plan.
///
/// What loses information must earn it: a code, and a delay by half a minibatch, must each make a step faster by more than a
/// tenth to be recommended, the second on top of the first. If it was measured what share λ of the signal a code does not carry at a
/// time, its step must be so much faster that the signal of one still arrives earlier: it is compared by T/(1 − λ).
public struct Recommendation: Sendable {
  /// How many times faster something must be to be worth its other costs.
  public static let worthwhile = 1.1
  /// More ranks pay while the parallel efficiency is at least this.
  public static let efficiency = 0.5

  /// The number of ranks that it is for.
  public var ranks: Int
  /// The recommended step.
  public var choice: StepPrediction
  /// The best step that exchanges floats.
  public var floats: StepPrediction?
  /// The best step that encodes.
  public var codes: StepPrediction?
  /// The most ranks with at least half of the ideal speed-up, and how many times faster they are than one.
  public var pays: (ranks: Int, speedUp: Double)
  /// How many times faster the choice is than one rank.
  public var speedUp: Double
  /// Where the plan ends.
  private let end: End

  /// Why there is no prediction for more ranks.
  private enum End {
    /// There would be more ranks than samples, or than a plan covers.
    case ranks(Int)
    /// No network costs are known.
    case host(ranks: Int)
  }

  /// Chooses from `plan` among the steps for which `isAllowed` returns true; nil if there are none.
  public init?(_ plan: ScalingPlan, isAllowed: (StepVariant) -> Bool = { _ in true }) {
    let allowed = plan.predictions.filter { isAllowed($0.variant) }
    func best(_ ranks: Int) -> (choice: StepPrediction, floats: StepPrediction?, codes: StepPrediction?)? {
      let candidates = allowed.filter { $0.ranks == ranks }
      guard let choice = Recommendation.best(of: candidates) else { return nil }
      let floats = Recommendation.best(of: candidates.filter { $0.variant.isFloat })
      let codes = Recommendation.best(of: candidates.filter { !$0.variant.isFloat })
      return (choice, floats, codes)
    }
    let counts = Set(allowed.map(\.ranks)).sorted()
    let gains = counts.compactMap { count in best(count).map { (ranks: count, speedUp: plan.speedUp($0.choice)) } }
    guard let pays = gains.last(where: { $0.speedUp >= Double($0.ranks) * Recommendation.efficiency }) ?? gains.first else {
      return nil
    }
    self.pays = pays
    let most = counts.last ?? 1
    end = plan.model == nil ? .host(ranks: most) : .ranks(most)
    ranks = plan.ranks ?? pays.ranks
    guard let best = best(ranks) else { return nil }
    (choice, floats, codes) = best
    speedUp = plan.speedUp(choice)
  }

  /// The prediction with the lowest `price`, which penalizes what loses information; the first of equals.
  private static func best(of predictions: [StepPrediction]) -> StepPrediction? {
    predictions.min { $0.price < $1.price }
  }
}

extension StepPrediction {
  /// The seconds of a step, times 1/(1 − λ) and at least ``Recommendation/worthwhile`` for a code, and times the latter for double
  /// buffering.
  ///
  /// Hierarchy loses nothing; it only has to be faster.
  fileprivate var price: Double {
    seconds * (variant.isFloat ? 1 : max(Recommendation.worthwhile, stepsOfSignal))
      * (variant.isDoubleBuffered ? Recommendation.worthwhile : 1)
  }

  /// What a code carries, as a clause after a semicolon; empty if it was not measured.
  var signalClause: String {
    guard let lostSignal else { return "" }
    guard lostSignal < 1 else { return "; a code carries no signal" }
    return "; a code carries \(Quantity.significant(100 * (1 - lostSignal))) % of the signal, "
      + "all of it takes \(Quantity.text(ofSeconds: seconds * stepsOfSignal))"
  }
}

extension StepVariant {
  /// Whether gradients are exchanged as floats.
  public var isFloat: Bool { codec == Identity().specification }
}

extension Recommendation {
  /// The recommendation in words.
  public var sentence: String {
    let time = Quantity.text(ofSeconds: choice.seconds)
    guard ranks > 1 else {
      return "One rank: nothing is exchanged, and there is nothing to compress; a step takes \(time). \(extent)"
    }
    var sentences: [String] = []
    if choice.variant.isFloat {
      var sentence = "Do not compress here: on \(ranks) ranks a step takes \(time) with --codec none\(mode)"
      if let codes {
        let gain = choice.seconds / codes.seconds
        sentence +=
          gain > 1
          ? "; \(codes.variant.codec) would take \(Quantity.text(ofSeconds: codes.seconds)), not enough less for what it loses"
            + codes.signalClause
          : "; \(codes.variant.codec) would take \(Quantity.text(ofSeconds: codes.seconds))"
      }
      sentences.append(sentence + ".")
    } else {
      var sentence = "On \(ranks) ranks use --codec \(choice.variant.codec)\(mode): a step takes \(time)"
      if let floats {
        sentence +=
          ", \(Quantity.significant(floats.seconds / choice.seconds)) times less than with floats "
          + "(\(Quantity.text(ofSeconds: floats.seconds)))" + choice.signalClause
      }
      sentences.append(sentence + ".")
    }
    sentences.append(
      speedUp < 1
        ? "One rank alone would be \(Quantity.significant(1 / speedUp)) times faster."
        : "That is \(Quantity.significant(speedUp)) times faster than one rank.")
    sentences.append(extent)
    return sentences.joined(separator: " ")
  }

  /// The options of the recommended step besides its codec.
  private var mode: String {
    (choice.variant.isDoubleBuffered || choice.variant.schedule.stepsPerExchange > 1
      ? ", --strategy \(choice.variant.strategy.specification)" : "")
      + (choice.variant.topology == .hierarchical ? ", --topology hierarchical" : "")
  }

  /// How far adding ranks pays.
  private var extent: String {
    let gain = "\(Quantity.significant(pays.speedUp)) times faster than one, with an efficiency of at least 50 %"
    switch end {
    case .host(let most) where pays.ranks == most:
      return "The network to other hosts is not known: start it on several hosts, or give --bandwidth and --latency."
    case .ranks(let most) where pays.ranks == most: return "More ranks pay up to \(most), the most that are predicted: \(gain)."
    default: break
    }
    return pays.ranks == 1
      ? "More ranks do not pay: two would have an efficiency below 50 %." : "More ranks pay up to about \(pays.ranks): \(gain)."
  }
}
