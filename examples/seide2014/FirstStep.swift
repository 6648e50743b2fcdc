import ArgumentParser
import Foundation
import Laboratory

/// What lets one bit from the first step keep the accuracy of floats: our own experiment, without a table in the paper.
struct FirstStep: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "What lets one bit from the first step, without a warm start, keep the accuracy of floats.")

  @Option(help: ArgumentHelp("The data: the folder of MNIST's four files.", valueName: "spec"))
  var data = "idx:../shared/data/mnist"
  @Option(help: ArgumentHelp("The model.", valueName: "spec")) var model = "mlp:512,512"
  @Option(help: ArgumentHelp("The passes over the data.", valueName: "n")) var epochs = 5
  @Option(help: ArgumentHelp("The ranks of a run.", valueName: "n")) var ranks = 8
  @Option(help: ArgumentHelp("How many seeds a figure is the mean of.", valueName: "n")) var seeds = 3
  @OptionGroup var telling: Telling

  private static let rows: [(name: String, options: [String])] = [
    ("floats", ["--codec", "none"]),
    ("1 bit after 117 steps of floats", ["--warm-start", "117"]),
    ("1 bit from the first step", []),
    ("… rate 0.05", ["--learning-rate", "0.05"]),
    ("… rate 0.02", ["--learning-rate", "0.02"]),
    ("… rate rises over 117 steps", ["--schedule", "cosine:warmup=117"]),
    ("… rate rises over 300 steps", ["--schedule", "cosine:warmup=300"]),
    ("… norm of the sum at most 1", ["--clip", "1"]),
    ("… norm of the sum at most 0.5", ["--clip", "0.5"]),
    ("… norm of the sum at most 0.3", ["--clip", "0.3"]),
    ("… momentum 0, rate 1", ["--momentum", "0", "--learning-rate", "1"]),
    ("… momentum 0.8, rate 0.2", ["--momentum", "0.8", "--learning-rate", "0.2"]),
    ("… momentum 0.95, rate 0.05", ["--momentum", "0.95", "--learning-rate", "0.05"]),
    ("… groups of 128", ["--codec", "one-bit:group=128"]),
    ("… minibatches of 1024", ["--minibatch", "1024"]),
    ("… AdaGrad on the sum, rate 0.05", ["--optimizer", "adagrad", "--learning-rate", "0.05"]),
    ("… AdaGrad on each part, rate 0.05", ["--optimizer", "adagrad:place=partial", "--learning-rate", "0.05"]),
  ]

  func validate() throws {
    for (name, value) in [("epochs", epochs), ("ranks", ranks), ("seeds", seeds)] where value < 1 {
      throw ValidationError("--\(name) is at least 1, not \(value)")
    }
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let jobs = Self.rows.flatMap { row in (1...seeds).map { job(row.name, row.options, seed: $0) } }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "One bit from the first step: test accuracy in percent",
      columns: ["exchange", "accuracy", "against floats", "residual ratio"])
    var floats = 0.0
    for (index, row) in Self.rows.enumerated() {
      let own = Array(reports[index * seeds..<(index + 1) * seeds])
      let accuracy = Sample(values: try own.map { try 100 * $0.number("testAccuracy") })
      if index == 0 { floats = accuracy.mean }
      table.add([
        row.name, accuracy.text(digits: 2), index == 0 ? "" : signed(accuracy.mean - floats, digits: 2),
        index == 0 ? "" : Sample(values: own.map(residualRatio)).text(digits: 1),
      ])
    }
    table.notes = [
      "\(model), \(data.split(separator: ":").first ?? ""), \(epochs) epochs, \(ranks) ranks, minibatch 256, rate 0.1 with momentum "
        + "0.9, falling as a cosine, unless a row says otherwise; \(seeds == 1 ? "seed 1" : "mean (and range) of seeds 1–\(seeds)").",
      "Residual ratio: what was not sent yet, as a multiple of the gradients, the median over a run's logged steps.",
    ]
    return [table]
  }

  private func job(_ name: String, _ options: [String], seed: Int) -> Job {
    let usual = options.contains("--warm-start") || options.contains("none") ? [] : ["--warm-start", "0"]
    return Job(
      name: "\(name), seed \(seed)", program: "train", ranks: ranks,
      arguments: ["--data", data, "--model", model, "--epochs", String(epochs), "--seed", String(seed)] + usual + options)
  }

  /// The median ratio of residuals to gradients in a run.
  private func residualRatio(_ report: Report) -> Double {
    let ratios = report.lines.compactMap { $0["residualRatio"] as? Double }.sorted()
    return ratios.isEmpty ? 0 : ratios[ratios.count / 2]
  }
}
