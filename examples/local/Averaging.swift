import ArgumentParser
import Files
import Laboratory
import Reporting

/// Averages of models, block momentum and outer momenta in short runs, and codes with error feedback in them.
struct Averaging: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Local SGD, block momentum and DiLoCo on 8 ranks at the same samples, and compressed changes.")

  @OptionGroup var setting: Setting
  @Option(help: ArgumentHelp("Write accuracy against bytes as a picture.", valueName: "file")) var svg: String?
  @OptionGroup var telling: Telling

  private static let ranks = 8

  /// A way to train, and what the guide's simulator came to.
  private struct Row {
    let name: String
    let strategy: String
    let rate: String
    var options: [String] = []
    let guide: String
    /// Whether a code carries the changes, from the first round on.
    var codec = "none"
  }

  private static let momentum = ["--momentum", "0.9"]
  private static let adam = ["--optimizer", "adamw"]

  private static let rows = [
    Row(name: "in step", strategy: "all-reduce", rate: "0.1", guide: "93.1"),
    Row(name: "in step, momentum 0.9", strategy: "all-reduce", rate: "0.1", options: momentum, guide: "96.6"),
    Row(name: "averages, H = 4", strategy: "local-sgd:steps=4", rate: "0.1", guide: "93.1"),
    Row(name: "averages, H = 16", strategy: "local-sgd:steps=16", rate: "0.1", guide: "93.1"),
    Row(name: "averages, H = 64", strategy: "local-sgd:steps=64", rate: "0.1", guide: "93.0"),
    Row(name: "block momentum, H = 16", strategy: "block-momentum:steps=16", rate: "0.1", guide: "95.5"),
    Row(name: "block momentum, H = 64", strategy: "block-momentum:steps=64", rate: "0.1", guide: "94.2"),
    Row(
      name: "block momentum, heavy ball, H = 16", strategy: "local:steps=16,outer=heavy-ball,outer-rate=1,outer-momentum=0.875",
      rate: "0.1", guide: "94.2"),
    Row(
      name: "averages, H = 16, momentum 0.9 inside", strategy: "local-sgd:steps=16", rate: "0.05", options: momentum,
      guide: "95.6"),
    Row(
      name: "diloco, H = 16, momentum 0.9 inside", strategy: "diloco:steps=16", rate: "0.05", options: momentum, guide: "92.3"),
    Row(name: "averages, H = 16, AdamW", strategy: "local-sgd:steps=16", rate: "0.001", options: adam, guide: "92.6"),
    Row(name: "diloco, H = 16, AdamW", strategy: "diloco:steps=16", rate: "0.001", options: adam, guide: "92.9"),
    Row(name: "diloco, H = 64, AdamW", strategy: "diloco:steps=64", rate: "0.001", options: adam, guide: "92.5"),
  ]

  private static let block = "block-momentum:steps=4"
  private static let half = "local:steps=4,outer-rate=1,outer-momentum=0.5"
  private static let coded = [
    Row(name: "averages", strategy: "local-sgd:steps=4", rate: "0.3", guide: "95.2"),
    Row(name: "averages, one bit", strategy: "local-sgd:steps=4", rate: "0.3", guide: "94.9", codec: "one-bit"),
    Row(name: "averages, e3m0", strategy: "local-sgd:steps=4", rate: "0.3", guide: "–", codec: "e3m0"),
    Row(
      name: "averages, largest 1/32, 2 bits", strategy: "local-sgd:steps=4", rate: "0.3", guide: "95.0",
      codec: "chunk-top-k:k=1/32,values=two"),
    Row(
      name: "averages, largest 1/32, 2 bits, decay 0.95", strategy: "local-sgd:steps=4", rate: "0.3", guide: "94.8",
      codec: "chunk-top-k:k=1/32,values=two,decay=0.95"),
    Row(name: "block momentum 7/8", strategy: block, rate: "0.1", guide: "96.1"),
    Row(name: "block momentum 7/8, one bit", strategy: block, rate: "0.1", guide: "95.4", codec: "one-bit"),
    Row(name: "outer momentum 0.5", strategy: half, rate: "0.1", guide: "94.7"),
    Row(name: "outer momentum 0.5, one bit", strategy: half, rate: "0.1", guide: "94.7", codec: "one-bit"),
    Row(name: "block momentum 7/8, H = 16", strategy: "block-momentum:steps=16", rate: "0.1", guide: "95.5"),
    Row(
      name: "block momentum 7/8, H = 16, one bit", strategy: "block-momentum:steps=16", rate: "0.1", guide: "85.3",
      codec: "one-bit"),
  ]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let seeds = setting.seeds
    let all = Self.rows.flatMap { jobs($0, model: "mlp:128,128") } + Self.coded.flatMap { jobs($0, model: "mlp:64") }
    let reports = try laboratory.run(all)
    let figures = try stride(from: 0, to: reports.count, by: seeds).map { try AveragingFigures(reports[$0..<$0 + seeds]) }
    let (plain, coded) = (Array(figures.prefix(Self.rows.count)), Array(figures.dropFirst(Self.rows.count)))
    try checkBars(plain, coded)
    var tables: [TextTable] = []
    for (title, rows, figures, note) in [
      (
        "Averages and outer momenta, 8 ranks, the same samples", Self.rows, plain,
        "784-128-128-10, MNIST, one pass in steps of 16 samples a rank, rate falling as a cosine, no warm start."
      ),
      (
        "Codes of changes, 8 ranks, H = 4", Self.coded, coded,
        "784-64-10, as above; codes go both ways, with residuals of ranks and owners. The guide's largest 1/32 go up only; its block "
          + "momentum with H = 16 is of the larger perceptron."
      ),
    ] {
      var table = TextTable(
        title, columns: ["method", "rate", "accuracy in percent", "test loss", "MB the busiest rank sent", "guide: accuracy"])
      for (row, own) in zip(rows, figures) {
        table.add([
          row.name, row.rate, own.accuracy.text(digits: 1), own.loss.text(digits: 3), decimal(own.bytes.mean / 1e6, digits: 2),
          row.guide,
        ])
      }
      table.notes = [note + " Mean (and range) of \(counted(seeds, "seed"))."]
      tables.append(table)
    }
    tables[0].notes.append(
      "Bars: averages with H = 16 within 0.6 points of descent in step (holds); block momentum with H = 16 1.5 points above "
        + "them (holds).")
    tables[1].notes.append(
      "Bar: one bit both ways within 0.8 points of floats for 24 times fewer bytes (holds).")
    func points(_ figures: [AveragingFigures]) -> [(x: Double, y: Double)] {
      figures.map { ($0.bytes.mean / 1e6, $0.accuracy.mean) }
    }
    try write(
      SVGPlot(
        title: "Averages on 8 ranks", x: .init("MB the busiest rank sent", .logarithmic(base: 10)),
        y: .init("test accuracy in percent"),
        series: [
          .init("in step", points([plain[0]])), .init("averages, H = 4, 16, 64", points(Array(plain[2...4]))),
          .init("block momentum, H = 16, 64", points(Array(plain[5...6]))),
          .init("diloco with AdamW, H = 16, 64", points(Array(plain[11...12]))),
        ]), to: svg)
    return tables
  }

  /// The bars of the guide.
  private func checkBars(_ plain: [AveragingFigures], _ coded: [AveragingFigures]) throws {
    let accuracies = plain.map(\.accuracy.mean)
    guard accuracies[3] >= accuracies[0] - 0.6 else {
      throw Failure("averages with H = 16 come to \(accuracies[3]) %, descent in step to \(accuracies[0]) %")
    }
    guard accuracies[5] >= accuracies[3] + 1.5 else {
      throw Failure("block momentum comes to \(accuracies[5]) %, averages to \(accuracies[3]) %")
    }
    let (floats, bits) = (coded[0], coded[1])
    guard bits.accuracy.mean >= floats.accuracy.mean - 0.8, 24 * bits.bytes.mean <= floats.bytes.mean else {
      throw Failure(
        "one bit comes to \(bits.accuracy.mean) % with \(bits.bytes.mean) bytes, floats to \(floats.accuracy.mean) % with "
          + "\(floats.bytes.mean)")
    }
  }

  private func jobs(_ row: Row, model: String) -> [Job] {
    (1...setting.seeds).map { seed in
      let momentum = row.options.isEmpty ? ["--momentum", "0"] : row.options
      return Job(
        name: "\(row.name), \(row.rate), seed \(seed)", program: "train", ranks: Self.ranks,
        arguments: [
          "--data", setting.data, "--model", model, "--minibatch", "128", "--epochs", "1", "--verify-every", "0",
          "--evaluate-every", "1000000", "--transport", "messages", "--warm-start", "0", "--seed", String(seed), "--strategy",
          row.strategy, "--codec", row.codec, "--learning-rate", row.rate,
        ] + momentum)
    }
  }
}

/// What the runs of a row came to.
private struct AveragingFigures {
  let accuracy: Sample
  let loss: Sample
  let bytes: Sample

  init(_ reports: some Sequence<Report>) throws {
    let reports = Array(reports)
    accuracy = Sample(values: try reports.map { try 100 * $0.number("testAccuracy") })
    loss = Sample(values: try reports.map { try $0.number("testLoss") })
    bytes = Sample(values: try reports.map { try Double($0.bytesOfBusiestRank()) })
  }
}
