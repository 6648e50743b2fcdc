internal import Files

/// What to do, and why: one choice out of a plan.
///
/// What loses information must earn it: a code, a delay by half a minibatch, each must make a step faster by more than a tenth
/// before it is recommended, and the second on top of the first.
public struct Recommendation: Sendable {
  /// How much faster something must be before it is worth what it costs otherwise.
  public static let worthwhile = 1.1
  /// Ranks pay as long as this share of each is gained.
  public static let efficiency = 0.5

  /// The rank count that it is for.
  public var ranks: Int
  /// The step that is recommended.
  public var choice: StepPrediction
  /// The best step that exchanges floats.
  public var floats: StepPrediction?
  /// The best step that encodes.
  public var codes: StepPrediction?
  /// The most ranks that still gain half of what each could, and how many times faster they are than one.
  public var pays: (ranks: Int, speedUp: Double)
  /// How many times faster than one rank the choice is.
  public var speedUp: Double
  /// Where the plan ends.
  private let end: End

  /// Why there is no prediction for more ranks.
  private enum End {
    /// There would be more than samples, or than anybody has asked for.
    case ranks(Int)
    /// Nothing is known of a network.
    case host(ranks: Int)
  }

  /// Chooses from `plan` among the steps that `isAllowed` says can be done; nil where there is nothing to choose from.
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

  /// The fastest, if what loses something were so much slower as it would have to be faster to be worth it; the first of equals.
  private static func best(of predictions: [StepPrediction]) -> StepPrediction? {
    predictions.min { $0.price < $1.price }
  }
}

extension StepPrediction {
  /// The seconds of a step, ``Recommendation/worthwhile`` times as many for a code, and again for double buffering.
  ///
  /// Hierarchy loses nothing; it only has to be faster.
  fileprivate var price: Double {
    seconds * (variant.isFloat ? 1 : Recommendation.worthwhile) * (variant.isDoubleBuffered ? Recommendation.worthwhile : 1)
  }
}

extension StepVariant {
  /// Whether gradients cross as they are.
  public var isFloat: Bool { codec == "none" }
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
          ? "; \(codes.variant.codec) would take \(Quantity.text(ofSeconds: codes.seconds)), too little less for what it loses"
          : "; \(codes.variant.codec) would take \(Quantity.text(ofSeconds: codes.seconds))"
      }
      sentences.append(sentence + ".")
    } else {
      var sentence = "On \(ranks) ranks use --codec \(choice.variant.codec)\(mode): a step takes \(time)"
      if let floats {
        sentence +=
          ", \(Quantity.significant(floats.seconds / choice.seconds)) times less than with floats "
          + "(\(Quantity.text(ofSeconds: floats.seconds)))"
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

  /// How the recommended step is done beside its codec.
  private var mode: String {
    (choice.variant.isDoubleBuffered ? ", --strategy double-buffer" : "")
      + (choice.variant.topology == .hierarchical ? ", --topology hierarchical" : "")
  }

  /// How far more ranks pay.
  private var extent: String {
    let gain = "\(Quantity.significant(pays.speedUp)) times faster than one, each at least half used"
    switch end {
    case .host(let most) where pays.ranks == most:
      return "Of other hosts nothing is known: start it on several hosts, or give --bandwidth and --latency."
    case .ranks(let most) where pays.ranks == most: return "All ranks pay up to \(most), the last that are predicted: \(gain)."
    default: break
    }
    return pays.ranks == 1
      ? "More ranks do not pay: two would be less than half used." : "Ranks pay up to about \(pays.ranks): \(gain)."
  }
}
