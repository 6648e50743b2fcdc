internal import Files
internal import Strategies
internal import Trainer

extension ScalingPlan {
  /// The plan as text for a terminal: costs, K̂, and a table of step times and speed-ups.
  public var text: String {
    var lines = ["\(subject), \(minibatch) samples a step"]
    let width = costs.map(\.name.count).max() ?? 0
    lines += costs.map { "  \($0.name.padded(to: width))  \($0.text)" }
    if model != nil { lines += [""] + saturationLines }
    lines += [""] + tableLines
    if !roundLines.isEmpty { lines += [""] + roundLines }
    if let pace { lines += [""] + pace.lines }
    return lines.joined(separator: "\n")
  }

  private var saturationLines: [String] {
    let width = max(14, saturation.map(\.codec.count).max() ?? 0)
    var lines = [
      "K̂, the number of ranks at which computing takes as long as the exchange (Seide et al. 2014, equation 4)",
      "  \("".padded(to: width))  times smaller     plain  double-buffered",
    ]
    for row in saturation {
      lines.append(
        "  \(row.codec.padded(to: width))  \(Quantity.significant(row.ratio).padded(to: 13, left: true))"
          + "  \(name(of: row.plain).padded(to: 8, left: true))  \(name(of: row.doubleBuffered).padded(to: 15, left: true))")
    }
    if saturation.contains(where: { $0.doubleBuffered == .fixedCostLimited }) {
      lines.append(
        "  no limit: with any number of ranks, the exchange takes no longer than what every rank does for each update")
    }
    return lines
  }

  /// K̂ to three digits.
  private func name(of saturation: ScalingModel.Saturation?) -> String {
    switch saturation {
    case .ranks(let ranks): Quantity.significant(ranks)
    case .fixedCostLimited: "no limit"
    case nil: "–"
    }
  }

  /// How much of their time ranks compute that take steps alone, and how many steps make it 95 %.
  private var roundLines: [String] {
    variants.filter { $0.schedule.stepsPerExchange > 1 }.compactMap { variant in
      let rows = predictions.filter { $0.variant == variant && $0.ranks > 1 }
      guard let row = rows.first(where: { $0.ranks == ranks }) ?? rows.last, let steps = row.stepsForComputing else {
        return nil
      }
      let topology = variant.topology == .hierarchical ? ", hierarchical," : ""
      let schedule = variant.schedule
      let parts = schedule.fragments == 1 ? "" : " in \(schedule.fragments) parts"
      let hidden = schedule.delay == 0 ? "" : ", during the next \(counted(schedule.delay, "step"))"
      return
        "\(variant.codec)\(topology) every \(schedule.stepsPerExchange) steps\(parts)\(hidden) on \(row.ranks) ranks: they compute "
        + "\(decimal(100 * row.aloneSeconds / row.seconds, digits: 1)) % of the time; 95 % from steps=\(steps) on"
    }
  }

  /// A row for each rank count, a column for each step variant.
  private var tableLines: [String] {
    let variants = variants
    // A codec's name is enough, unless two codecs have the same.
    let codecs = Set(variants.map(\.codec))
    func title(_ codec: String) -> String {
      let name = codec.prefix { $0 != ":" }
      return codecs.count { $0.prefix { $0 != ":" } == name } == 1 ? String(name) : codec
    }
    let width = max(15, codecs.map { title($0).count }.max() ?? 0)
    var lines = [
      "step time with --overlap off, and how many times faster than one rank (\(Quantity.text(ofSeconds: oneRankSeconds)))",
      "  ranks" + variants.map { "  " + title($0.codec).padded(to: width, left: true) }.joined(),
    ]
    func marks(_ names: [String]) {
      guard names.contains(where: { !$0.isEmpty }) else { return }
      lines.append("       " + names.map { "  " + $0.padded(to: width, left: true) }.joined())
    }
    marks(variants.map { $0.isDoubleBuffered ? "double-buffered" : "" })
    marks(variants.map { $0.schedule.stepsPerExchange > 1 ? "every \($0.schedule.stepsPerExchange) steps" : "" })
    marks(variants.map { $0.topology == .hierarchical ? "hierarchical" : "" })
    for count in Set(predictions.map(\.ranks)).sorted() {
      let cells = variants.map { variant in
        guard let prediction = prediction(variant, ranks: count) else { return "–" }
        let speedUp = Quantity.significant(speedUp(prediction)).padded(to: 5, left: true)
        return "\(Quantity.text(ofSeconds: prediction.seconds)) \(speedUp)×"
      }
      lines.append(
        "  \(String(count).padded(to: 5, left: true))" + cells.map { "  " + $0.padded(to: width, left: true) }.joined())
    }
    return lines
  }
}

extension StringProtocol {
  /// Padded with spaces to `width` characters, at the end, or at the start if `left`.
  func padded(to width: Int, left: Bool = false) -> String {
    let space = String(repeating: " ", count: Swift.max(0, width - count))
    return left ? space + self : self + space
  }
}
