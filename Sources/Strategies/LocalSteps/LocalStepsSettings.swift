internal import Buffers
internal import Collectives

/// How the ranks of a run with local steps work together: the keys of `local` and of its short names.
struct LocalStepsSettings: Sendable {
  /// What becomes of a rank's inner optimizer where ranks meet.
  enum Inner: String, CaseIterable, Sendable {
    /// It stays as it is, on each rank its own.
    case keep
    /// Its momentum begins anew; what it knows of the sizes of gradients stays.
    case reset
    /// What it keeps becomes the mean over the ranks, sent as floats.
    case average
  }

  /// What a slower rank has less of.
  private enum Pace: String, CaseIterable {
    case samples, steps
  }

  /// A short name: what its keys are if they are not given.
  struct Preset: Sendable {
    var steps = 30
    var style: OuterRule.Style?
    var rate: Double?
    var momentum: Double?
    var proximal = 0.0
    var inner = Inner.keep
    /// Whether the outer momentum is 1 − 1/K on K ranks, and the model is the point before the look-ahead.
    var isBlockMomentum = false
  }

  /// H: the steps of a round.
  var steps: Int
  /// How the outer momentum acts; nil for what goes with the aggregation.
  var style: OuterRule.Style?
  /// α; nil for what goes with the rest.
  var rate: Double?
  /// μ; nil for what goes with the rest.
  var momentum: Double?
  /// μ of FedProx: how strongly a rank is held at the start of its round.
  var proximal: Float
  /// The rounds that cross as floats at first; nil for what goes with the aggregation.
  var warmStart: Int?
  var inner: Inner
  var isBlockMomentum: Bool
  /// P: the fragments of the model, of which one is exchanged at a time.
  var fragments: Int
  /// D: the steps that ranks take before they apply what an exchange brings.
  var delay: Int
  /// λ: how far a rank goes to the model where it meets it.
  var mix: Float

  /// E: the passes of a client over its samples in a round; nil for H steps.
  var epochs: Double?

  /// Whether slower ranks take fewer steps in a round, by `--shares`, and not fewer samples in a step.
  var pacesByTime = false

  /// Whether the models of ranks differ from that of the run at meetings.
  var keepsModels: Bool { fragments > 1 || delay > 0 || mix < 1 }
  /// The steps of a round, counted in it, between exchanges: one range for each fragment.
  var partsOfRound: [Range<Int>] { Partition(count: steps, into: fragments).ranges }
  /// When ranks exchange.
  var schedule: ExchangeSchedule {
    ExchangeSchedule(
      stepsPerExchange: steps, fragments: fragments, delay: delay, hiddenPart: delay > 0 ? .duringNextSteps : .none)
  }

  /// The keys of a specification, for `train list`.
  static func keys(_ preset: Preset) -> [(name: String, meaning: String)] {
    func text(_ value: Double?, otherwise: String) -> String { value.map { String($0) } ?? otherwise }
    let style = preset.style?.rawValue ?? "nesterov; none with a code that has a memory of its own"
    let momentum = preset.isBlockMomentum ? "1 − 1/K on K ranks" : "0.5; 0.9 with lion, 0 with such a code"
    return [
      ("steps", "H: the steps of --optimizer that a rank takes before ranks meet (\(preset.steps))"),
      ("outer", "what is done with the mean of the changes: nesterov, heavy-ball, lion or none (\(style))"),
      (
        "outer-rate",
        "α: how far the model follows it (\(text(preset.rate, otherwise: "0.7; 0.001 with lion, 1 without momentum")))"
      ),
      ("outer-momentum", "μ of the outer momentum (\(text(preset.momentum, otherwise: momentum)))"),
      ("proximal", "μ of FedProx: adds this times the way from the round's start to each gradient (\(preset.proximal))"),
      (
        "inner",
        "the optimizer of a rank where ranks meet: keep; reset, its momentum begins anew; average, over the ranks (\(preset.inner.rawValue))"
      ),
      (
        "epochs",
        "E, of clients: the passes over its own samples that a client makes in a round, instead of H steps; the round counts "
          + "as H (none)"
      ),
      (
        "pace",
        "what a slower rank has less of, by --shares: samples, in each step; or steps, of a round, at least 5 of them, without "
          + "the samples of the others (samples)"
      ),
      ("fragments", "P: the parts that the model is cut into; one is exchanged after every H/P steps, in turn (1)"),
      ("delay", "D, up to H/P: the steps that ranks go on before they apply what an exchange brings (0)"),
      ("mix", "λ, above 0: how far a rank goes to the model where it meets it, the whole way with 1 (1)"),
      ("warm-start", "rounds that cross as floats at first, unless --warm-start names steps (5 if they are encoded later)"),
    ]
  }

  /// Reads the keys of a specification.
  init(_ specification: Specification, _ preset: Preset) throws(SpecificationError) {
    func number(_ key: String, _ standard: Double?, in range: ClosedRange<Double>) throws(SpecificationError) -> Double? {
      specification.options[key] == nil ? standard : try specification.number(key, default: 0, in: range)
    }
    steps = try specification.integer("steps", default: preset.steps, in: 1...1_000_000)
    style = specification.options["outer"] == nil ? preset.style : try specification.choice("outer", default: .nesterov)
    rate = try number("outer-rate", preset.rate, in: 0...1e6)
    momentum = try number("outer-momentum", preset.momentum, in: 0...0.999999)
    proximal = Float(try specification.number("proximal", default: preset.proximal, in: 0...1e6))
    inner = try specification.choice("inner", default: preset.inner)
    if specification.options["warm-start"] != nil {
      warmStart = try specification.integer("warm-start", default: 0, in: 0...1_000_000)
    }
    isBlockMomentum = preset.isBlockMomentum
    fragments = try specification.integer("fragments", default: 1, in: 1...steps)
    delay = try specification.integer("delay", default: 0, in: 0...steps / fragments)
    pacesByTime = try specification.choice("pace", default: Pace.samples) == .steps
    epochs = try number("epochs", nil, in: 0.000001...1e6)
    mix = Float(try specification.number("mix", default: 1, in: 0...1))
    guard mix > 0 else {
      throw SpecificationError("'\(specification)': with mix=0 no rank learns of the others; above 0 it does")
    }
    if style == OuterRule.Style.none, let momentum, momentum > 0, specification.options["outer-momentum"] != nil {
      throw SpecificationError("'\(specification)': outer=none has no momentum, not outer-momentum=\(momentum)")
    }
  }

  /// Throws if the run has no clients that make passes.
  func check(_ options: TrainerOptions) throws(OptionError) {
    let name = "--strategy \(options.strategy.prefix { $0 != ":" })"
    guard epochs == nil || options.clients != nil else {
      throw OptionError(
        "\(name): epochs are passes of a client over its samples; say --clients or --partition, or leave it out")
    }
  }

  /// The outer step on `rankCount` ranks, for an aggregation that delivers `result`.
  ///
  /// A code that delivers a change has a memory, and in it the momentum of the heavy ball: none by default, as Ψ that is sent late
  /// already counts twice with it.
  /// Source: frontier F1.2 (α/(1 − μ)·p/δ ≤ 2), F1.6.
  func rule(rankCount: Int, result: AggregationResult) throws(OptionError) -> OuterRule {
    let isChange = result == .change
    var rule = OuterRule()
    rule.style = style ?? (isChange ? (momentum ?? 0) > 0 ? .heavyBall : .none : .nesterov)
    if isChange, rule.style == .lion || (rule.style == .nesterov && momentum != 0) {
      throw OptionError(
        "--strategy: outer=\(rule.style.rawValue) does not go with a code that has the momentum in its memory; outer=heavy-ball or "
          + "outer=none does")
    }
    let usual = isBlockMomentum ? 1 - 1 / Double(rankCount) : rule.style == .lion ? 0.9 : isChange ? 0 : 0.5
    let momentum = rule.style == .none ? 0 : momentum ?? usual
    rule.momentum = Float(momentum)
    rule.rate = Float(rate ?? (rule.style == .lion ? 0.001 : momentum == 0 || isBlockMomentum ? 1 : 0.7))
    if rule.style != .lion && momentum == 0 { rule.style = .none }
    return rule
  }

  /// The steps that cross as floats at first, if the aggregation may have a warm start.
  func warmStartSteps(isCoded: Bool) -> Int { (warmStart ?? (isCoded ? 5 : 0)) * steps }

  /// What the run cannot be used with.
  var obstacles: StrategyObstacles {
    var obstacles = StrategyObstacles()
    obstacles.automaticCodec = "whose exchanges cannot be timed beforehand"
    obstacles.slices = "whose ranks take steps alone, while slices of a model wait for one another in each layer; leave it out"
    if keepsModels {
      obstacles.clients =
        "whose ranks go on from models of their own with fragments, delay and mix, while clients begin each round at the model "
        + "of the run; leave these keys out"
    }
    obstacles.startInStep = "whose ranks are not in step; a number of steps is"
    obstacles.tuning = "whose ranks are not in step"
    if pacesByTime {
      obstacles.equalShares =
        "pace=steps follows the speeds of --shares measured, or the numbers of --shares; give one of them"
    }
    obstacles.wholeSums = "in which no rank has whole sums"
    if delay == 0 { obstacles.overlap = "whose ranks compute nothing during an exchange; with delay=D they take D steps" }
    return obstacles
  }

  /// What a rank keeps besides the model and its gradient: its own model, and what the outer step needs.
  @Sendable func memory(parameterCount: Int, rankCount: Int, isCoded: Bool) -> [(name: String, count: Int)] {
    var memory = [
      ("this rank's own model", parameterCount),
      ("the outer step", isBlockMomentum ? 3 * parameterCount : (parameterCount - 1) / rankCount + 1),
    ]
    if keepsModels { memory.append(("changes to be sent", parameterCount)) }
    if delay > 0 { memory.append(("a fragment on its way", 2 * ((parameterCount - 1) / fragments + 1))) }
    return memory
  }
}
