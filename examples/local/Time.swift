import ArgumentParser
import Files
import Laboratory
import Reporting

/// The time to an accuracy over slow links, against runs in step and against ranks without links.
///
/// Times are those of training: evaluations are left out.
struct Time: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Eight emulated hosts with slow links: the time to 97.5 and 98 % of MNIST by local steps and in step, live.")

  @OptionGroup var setting: Setting
  @Option(help: ArgumentHelp("The number of hosts, of a rank each.", valueName: "n")) var hosts = 8
  @Option(parsing: .upToNextOption, help: ArgumentHelp("The rates of the hosts' links.", valueName: "rate")) var rates = [
    "100mbit", "10mbit",
  ]
  @Option(help: ArgumentHelp("Passes over the training samples.", valueName: "n")) var epochs = 5
  @Flag(help: "Leave out the run in step over slow links: with 10 Mbit/s it takes a quarter of an hour a seed.")
  var localOnly = false
  @Option(help: ArgumentHelp("Write the accuracy over time as a picture.", valueName: "file")) var svg: String?
  @OptionGroup var telling: Telling

  /// The test accuracies to reach, in percent.
  private static let targets = [97.5, 98.0]
  /// All at the default learning rate.
  private static let allMethods = [
    (name: "in step, one bit, double-buffered", options: ["--strategy", "double-buffer", "--codec", "one-bit"]),
    (name: "H = 10, one bit", options: ["--strategy", "local:steps=10", "--codec", "one-bit"]),
    (name: "H = 30, one bit", options: ["--strategy", "local:steps=30", "--codec", "one-bit"]),
    (
      name: "H = 10, one bit, in 2 fragments 5 steps late",
      options: ["--strategy", "local:steps=10,fragments=2,delay=5", "--codec", "one-bit"]
    ),
    (
      name: "the same from the first round on",
      options: ["--strategy", "local:steps=10,fragments=2,delay=5,warm-start=0", "--codec", "one-bit"]
    ),
    (
      name: "H = 30, one bit, 10 steps late", options: ["--strategy", "local:steps=30,delay=10", "--codec", "one-bit"]
    ),
    (name: "H = 10, sparse-loco 1/64", options: ["--strategy", "sparse-loco:steps=10"]),
    (name: "H = 30, sparse-loco 1/64", options: ["--strategy", "sparse-loco:steps=30"]),
    (
      name: "H = 10, sparse-loco 1/64, in 2 fragments 5 steps late",
      options: ["--strategy", "sparse-loco:steps=10,fragments=2,delay=5"]
    ),
  ]
  /// In step, and without links.
  private static let unlimited = (
    name: "in step, one bit, without links", options: ["--strategy", "all-reduce", "--codec", "one-bit"]
  )

  private var methods: [(name: String, options: [String])] { Array(Self.allMethods.dropFirst(localOnly ? 1 : 0)) }

  func checkRequirements() throws { try Cluster.check() }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    // Methods take turns, so that what disturbs one disturbs the other.
    let jobs =
      (1...setting.seeds).map { job(Self.unlimited.name, Self.unlimited.options, seed: $0, rate: nil) }
      + rates.flatMap { rate in
        (1...setting.seeds).flatMap { seed in methods.map { job($0.name, $0.options, seed: seed, rate: rate) } }
      }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "Seconds to an accuracy on \(hosts) emulated hosts",
      columns: ["links", "method"] + Self.targets.map { "\(decimal($0, digits: 1)) %" } + [
        "of in step without links", "accuracy at the end",
      ])
    let reference = Array(reports.prefix(setting.seeds))
    table.add(row("none", Self.unlimited.name, reference, beside: reference))
    for (place, rate) in rates.enumerated() {
      for (index, method) in methods.enumerated() {
        let first = setting.seeds + place * setting.seeds * methods.count + index
        let own = (0..<setting.seeds).map { reports[first + $0 * methods.count] }
        table.add(row(rate, method.name, own, beside: reference))
      }
    }
    table.notes = [
      "784-512-512-10, MNIST, 256 samples a step over all hosts, momentum 0.9 inside a rank, rate falling as a cosine over \(epochs) epochs. A "
        + "dash: not reached by every seed. Mean (and range) of \(setting.seeds) seeds; ratios of means, to the first accuracy."
    ]
    try write(
      SVGPlot(
        title: "Eight hosts with slow links", x: .init("seconds of training", .logarithmic(base: 10)),
        y: .init("test accuracy in percent"), series: curves(reports)), to: svg)
    return [table]
  }

  /// The accuracy of the first seed: a colour for each method, dashed where links are not those of the first rate.
  private func curves(_ reports: [Report]) -> [SVGPlot.Series] {
    var series = [SVGPlot.Series(Self.unlimited.name, reports[0].accuracies, isReference: true)]
    for (index, method) in methods.enumerated() {
      for (place, rate) in rates.enumerated() {
        let report = reports[setting.seeds + place * setting.seeds * methods.count + index]
        series.append(SVGPlot.Series("\(method.name), \(rate)", report.accuracies, isVariant: place > 0))
      }
    }
    return series
  }

  private func row(_ rate: String, _ name: String, _ own: [Report], beside reference: [Report]) -> [String] {
    func seconds(_ reports: [Report], _ target: Double) -> Sample? {
      let seconds = reports.compactMap { $0.reached(target)?.seconds }
      return seconds.count == reports.count ? Sample(values: seconds) : nil
    }
    let times = Self.targets.map { seconds(own, $0)?.text(digits: 1) ?? "–" }
    var ratio = "–"
    if let mean = seconds(own, Self.targets[0])?.mean, let least = seconds(reference, Self.targets[0])?.mean {
      ratio = decimal(mean / least, digits: 2)
    }
    let accuracies = own.compactMap { try? 100 * $0.number("testAccuracy") }
    return [rate, name] + times + [ratio, Sample(values: accuracies).text(digits: 2)]
  }

  private func job(_ name: String, _ options: [String], seed: Int, rate: String?) -> Job {
    Job(
      name: "\(name), \(rate ?? "no links"), seed \(seed)", program: "train", ranks: hosts,
      arguments: [
        "--data", setting.data, "--model", "mlp:512,512", "--epochs", String(epochs), "--evaluate-every", "30", "--log-every",
        "30",
        "--verify-every", "0", "--seed", String(seed),
      ] + options, cluster: rate.map { Cluster(hosts: hosts, ranksPerHost: 1, rate: $0) })
  }
}
