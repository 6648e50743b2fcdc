internal import Buffers
internal import Collectives
internal import Datasets
internal import Files
internal import MPI
internal import Networks
internal import Strategies
internal import Transport

/// The text that users see before a run begins.
struct StartSummary {
  let text: String

  /// Describes a run.
  ///
  /// - Parameters:
  ///   - context: What the run was prepared with.
  ///   - plan: Which samples belong to which step.
  ///   - parameterCount: The number of parameters of the whole model.
  ///   - clients: The order of the clients' samples; nil without clients.
  ///   - codecChoice: The codec that the ranks have chosen; nil if the options name one.
  ///   - report: The predicted cost of an exchange.
  init(
    _ context: RunContext, plan: RunPlan, parameterCount: Int, clients: ClientOrder?, codecChoice: CodecChoice?,
    _ report: ExchangeReport
  ) {
    let (options, grid) = (context.options, context.grid)
    let ranks = counted(context.world.count, "rank")
    let hosts = counted(grid.all.hostCount, "host")
    var lines = [
      "\(ranks) on \(hosts): \(options.model), \(parameterCount) parameters, on \(options.data), "
        + "\(plan.sampleCount) training and \(context.dataset.count(.test)) test samples",
      "\(counted(plan.steps, "step")) of \(plan.minibatch) samples, \(plan.stepsPerEpoch) to an epoch"
        + (options.tuneMinibatch == nil ? "" : "; fewer if the minibatch grows"),
    ]
    if let clients {
      let counts = clients.clients.map(\.count)
      lines.append(
        "\(counted(clients.clients.count, "client")) of \(counts.min() ?? 0) to \(counts.max() ?? 0) samples, "
          + "\(clients.sampledCount) of them in a \(report.shape.stepsPerExchange == 1 ? "step" : "round")")
    }
    if let slice = context.network as? any SlicedNetwork { lines.append(StartSummary.slices(slice, plan, grid)) }
    if let codecChoice { lines.append("the ranks chose the codec \(codecChoice.specification): \(codecChoice.reason)") }
    lines.append(StartSummary.traffic(plan, report, grid))
    let width = TrainerOptions.fields.map(\.name.count).max() ?? 0
    for field in TrainerOptions.fields where !field.isHidden {
      let padding = String(repeating: " ", count: width - field.name.count)
      let value = field.read(options) ?? StartSummary.derived(field.name, plan)
      let mark = field.isUsual(options) ? "  (default)" : ""
      lines.append("  \(field.name)\(padding)  \(value)\(mark)")
    }
    text = lines.joined(separator: "\n")
  }

  /// How models are split, and the cost.
  private static func slices(_ slice: any SlicedNetwork, _ plan: RunPlan, _ grid: RankGrid) -> String {
    let samples = plan.places(of: 0, rank: grid.share, ranks: grid.shareCount).count
    let bytes = withPrefix(Double((slice.bytesPerSample.forward + slice.bytesPerSample.backward) * samples)) + "B"
    let each = grid.shareCount > 1 ? " each" : ""
    return "\(counted(grid.shareCount, "model")) in \(grid.sliceCount) slices\(each): this rank holds "
      + "\(slice.layout.count) parameters and sends \(bytes) of activations a step"
  }

  /// What a rank will send in a step.
  private static func traffic(_ plan: RunPlan, _ report: ExchangeReport, _ grid: RankGrid) -> String {
    let parts = report.shape.fragments == 1 ? "" : ", in \(report.shape.fragments) parts,"
    let often = report.shape.stepsPerExchange == 1 ? "a step" : "every \(report.shape.stepsPerExchange) steps\(parts)"
    let floats = withPrefix(Double(report.floatTraffic.bytesSent)) + "B"
    guard report.floatTraffic.bytesSent > 0 else {
      let who = grid.sliceCount > 1 ? "one model: no gradients are" : "one rank: nothing is"
      return "\(who) exchanged, nothing is compressed"
    }
    let warmStart = counted(min(plan.warmStart, plan.steps), "step")
    guard report.isCompressed else {
      let start = plan.warmStartPhases.contains(.replicated) ? "nothing in the replicated start of \(warmStart), then " : ""
      return "this rank sends \(start)\(floats) \(often), as floats"
    }
    func amount(_ traffic: Traffic) -> String {
      (report.predictsAtMost ? "at most " : "") + withPrefix(Double(traffic.bytesSent)) + "B"
    }
    let codes =
      amount(report.predictedTraffic) + (report.settledTraffic.map { " at first, after the ramp \(amount($0))," } ?? "")
    let start =
      if plan.warmStart == 0 {
        ""
      } else if plan.warmStartPhases.isOpen {
        "\(floats) \(often) until the gradient is 80 % noise, for \(warmStart) at most, then "
      } else if plan.warmStartPhases.contains(.replicated) {
        "nothing in the replicated start of \(warmStart), then "
      } else if !plan.warmStartPhases.bitCounts.isEmpty {
        "fewer and fewer bits in the warm start of \(warmStart), then "
      } else {
        "\(floats) \(often) in the warm start of \(warmStart), then "
      }
    return "this rank sends \(start)\(codes) \(often) by \(report.codec) (floats: \(floats))"
  }

  /// The effective value of an option that was not given.
  private static func derived(_ name: String, _ plan: RunPlan) -> String {
    switch name {
    case "steps": "\(plan.steps)"
    case "warm-start": "\(plan.warmStart)"
    case "evaluate-every": "\(plan.stepsPerEpoch)"
    default: "none"
    }
  }
}
