import ArgumentParser
import Files
import Planner
import Reporting
import Trainer

/// What is planned.
struct PlanSubject: ParsableArguments {
  @Option(help: ArgumentHelp("A YAML file of options of a run; the command line wins.", valueName: "file"))
  var config: String?
  @Option(help: ArgumentHelp("The model. (default: mlp:512,512)", valueName: "spec")) var model: String?
  @Option(help: ArgumentHelp("The data. (default: glyphs)", valueName: "spec")) var data: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("Samples per step over all ranks. (default: 256)", valueName: "n"))
  var minibatch: String?
  @Option(help: ArgumentHelp("How a gradient becomes an update. (default: sgd)", valueName: "spec")) var optimizer: String?
  @Option(help: ArgumentHelp("The strategy to recommend for. (default: the better one)", valueName: "spec"))
  var strategy: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("What everything random follows from. (default: 1)", valueName: "n"))
  var seed: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("Threads of matrix products per rank. (default: 1)", valueName: "n"))
  var threads: String?
  @Option(
    parsing: .singleValue,
    help: ArgumentHelp("A codec to compare with floats; again for more. (default: all)", valueName: "spec"))
  var codec: [String] = []

  func fill(_ request: inout PlanRequest) throws(OptionError) {
    let all = [
      ("model", model), ("data", data), ("minibatch", minibatch), ("optimizer", optimizer), ("strategy", strategy),
      ("seed", seed), ("threads", threads),
    ]
    try Launch.checkConfiguration(config)
    // A pipe can be read once.
    let configured = try config.map { (path) throws(OptionError) in
      (path: path, texts: try TrainerOptions.texts(ofConfiguration: path))
    }
    request.options = try TrainerOptions(configured, all.compactMap { name, text in text.map { (name, $0) } })
    request.namesRun = config != nil || model != nil || data != nil
    request.codecs = codec
    // Only what was said: a default is no reason not to recommend the other.
    request.strategy = strategy ?? configured?.texts.last { $0.name == "strategy" }?.text
  }
}

/// The ranks that a plan is for.
struct PlanPlace: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The ranks to recommend for. (default: those it is started on, or as many as pay)", valueName: "n"))
  var ranks: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Ranks of a full host. (default: as it is started)", valueName: "n"))
  var ranksPerHost: String?
  @Option(
    help: ArgumentHelp(
      "auto: shared memory inside a host; messages: messages everywhere. (default: auto)", valueName: "transport"))
  var transport: String?

  func fill(_ request: inout PlanRequest) throws(OptionError) {
    request.ranks = try number(ranks, "ranks")
    request.ranksPerHost = try number(ranksPerHost, "ranks-per-host")
    if let transport { try request.options.set("transport", to: transport) }
  }

  private func number(_ text: String?, _ name: String) throws(OptionError) -> Int? {
    guard let text else { return nil }
    guard let value = Int(text), value >= 1 else { throw OptionError("--\(name) is a whole number from 1, not '\(text)'") }
    return value
  }
}

/// Costs that need no measuring.
struct PlanCostOptions: ParsableArguments {
  @Option(
    parsing: .unconditional, help: ArgumentHelp("T_frm: the gradient of one sample on one rank.", valueName: "time"))
  var frameSeconds: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("C · T_post: passes over the gradient that the ranks share.", valueName: "time"))
  var postSeconds: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("T_upd: the update of the model, on every rank.", valueName: "time"))
  var updateSeconds: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("T_float: an exchange of all gradients as floats.", valueName: "time"))
  var floatExchangeSeconds: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The rate of a host's link in each direction: 100mbit, 40gbit.", valueName: "rate"))
  var bandwidth: String?
  @Option(parsing: .unconditional, help: ArgumentHelp("A small message from host to host, one way.", valueName: "time"))
  var latency: String?
  @Flag(help: "Measure the others for about a second instead of ten.") var brief = false

  func fill(_ request: inout PlanRequest) throws(OptionError) {
    request.frameSeconds = try seconds(frameSeconds, "frame-seconds")
    request.postSeconds = try seconds(postSeconds, "post-seconds")
    request.updateSeconds = try seconds(updateSeconds, "update-seconds")
    request.floatExchangeSeconds = try seconds(floatExchangeSeconds, "float-exchange-seconds")
    request.isBrief = brief
    request.latency = try seconds(latency, "latency")
    if let bandwidth {
      guard let rate = Quantity.bitsPerSecond(bandwidth) else {
        throw OptionError("--bandwidth is a rate such as 100mbit or 40gbit, not '\(bandwidth)'")
      }
      request.bandwidth = rate
    }
  }

  private func seconds(_ text: String?, _ name: String) throws(OptionError) -> Double? {
    guard let text else { return nil }
    guard let value = Quantity.seconds(text) else {
      throw OptionError("--\(name) is a time such as 0.118ms or 50us, not '\(text)'")
    }
    return value
  }
}

/// How a plan is told.
struct PlanTelling: ParsableArguments {
  @Flag(help: "Print one JSON object instead of tables.") var json = false
  @Option(help: ArgumentHelp("A picture of speed-up against ranks, as SVG.", valueName: "file")) var plot: String?
  @Flag(help: "No progress.") var quiet = false

  /// Where the picture goes, before anything is measured; nil where nobody asked for one.
  ///
  /// - Parameter config: What is read, which it must not replace.
  func picture(config: String?) throws -> FileDestination? {
    let faults = FileConflicts.faults(outputs: [("plot", plot)], inputs: [("config", config)])
    guard faults.isEmpty else { throw OptionError(faults.joined(separator: "\n")) }
    return try plot.map(FileDestination.init)
  }

  /// Writes the picture, and prints the plan with its recommendation, as far as `request` allows.
  func tell(_ plan: ScalingPlan, for request: PlanRequest, costs: JSONValue, picture: FileDestination?) throws {
    let recommendation = Recommendation(plan, isAllowed: request.allows)
    let text =
      json
      ? "\(plan.json(recommendation, costs: costs))\n"
      : plan.text + "\n" + (recommendation.map { "\n\($0.sentence)\n" } ?? "")
    // The one is written even where the other cannot be; a picture is all that standard output holds.
    let writing = Result { try picture.map { try plan.plot.write(to: $0) } }
    if picture?.isStandardOutput ?? false { Terminal.write(text) } else { try StandardStreams.write(text) }
    _ = try writing.get()
  }
}
