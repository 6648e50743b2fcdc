import ArgumentParser
import Trainer

/// What is planned.
struct PlanSubject: ParsableArguments {
  @Option(parsing: .unconditional, help: ArgumentHelp("Samples per step over all ranks. (default: 256)", valueName: "n"))
  var minibatch: String?
  @Option(
    parsing: .singleValue,
    help: ArgumentHelp("A codec to compare with floats; again for more. (default: all)", valueName: "spec"))
  var codec: [String] = []

  func fill(_ request: inout PlanRequest) throws(OptionError) {
    if let minibatch { try request.options.set("minibatch", to: minibatch) }
    request.codecs = codec
  }
}

/// The ranks that a plan is for.
struct PlanPlace: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The ranks to recommend for. (default: those it is started on, or as many as pay)", valueName: "n"))
  var ranks: String?

  func fill(_ request: inout PlanRequest) throws(OptionError) {
    request.ranks = try number(ranks, "ranks")
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

  func fill(_ request: inout PlanRequest) throws(OptionError) {
    request.frameSeconds = try seconds(frameSeconds, "frame-seconds")
    request.postSeconds = try seconds(postSeconds, "post-seconds")
    request.updateSeconds = try seconds(updateSeconds, "update-seconds")
    request.floatExchangeSeconds = try seconds(floatExchangeSeconds, "float-exchange-seconds")
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

  /// Prints the plan with its recommendation, and writes the picture.
  func tell(_ plan: ScalingPlan, costs: JSONValue) throws {
    let recommendation = Recommendation(plan)
    if json {
      print(plan.json(recommendation, costs: costs))
    } else {
      print(plan.text)
      if let recommendation { print("\n\(recommendation.sentence)") }
    }
    if let plot { try plan.plot.write(to: plot) }
  }
}
