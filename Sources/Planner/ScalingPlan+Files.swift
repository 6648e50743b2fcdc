public import Files
public import Reporting

extension ScalingPlan {
  /// The plan as one JSON object, with `recommendation` and the measured costs.
  public func json(_ recommendation: Recommendation?, costs measured: JSONValue = .null) -> JSONValue {
    [
      "plan": .string(subject), "minibatch": .integer(minibatch), "oneRankSeconds": .number(oneRankSeconds),
      "costs": measured,
      "saturation": .array(
        saturation.map { row in
          [
            "codec": .string(row.codec), "ratio": .number(row.ratio), "ranks": ScalingPlan.json(row.plain),
            "ranksDoubleBuffered": ScalingPlan.json(row.doubleBuffered),
            "fixedCostLimited": .bool(row.doubleBuffered == .fixedCostLimited),
          ]
        }),
      "predictions": .array(
        predictions.map { prediction in
          [
            "codec": .string(prediction.variant.codec), "topology": .string(prediction.variant.topology.rawValue),
            "doubleBuffered": .bool(prediction.variant.isDoubleBuffered), "ranks": .integer(prediction.ranks),
            "hosts": .integer(prediction.hosts), "seconds": .number(prediction.seconds),
            "computeSeconds": .number(prediction.computeSeconds), "exchangeSeconds": .number(prediction.exchangeSeconds),
            "bytesSent": .integer(prediction.bytesSent), "messages": .integer(prediction.messages),
            "statisticsSeconds": .number(prediction.statisticsSeconds),
            "statisticsBytesSent": .integer(prediction.statisticsBytesSent),
            "statisticsMessages": .integer(prediction.statisticsMessages),
            "speedUp": .number(speedUp(prediction)),
          ]
        }),
      "recommendation": recommendation.map(ScalingPlan.json) ?? .null, "pace": pace?.json ?? .null,
    ]
  }

  private static func json(_ saturation: ScalingModel.Saturation?) -> JSONValue {
    if case .ranks(let ranks) = saturation { return .number(ranks) }
    return .null
  }

  private static func json(_ recommendation: Recommendation) -> JSONValue {
    let choice = recommendation.choice
    return [
      "ranks": .integer(recommendation.ranks), "codec": .string(choice.variant.codec),
      "topology": .string(choice.variant.topology.rawValue), "doubleBuffered": .bool(choice.variant.isDoubleBuffered),
      "seconds": .number(choice.seconds), "speedUp": .number(recommendation.speedUp),
      "ranksThatPay": .integer(recommendation.pays.ranks), "text": .string(recommendation.sentence),
    ]
  }

  /// The speed-up against the number of ranks, with a curve for each step variant.
  public var plot: SVGPlot {
    let variants = variants
    var series: [SVGPlot.Series] = []
    for variant in variants.filter({ !$0.isDoubleBuffered }) {
      for strategy in PlannedStrategy.compared {
        var next = variant
        next.strategy = strategy
        let points = predictions.filter { $0.variant == next }.map { (x: Double($0.ranks), y: speedUp($0)) }
        guard !points.isEmpty else { continue }
        let name =
          variant.codec + (variant.topology == .hierarchical ? ", hierarchical" : "")
          + (next.isDoubleBuffered ? ", double-buffered" : "")
        series.append(SVGPlot.Series(name, points, isVariant: next.isDoubleBuffered))
      }
    }
    let most = predictions.map(\.ranks).max() ?? 1
    let fastest = predictions.map(speedUp).max() ?? 1
    // The ideal only as far as the curves go, so that they fill the plot.
    let end = min(Double(most), 2 * fastest)
    series.append(SVGPlot.Series("linear", [(1, 1), (end, end)], isReference: true))
    return SVGPlot(
      title: "Speed-up of \(subject), \(minibatch) samples a step", x: .init("ranks", .logarithmic(base: 2)),
      y: .init("times faster than one rank", .logarithmic(base: 2)), series: series)
  }
}
