internal import Buffers
public import Codecs
public import Collectives
public import Files
public import Strategies

/// What to plan: the run, the step variants, and known costs, which need no measuring.
public struct PlanRequest: Sendable {
  /// The run; its model, data, minibatch, optimizer, threads, topology, transport and seed are used.
  public var options = TrainerOptions()
  /// Whether model or data were named; if so, they are measured, whatever costs are given.
  public var namesRun = false
  /// The strategy to recommend for; nil for the better one.
  public var strategy: PlannedStrategy?
  /// The specifications of the aggregations to compare, as `--codec` takes them; all codecs by default.
  public var codecs: [String] = []
  /// The rank count to recommend for; by default that of the job if it has several.
  public var ranks: Int?
  /// Ranks of a full host; by default as in the job.
  public var ranksPerHost: Int?
  /// T_frm in seconds, if known.
  public var frameSeconds: Double?
  /// C · T_post in seconds, if known.
  public var postSeconds: Double?
  /// T_upd in seconds, if known.
  public var updateSeconds: Double?
  /// T_float in seconds, if known.
  public var floatExchangeSeconds: Double?
  /// The rate of a host's link in each direction, in bits per second, if known.
  public var bandwidth: Double?
  /// Seconds of a small message between hosts, if known.
  public var latency: Double?

  /// Whether to measure for about one second instead of ten.
  public var isBrief = false

  /// The valid ranges of costs: a plan divides by them, and values outside are mistakes.
  private static let times = 1e-12...1e6
  private static let rates = 1e3...1e15

  /// A request for the default run.
  public init() {}

  /// Throws an error with one line for each fault.
  public func validate() throws(OptionError) {
    var faults = options.faults()
    if let ranks, ranks < 1 { faults.append("--ranks is at least 1, not \(ranks)") }
    if let ranksPerHost, ranksPerHost < 1 { faults.append("--ranks-per-host is at least 1, not \(ranksPerHost)") }
    if let ranks, ranks > options.minibatch {
      faults.append(
        "--ranks \(ranks) is more than --minibatch \(options.minibatch); every rank needs at least one sample of a step")
    }
    if options.modelParallel > 1 {
      faults.append("a plan is for models that are whole on each rank; leave out --model-parallel \(options.modelParallel)")
    }
    if floatExchangeSeconds != nil && bandwidth != nil {
      faults.append("--float-exchange-seconds and --bandwidth give the same cost; leave one of them out")
    }
    let times = [
      ("frame-seconds", frameSeconds), ("post-seconds", postSeconds), ("update-seconds", updateSeconds),
      ("float-exchange-seconds", floatExchangeSeconds), ("latency", latency),
    ]
    for case let (name, seconds?) in times where !PlanRequest.times.contains(seconds) {
      faults.append("--\(name) is a time from 1e-6us to 1e6s, not \(seconds) s: nothing can be planned with such costs")
    }
    if let bandwidth, !PlanRequest.rates.contains(bandwidth) {
      faults.append("--bandwidth is a rate from 1kbit to 1000tbit, not \(bandwidth) bit/s: nothing can be planned with it")
    }
    guard faults.isEmpty else { throw OptionError(faults.joined(separator: "\n")) }
    _ = try chosenAggregations()
    if givenModel != nil { _ = try chosenCodecs() }
  }

  /// Whether a step variant may be recommended.
  public func allows(_ variant: StepVariant) -> Bool {
    guard let strategy else { return true }
    let schedule = strategy.schedule
    return variant.isDoubleBuffered == schedule.hidesWholeExchanges
      && variant.schedule.stepsPerExchange == schedule.stepsPerExchange
      && variant.schedule.fragments == schedule.fragments && variant.schedule.delay == schedule.delay
  }

  /// `plan` without the steps that the run's topology excludes.
  ///
  /// The topology `hierarchical` excludes flat exchanges between hosts of several ranks, `flat` all hierarchical ones, `auto` none.
  public func restrictingTopology(of plan: ScalingPlan) -> ScalingPlan {
    var plan = plan
    plan.predictions.removeAll { prediction in
      switch options.topology {
      case .auto: false
      case .flat: prediction.variant.topology == .hierarchical
      case .hierarchical:
        prediction.variant.topology == .flat && prediction.hosts > 1 && prediction.hosts < prediction.ranks
      }
    }
    return plan
  }

  /// The codecs to compare, for a plan by the paper's model, which knows nothing else.
  public func chosenCodecs() throws(OptionError) -> [any Codec] {
    try chosenAggregations().map { (aggregation) throws(OptionError) in
      guard let codec = aggregation.carrier else {
        throw OptionError(
          "--codec \(aggregation.specification): with --frame-seconds and --float-exchange-seconds alone only codecs are planned; "
            + "name a --model too")
      }
      return codec
    }
  }

  /// What is assumed of codes, in sentences: a plan is for what they send after a ramp.
  func assumptions(_ aggregations: [AggregationRecipe]) -> [String] {
    aggregations.filter(\.hasRamp).map { "the exchanges of \($0.specification) are those after its ramp" }
  }

  /// What is compared, floats first.
  public func chosenAggregations() throws(OptionError) -> [AggregationRecipe] {
    let names = codecs.isEmpty ? comparedCodecs : codecs
    var chosen: [AggregationRecipe] = []
    for name in (names.contains("none") ? [] : ["none"]) + names {
      do {
        let aggregation = try aggregations.make(name)
        if !chosen.contains(where: { $0.specification == aggregation.specification }) { chosen.append(aggregation) }
      } catch { throw OptionError("--codec: \(error)") }
    }
    return chosen
  }

  /// The paper's model, if its costs are given and no run is named; then nothing needs to be measured.
  public var givenModel: ScalingModel? {
    guard !namesRun, let frameSeconds, let floatExchangeSeconds else { return nil }
    return ScalingModel(
      minibatch: options.minibatch, frameSeconds: frameSeconds, postSeconds: postSeconds ?? 0,
      updateSeconds: updateSeconds ?? 0,
      floatExchangeSeconds: floatExchangeSeconds)
  }
}

extension ScalingModel {
  /// The costs by name, for display.
  public var lines: [(name: String, text: String)] {
    [
      ("T_frm", "\(Quantity.text(ofSeconds: frameSeconds)) a sample"), ("C · T_post", Quantity.text(ofSeconds: postSeconds)),
      ("T_upd", Quantity.text(ofSeconds: updateSeconds)), ("T_float", Quantity.text(ofSeconds: floatExchangeSeconds)),
    ]
  }

  /// The costs as JSON.
  public var json: JSONValue {
    [
      "frameSeconds": .number(frameSeconds), "postSeconds": .number(postSeconds), "updateSeconds": .number(updateSeconds),
      "floatExchangeSeconds": .number(floatExchangeSeconds),
    ]
  }
}
