import ArgumentParser
import Buffers
import Files
import Planner
import Reporting
import Strategies
import Trainer

/// The options of the run that is planned.
enum PlannedRun: OptionSection {
  static let title = "What is trained"
  static let fields = runOptions(["model", "data", "minibatch", "optimizer", "seed", "threads"])
}

/// The options of a run for how ranks exchange what a plan measures.
enum PlannedExchange: OptionSection {
  static let title = "Ranks and hosts"
  static let fields = runOptions(["topology", "transport"])
}

/// The options of a run for what a plan reports while it measures.
enum PlannedReports: OptionSection {
  static let title = "Output"
  static let fields = runOptions(["quiet"])
}

/// The options of a run with these names.
private func runOptions(_ names: [String]) -> [OptionField] {
  names.map { name in
    do { return try TrainerOptions.field(name) } catch { fatalError("\(error)") }
  }
}

/// The subject of a plan.
struct PlanSubject: ParsableArguments {
  @Option(help: ArgumentHelp("A YAML file of options of a run; the command line overrides it.", valueName: "file"))
  var config: String?
  @OptionGroup var run: TableOptions<PlannedRun>
  @Option(
    help: ArgumentHelp(
      "The strategy to recommend for, or one without steps (asgd, ssp, easgd, ad-psgd …) to compare. (default: the better one)",
      valueName: "spec"))
  var strategy: String?
  @Option(
    parsing: .singleValue,
    help: ArgumentHelp("A codec to compare with floats; may be repeated. (default: all)", valueName: "spec"))
  var codec: [String] = []

  /// Sets the options of the run: those of the file, then those of the command line, then `others` from other groups.
  func fill(_ request: inout PlanRequest, with others: [(name: String, text: String)]) throws(OptionError) {
    try Launch.checkConfiguration(config)
    let strategies = strategy.map { [(name: "strategy", text: $0)] } ?? []
    let options = try TrainerOptions(configuration: config, commandLine: run.given + strategies + others)
    request.options = options
    request.namesRun = config != nil || run.given.contains { ["model", "data"].contains($0.name) }
    request.codecs = codec
    // Only if it was given: a default must not keep another from being recommended.
    guard options.given.contains("strategy") else { return }
    let planned: PlannedStrategy
    do { planned = try PlannedStrategy(options.strategy) } catch {
      throw OptionError("--strategy \(options.strategy): \(error)")
    }
    request.strategy = planned
    if let obstacle = planned.obstacle { throw OptionError("--strategy \(planned.specification): \(obstacle)") }
  }
}

/// The ranks that a plan is for.
struct PlanPlace: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The ranks to recommend for. (default: those it runs on, or the most that pay)", valueName: "n"))
  var ranks: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Ranks of a full host. (default: as it runs)", valueName: "n"))
  var ranksPerHost: String?
  @OptionGroup var exchange: TableOptions<PlannedExchange>

  func fill(_ request: inout PlanRequest) throws(OptionError) {
    request.ranks = try number(ranks, "ranks")
    request.ranksPerHost = try number(ranksPerHost, "ranks-per-host")
  }

  private func number(_ text: String?, _ name: String) throws(OptionError) -> Int? {
    guard let text else { return nil }
    guard let value = Int(text), value >= 1 else { throw OptionError("--\(name) is a whole number from 1, not '\(text)'") }
    return value
  }
}

/// Costs that need not be measured.
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
  @Flag(help: "Measure the other costs for about one second instead of ten.") var brief = false

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

/// The output of a plan.
struct PlanTelling: ParsableArguments {
  @Flag(help: "Print one JSON object instead of tables.") var json = false
  @Option(help: ArgumentHelp("A picture of speed-up against ranks, as SVG.", valueName: "file")) var plot: String?
  @OptionGroup var reports: TableOptions<PlannedReports>

  /// The destination of the picture, checked before anything is measured; nil if none was requested.
  ///
  /// - Parameter config: The input file, which it must not replace.
  func picture(config: String?) throws -> FileDestination? {
    let faults = FileConflicts.faults(outputs: [("plot", plot)], inputs: [("config", config)])
    guard faults.isEmpty else { throw OptionError(faults.joined(separator: "\n")) }
    return try plot.map(FileDestination.init)
  }

  /// Writes the picture, and prints the plan with its recommendation as far as `request` allows.
  func tell(_ plan: ScalingPlan, for request: PlanRequest, costs: JSONValue, picture: FileDestination?) throws {
    let recommendation = Recommendation(request.restrictingTopology(of: plan), isAllowed: request.allows)
    let text =
      json
      ? "\(plan.json(recommendation, costs: costs))\n"
      : plan.text + "\n" + (recommendation.map { "\n\($0.sentence)\n" } ?? "") + (plan.pace.map { "\($0.sentence)\n" } ?? "")
    // Each is written even if the other cannot be; if the picture goes to standard output, nothing else does.
    let writing = Result { try picture.map { try plan.plot.write(to: $0) } }
    if picture?.isStandardOutput ?? false { Terminal.write(text) } else { try StandardStreams.write(text) }
    _ = try writing.get()
  }
}
