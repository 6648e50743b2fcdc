import ArgumentParser
import Laboratory

/// Where AdaGrad scales gradients: each rank's part, the sum, or the smoothed sum.
struct Table3: PaperTable {
  static let configuration = CommandConfiguration(abstract: "AdaGrad at its three places.")

  @OptionGroup var speech: Speech
  @OptionGroup var telling: Telling
  @Option(name: .customLong("learning-rate"), help: ArgumentHelp("The rate of all runs with AdaGrad.", valueName: "x"))
  var rate = "0.5"

  private struct Place {
    let name: String
    let isParallel: Bool
    /// The place; nil for plain SGD.
    let place: String?
    let paper: String
  }

  private static let places = [
    Place(name: "no AdaGrad", isParallel: false, place: nil, paper: "–"),
    Place(name: "smoothed gradient", isParallel: false, place: "momentum", paper: "16.5 (57.4)"),
    Place(name: "gradient", isParallel: false, place: "aggregate", paper: "16.2 (58.2)"),
    Place(name: "smoothed gradient", isParallel: true, place: "momentum", paper: "–"),
    Place(name: "each rank's part", isParallel: true, place: "partial", paper: "16.1 (57.4)"),
    Place(name: "aggregate", isParallel: true, place: "aggregate", paper: "15.8 (59.1)"),
  ]

  func checkRequirements() throws { try speech.checkData() }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let (hidden, seeds) = (speech.hidden ?? "128,128", speech.seeds ?? 3)
    let rows = Self.places.map { place in
      Row(
        "AdaGrad: \(place.name)\(place.isParallel ? ", 1 bit" : "")", ranks: place.isParallel ? speech.ranks : 1,
        [
          "--model", "mlp:\(hidden)", "--codec", place.isParallel ? "one-bit" : "none", "--warm-start",
          String(speech.steps / 4), "--optimizer",
          place.place.map { "adagrad:place=\($0)" + ($0 == "momentum" ? "" : ",gain=unit") } ?? "sgd:gain=unit",
          "--learning-rate", rate,
        ])
    }
    let accuracies = try speech.reports(of: rows, seeds: 1...seeds, from: laboratory).map { try Accuracy($0) }
    var table = TextTable(
      "Table 3: AdaGrad at its three places, in percent",
      columns: ["exchange", "what AdaGrad scales", "paper: WER (frames)", "digits wrong", "frames right"])
    for (place, accuracy) in zip(Self.places, accuracies) {
      table.add([
        place.isParallel ? "\(speech.ranks) ranks, 1 bit" : "one rank, floats", place.name, place.paper,
        accuracy.digitErrors.text(digits: 2), accuracy.frames.text(digits: 2),
      ])
    }
    table.notes = [
      speech.setting(hidden: hidden, seeds: 1...seeds),
      "All rows: rate \(rate), decaying as a cosine, and momentum 0.9 with unit gain; AdaGrad divides by the mean of its "
        + "multipliers, so that the rate keeps its meaning. The first quarter exchanges floats.",
    ]
    return [table]
  }
}
