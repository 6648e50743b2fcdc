import ArgumentParser

/// What one bit, and half a minibatch's delay on top of it, do to accuracy.
struct Table2: PaperTable {
  static let configuration = CommandConfiguration(abstract: "The effect of one bit and of double buffering on accuracy.")

  @OptionGroup var speech: Speech
  @OptionGroup var telling: Telling

  /// A kind of hidden unit with its learning rate, and the paper's figures for each exchange.
  private struct Units {
    let name: String
    /// The keys of the model.
    let keys: String
    let learningRate: Double
    let paper: [String]
  }

  private static let units = [
    Units(
      name: "sigmoid", keys: "activation=sigmoid,start=he", learningRate: 0.3,
      paper: ["16.5 (55.6)", "16.3 (55.5)", "16.5 (55.3)"]),
    Units(name: "ReLU", keys: "activation=relu", learningRate: 0.05, paper: ["16.5 (62.8)", "16.6 (61.7)", "16.6 (62.4)"]),
  ]

  private static let exchanges: [(name: String, options: [String])] = [
    ("floats", ["--codec", "none"]),
    ("1 bit", ["--codec", "one-bit"]),
    ("1 bit, double buffering", ["--codec", "one-bit", "--strategy", "double-buffer"]),
  ]

  func checkRequirements() throws { try speech.checkData() }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let (hidden, seeds) = (speech.hidden ?? "512,512,512", speech.seeds ?? 3)
    let rows = Self.units.flatMap { units in
      Self.exchanges.map { exchange in
        Row(
          "\(units.name), \(exchange.name)", ranks: speech.ranks,
          [
            "--model", "mlp:\(hidden),\(units.keys)", "--learning-rate", String(units.learningRate), "--warm-start",
            String(speech.steps / 4),
          ] + exchange.options)
      }
    }
    let accuracies = try speech.reports(of: rows, seeds: 1...seeds, from: laboratory).map { try Accuracy($0) }

    var table = TextTable(
      "Table 2: the effect of one bit and of double buffering on accuracy, in percent",
      columns: ["hidden units", "exchange", "paper: WER (frames)", "digits wrong", "frames right", "against floats"])
    for (index, accuracy) in accuracies.enumerated() {
      let (unit, exchange) = index.quotientAndRemainder(dividingBy: Self.exchanges.count)
      let floats = accuracies[unit * Self.exchanges.count].frames.mean
      table.add([
        Self.units[unit].name, Self.exchanges[exchange].name, Self.units[unit].paper[exchange],
        accuracy.digitErrors.text(digits: 1), accuracy.frames.text(digits: 1),
        exchange == 0 ? "" : signed(accuracy.frames.mean - floats, digits: 1),
      ])
    }
    table.notes = [
      speech.setting(hidden: hidden, seeds: 1...seeds),
      "All rows exchange floats in the first quarter of the run (the paper: its first 24 hours on one GPU). Learning rates: "
        + Self.units.map { "\($0.learningRate) for \($0.name)" }.joined(separator: ", ") + ", decaying as a cosine.",
    ]
    return [table]
  }
}
