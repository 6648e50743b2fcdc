import ArgumentParser
import Laboratory
import Reporting

/// Workers with models of their own, which they mix with those of their neighbours, where each has samples of other classes.
struct Gossip: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Gossip over graphs, as floats and as codes, where workers have different classes.")

  @OptionGroup var setting: Setting
  @Option(help: ArgumentHelp("Write the worst models as a picture.", valueName: "file")) var svg: String?
  @OptionGroup var telling: Telling

  /// A way of making models alike.
  private struct Method {
    let name: String
    let strategy: String
    var options: [String] = []
    /// The accuracy of the guide's simulator, of the mean and of the worst model, by number of workers.
    var guide: [Int: String] = [:]
  }

  private static let bits = ["--codec", "one-bit"]
  private static let turns = ["--emulate-speed", "rr"]

  private static let alone = Method(
    name: "no mixing", strategy: "gossip:method=choco,gamma=0", options: ["--codec", "none"],
    guide: [8: "55.0; 18.4", 16: "49.0; 8.8"])
  private static let complete = Method(
    name: "complete", strategy: "gossip:graph=complete", guide: [8: "92.1; 89.4", 16: "90.1; 87.4"])
  private static let exponential = Method(
    name: "exponential", strategy: "gossip:graph=exponential", guide: [8: "92.0; 89.4", 16: "89.8"])
  private static let ring = Method(name: "ring", strategy: "gossip:graph=ring", guide: [8: "90.9; 88.3", 16: "84.6; 76.3"])
  private static let torus = Method(name: "torus", strategy: "gossip:graph=torus")
  private static let onePeer = Method(
    name: "push-sum, one peer", strategy: "gossip:method=push-sum", guide: [8: "92.1; 89.6", 16: "89.7; 87.1"])
  private static let random = Method(name: "push-sum, random", strategy: "gossip:method=push-sum,targets=random")
  private static let pairs = Method(
    name: "ad-psgd, complete", strategy: "ad-psgd:graph=complete,minibatches=own", options: turns,
    guide: [8: "91.5; 88.8", 16: "89.1; 86.1"])
  private static let outer = Method(
    name: "no-loco, H = 4", strategy: "gossip:method=no-loco,steps=4,outer-rate=1,outer-momentum=0,gamma=1")

  /// CHOCO with one bit for a value.
  private static func choco(_ graph: String, _ gamma: String, _ guide: [Int: String]) -> Method {
    Method(
      name: "choco, \(graph), one bit, γ = \(gamma)", strategy: "gossip:method=choco,graph=\(graph),gamma=\(gamma)",
      options: bits,
      guide: guide)
  }

  private static let methods: [Int: [Method]] = [
    8: [
      complete, onePeer, random, exponential, pairs, torus, ring, choco("ring", "1", [8: "91.1; 88.4"]),
      choco("ring", "0.6", [8: "90.1; 87.3"]), choco("ring", "0.3", [8: "88.4; 85.2"]),
      choco("exponential", "0.3", [8: "90.4; 87.7"]), outer, alone,
    ],
    16: [
      complete, onePeer, random, exponential, pairs, torus, ring, choco("ring", "0.3", [16: "77.1; 37.5"]),
      choco("exponential", "0.3", [:]), outer, alone,
    ],
  ]
  private static let (samples, perWorker) = (60_000, 16)

  /// The figures of a row.
  private struct Row {
    let name: String
    let mean: Sample
    let worst: Sample
    let distance: Sample
    let guide: String
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let cases = try classes(laboratory)
    try draw(cases.map(\.rows))
    return cases.map(\.table) + [try alike(laboratory)]
  }

  func run() throws {
    let laboratory = try telling.laboratory()
    let cases = try classes(laboratory)
    try draw(cases.map(\.rows))
    try telling.tell(cases.map(\.table) + [try alike(laboratory)])
    let missed = cases.flatMap(\.missed)
    guard missed.isEmpty else { throw Failure("bars that are missed: \(missed.joined(separator: "; "))") }
  }

  private func rows(_ laboratory: Laboratory, _ methods: [Method], workers: Int, partition: String) throws -> [Row] {
    let seeds = setting.seeds
    let jobs = methods.flatMap { method in
      setting.jobs(
        "\(workers) workers, \(partition), \(method.name)", minibatch: workers * Self.perWorker, samples: Self.samples,
        [
          "--strategy", "\(method.strategy),workers=\(workers)", "--model", "mlp:64", "--learning-rate", "0.1", "--partition",
          partition, "--clients", String(workers), "--evaluate-every", "1000000",
        ] + method.options)
    }
    let reports = try laboratory.run(jobs)
    return try methods.enumerated().map { place, method in
      let own = reports[place * seeds..<(place + 1) * seeds]
      let worst = own.map { 100 * (($0.end?["workerAccuracy"] as? [Double])?.min() ?? 0) }
      return Row(
        name: method.name, mean: Sample(values: try own.map { try 100 * $0.number("testAccuracy") }),
        worst: Sample(values: worst),
        distance: Sample(values: try own.map { try $0.number("consensusDistance").squareRoot() }),
        guide: method.guide[workers] ?? "–")
    }
  }

  /// The mean of the models and the worst of them, where each worker has samples of one or two classes; and the bars that are missed.
  private func classes(_ laboratory: Laboratory) throws -> [(rows: [Row], table: TextTable, missed: [String])] {
    try [(8, "by-class:2"), (16, "by-class:1")].map { workers, partition in
      let rows = try rows(laboratory, Self.methods[workers] ?? [], workers: workers, partition: partition)
      var table = TextTable(
        "\(workers) workers, \(partition.suffix(1)) of 10 classes each: accuracy in percent",
        columns: ["method", "mean of the models", "worst model", "distance from the mean", "guide: mean; worst"])
      for row in rows {
        table.add([row.name, row.mean.text(digits: 1), row.worst.text(digits: 1), row.distance.text(digits: 4), row.guide])
      }
      table.notes = [
        "784-64-10, MNIST, \(Self.samples) samples in minibatches of \(Self.perWorker) a worker, rate 0.1 falling as a cosine. The distance is the "
          + "root mean square of ‖x_i − x̄‖. The guide's simulator sorted the samples by class and gave each worker a run of them. "
          + "Mean (and range) of \(setting.seeds) seeds."
      ]
      func row(_ name: String) -> Row? { rows.first { $0.name == name } }
      var bars: [(String, Bool)] = []
      if workers == 8, let choco = row("choco, ring, one bit, γ = 0.6"), let alone = row("no mixing") {
        bars = [
          ("choco, one bit, γ = 0.6: 89 % and 86 % of the worst model", choco.mean.mean >= 89 && choco.worst.mean >= 86),
          ("no mixing: the worst model below 30 %", alone.worst.mean < 30),
        ]
      }
      if workers == 16, let exponential = row("exponential"), let ring = row("ring") {
        bars = [("exponential 3 points above ring", exponential.mean.mean >= ring.mean.mean + 3)]
      }
      table.notes.append("Bars: " + bars.map { "\($0.0) (\($0.1 ? "holds" : "missed"))" }.joined(separator: "; ") + ".")
      return (rows, table, bars.filter { !$0.1 }.map(\.0))
    }
  }

  /// The farther from the mean, the worse the worst model.
  private func draw(_ cases: [[Row]]) throws {
    let series = zip([8, 16], cases).map { workers, rows in
      SVGPlot.Series("\(workers) workers", rows.map { ($0.distance.mean, $0.worst.mean) }.sorted { $0.x < $1.x })
    }
    try write(
      SVGPlot(
        title: "Gossip with other classes at each worker",
        x: .init("distance from the mean of the models", .logarithmic(base: 10)),
        y: .init("accuracy of the worst model in percent"), series: series), to: svg)
  }

  /// Workers with like samples, which shows nothing.
  private func alike(_ laboratory: Laboratory) throws -> TextTable {
    let methods = [Self.complete, Self.exponential, Self.onePeer, Self.ring, Self.alone]
    let guide = ["93.2", "93.3", "93.0", "93.3", "92.5"]
    let rows = try rows(laboratory, methods, workers: 8, partition: "iid")
    var table = TextTable(
      "8 workers with like samples: accuracy in percent",
      columns: ["method", "mean of the models", "worst model", "guide: mean"])
    for (row, guide) in zip(rows, guide) { table.add([row.name, row.mean.text(digits: 1), row.worst.text(digits: 1), guide]) }
    table.notes = [
      "As above, but every worker has an equal share of one random order. Mean (and range) of \(setting.seeds) seeds."
    ]
    return table
  }
}
