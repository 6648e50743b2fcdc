import ArgumentParser
import Files
import Laboratory
import Reporting

/// Federated averaging of 100 clients with unlike samples, and what holding them at the model does to how far they go.
struct Clients: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "100 clients, 10 in a round: FedAvg by classes and passes, and FedProx by μ: accuracy and drift.")

  @OptionGroup var setting: Setting
  @Option(help: ArgumentHelp("The number of rounds.", valueName: "n")) var rounds = 40
  @Option(help: ArgumentHelp("Write the drift by μ as a picture.", valueName: "file")) var svg: String?
  @OptionGroup var telling: Telling

  func validate() throws {
    if rounds < 1 { throw ValidationError("--rounds is at least 1, not \(rounds)") }
  }

  /// How samples are dealt: the name of it, `--partition`, the passes in a round, and the figures of the guide.
  private static let dealings = [
    (name: "like samples, 1 pass", partition: "iid", passes: 1, guide: "94.8"),
    (name: "like samples, 5 passes", partition: "iid", passes: 5, guide: "96.4"),
    (name: "2 classes each, 1 pass", partition: "by-class:2", passes: 1, guide: "87.0"),
    (name: "2 classes each, 5 passes", partition: "by-class:2", passes: 5, guide: "89.4; 0.709"),
    (name: "1 class each, 1 pass", partition: "by-class:1", passes: 1, guide: "81.7"),
    (name: "1 class each, 5 passes", partition: "by-class:1", passes: 5, guide: "74.8"),
  ]
  /// The place of the dealing in which clients are held.
  private static let held = 3
  private static let holds = [
    (mu: "0", guide: "89.4; 0.709"), (mu: "0.01", guide: "89.5; 0.690"), (mu: "0.1", guide: "89.1; 0.570"),
    (mu: "1", guide: "87.2; 0.430"),
  ]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let seeds = setting.seeds
    let averaging = Self.dealings.flatMap { jobs($0.name, "fed-avg", $0.partition, passes: $0.passes) }
    let dealing = Self.dealings[Self.held]
    let holding = Self.holds.flatMap {
      jobs("\(dealing.name), μ = \($0.mu)", "fed-prox:proximal=\($0.mu)", dealing.partition, passes: dealing.passes)
    }
    let reports = try laboratory.run(averaging + holding)
    let figures = try stride(from: 0, to: reports.count, by: seeds).map { try ClientFigures(reports[$0..<$0 + seeds]) }
    let (averages, holds) = (figures.prefix(Self.dealings.count), Array(figures.dropFirst(Self.dealings.count)))
    try ClientFigures.check(holds, of: Self.holds.map { Double($0.mu) ?? 0 }, against: averages[Self.held])
    var table = TextTable(
      "100 clients, 10 in each of \(rounds) rounds",
      columns: ["method", "samples", "accuracy in percent", "drift", "guide: accuracy; drift"])
    for (own, figures) in zip(Self.dealings, averages) {
      table.add(["fed-avg", own.name, figures.accuracy.text(digits: 1), figures.drift.text(digits: 3), own.guide])
    }
    for (own, figures) in zip(Self.holds, holds) {
      table.add(
        [
          "fed-prox, μ = \(own.mu)", dealing.name, figures.accuracy.text(digits: 1), figures.drift.text(digits: 3), own.guide,
        ])
    }
    table.notes = [
      "784-64-10, MNIST, 600 samples a client in minibatches of 20, rate 0.05 falling as a cosine, floats. Drift is the root mean square of "
        + "the distance of a client's model from the round's start. Mean (and range) of \(counted(seeds, "seed")).",
      "Bars: drift falls with μ, by 10 % or more at μ = 0.1 (holds); μ = 0 is fed-avg, bit for bit (holds).",
    ]
    try write(
      SVGPlot(
        title: "How far clients go from the model, \(dealing.name)", x: .init("μ of FedProx", .logarithmic(base: 10)),
        y: .init("drift"),
        series: [
          .init("fed-prox", zip(Self.holds, holds).map { (Double($0.mu) ?? 0, $1.drift.mean) }),
          .init(
            "fed-avg", [Self.holds[1].mu, Self.holds[Self.holds.count - 1].mu].map { (Double($0) ?? 0, holds[0].drift.mean) },
            isReference: true),
        ]), to: svg)
    return [table]
  }

  /// The runs of a row: ten clients of 600 samples take 30 steps for a pass.
  private func jobs(_ name: String, _ strategy: String, _ partition: String, passes: Int) -> [Job] {
    let steps = 30 * passes
    return setting.jobs(
      name, minibatch: 200, samples: 200 * steps * rounds,
      [
        "--strategy", "\(strategy)\(strategy.contains(":") ? "," : ":")steps=\(steps),epochs=\(passes)", "--model", "mlp:64",
        "--learning-rate", "0.05", "--codec", "none", "--partition", partition, "--clients", "100", "--sampled", "10",
        "--evaluate-every", "1000000",
      ])
  }
}

/// What the runs of a row of clients came to.
struct ClientFigures {
  let accuracy: Sample
  let drift: Sample
  /// The models, as hashes.
  let models: [String]

  init(_ reports: some Sequence<Report>) throws {
    let reports = Array(reports)
    accuracy = Sample(values: try reports.map { try 100 * $0.number("testAccuracy") })
    drift = Sample(values: try reports.map { try $0.number("drift") })
    models = try reports.map { report in
      guard let hash = report.end?["modelHash"] as? String else {
        throw Failure("the run '\(report.job.name)' does not tell the hash of its model")
      }
      return hash
    }
  }

  /// Throws unless clients that are held by these μ, the first of which is 0, stay the nearer the larger it is, by 10 % at 0.1,
  /// and without a hold are those of averaging, bit for bit.
  static func check(_ held: [ClientFigures], of mu: [Double], against averages: ClientFigures) throws {
    let drifts = held.map(\.drift.mean)
    guard held[0].models == averages.models else { throw Failure("μ = 0 is not fed-avg, bit for bit") }
    guard zip(drifts, drifts.dropFirst()).allSatisfy({ $0 > $1 }) else {
      throw Failure("drift does not fall with μ: \(drifts)")
    }
    for (mu, drift) in zip(mu, drifts) where mu >= 0.1 && drift > 0.9 * drifts[0] {
      throw Failure("a drift of \(drift) with μ = \(mu), \(drifts[0]) without: less than 10 %")
    }
  }
}
