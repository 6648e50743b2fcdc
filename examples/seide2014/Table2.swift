import ArgumentParser
import Files
import Laboratory

/// The effect on accuracy of one bit, and of a delay of half a minibatch on top of it.
struct Table2: PaperTable {
  static let configuration = CommandConfiguration(abstract: "The effect of one bit and of double buffering on accuracy.")

  @OptionGroup var speech: Speech
  @OptionGroup var telling: Telling
  @Option(help: ArgumentHelp("Frames of a step; the learning rate of a frame stays.", valueName: "n")) var minibatch = 128

  /// A kind of hidden unit with its learning rate, and the paper's figures for each exchange.
  private struct Units {
    let name: String
    let hidden: String
    /// The keys of the model's specification.
    let keys: String
    let learningRate: Double
    let paper: [String]
  }

  private static let units = [
    Units(
      name: "sigmoid", hidden: "128,128", keys: "activation=sigmoid,start=he", learningRate: 0.1,
      paper: ["16.5 (55.6)", "16.3 (55.5)", "16.5 (55.3)"]),
    Units(
      name: "ReLU", hidden: "128,128,128", keys: "activation=relu", learningRate: 0.025,
      paper: ["16.5 (62.8)", "16.6 (61.7)", "16.6 (62.4)"]),
  ]

  private static let exchanges: [(name: String, options: [String])] = [
    ("floats", ["--codec", "none"]),
    ("1 bit", ["--codec", "one-bit"]),
    ("1 bit, double buffering", ["--codec", "one-bit", "--strategy", "double-buffer"]),
  ]

  func validate() throws {
    guard minibatch > 0 else { throw ValidationError("--minibatch is at least 1, not \(minibatch)") }
  }

  func checkRequirements() throws { try speech.checkData() }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let seeds = speech.seeds ?? 3
    let rows = Self.units.flatMap { units in
      Self.exchanges.map { exchange in
        Row(
          "\(units.name), \(exchange.name)", ranks: speech.ranks,
          [
            "--model", "mlp:\(speech.hidden ?? units.hidden),\(units.keys)", "--learning-rate",
            decimal(units.learningRate * Double(minibatch) / 128, digits: 4),
            "--warm-start",
            String(speech.steps(of: minibatch) / 4),
          ] + exchange.options, minibatch: minibatch)
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
      speech.setting(
        hidden: Self.units.map { "\(speech.hidden ?? $0.hidden) (\($0.name))" }.joined(separator: " and "),
        minibatch: minibatch,
        seeds: 1...seeds),
      "All rows exchange floats in the first quarter of the run (the paper: its first 24 hours on one GPU). Learning rates: "
        + Self.units.map { "\($0.learningRate) for \($0.name)" }.joined(separator: ", ")
        + " at 128 frames, decaying as a cosine. The delay of double buffering is half a minibatch, and costs more the larger that is.",
    ]
    return [table]
  }
}
