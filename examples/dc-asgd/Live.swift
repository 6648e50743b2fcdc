import ArgumentParser
import Files
import Foundation
import Laboratory

/// Live runs on emulated hosts, of which one may be slow: the time to an accuracy, asynchronously and in step, both with one bit.
///
/// Times are those of training: evaluations are left out, but for the model that ranks exchange at a meeting before one.
struct Live: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Eight emulated hosts, one of them slow: the time to 97 % of dc-asgd against double buffering, live.")

  @OptionGroup var setting: Setting
  @Option(help: ArgumentHelp("The number of hosts, of a rank each.", valueName: "n")) var hosts = 8
  @Option(help: ArgumentHelp("The rate of each host's link.", valueName: "rate")) var rate = "100mbit"
  @Option(
    help: ArgumentHelp("The percentage of a core that the slow host gets: a quarter of a usual one's.", valueName: "n"))
  var percentage = 6
  @Option(help: ArgumentHelp("The test accuracy to reach, in percent.", valueName: "x")) var target = 97.0
  @Option(help: ArgumentHelp("The samples of a step over all hosts.", valueName: "n")) var minibatch = 256
  @OptionGroup var telling: Telling

  /// Rates and momentum were chosen on 10 000 training samples that were held out; there, starts of 0 to 24 steps with floats took equally
  /// many samples to 97 %.
  private static let methods = [
    (name: "double-buffer", options: ["--strategy", "double-buffer", "--learning-rate", "0.4", "--momentum", "0"]),
    (name: "dc-asgd", options: ["--strategy", "dc-asgd:owners=fast", "--learning-rate", "0.07", "--momentum", "0"]),
  ]
  /// The samples of a run, those of its start with floats, and those between two evaluations: a meeting costs dc-asgd as much as 2 500
  /// samples.
  private static let (samples, samplesOfStart, samplesBetween) = (153_600, 512, 10_240)

  func validate() throws {
    guard hosts >= 2, minibatch >= 2 * hosts, (1...100).contains(percentage), target > 0, target < 100 else {
      throw ValidationError(
        "--hosts is at least 2, --minibatch two samples for each, --percentage 1 to 100, and --target below 100")
    }
  }

  func checkRequirements() throws { try Cluster.check() }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let clusters = [percentage, nil].map { Cluster(hosts: hosts, ranksPerHost: 1, rate: rate, lastHostPercentage: $0) }
    // Methods take turns, so that what disturbs one disturbs the other.
    let jobs = clusters.flatMap { cluster in
      (1...setting.seeds).flatMap { seed in Self.methods.map { job($0.name, $0.options, seed: seed, on: cluster) } }
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "Live on \(hosts) emulated hosts with links of \(rate): seconds to \(decimal(target, digits: 0)) %",
      columns: ["hosts"] + Self.methods.map(\.name) + ["times faster", "samples (thousands)", "bytes up a value"])
    for (index, name) in ["one slow", "all alike"].enumerated() {
      let own = Array(reports[index * 2 * setting.seeds..<(index + 1) * 2 * setting.seeds])
      let runs = try own.map(reached)
      let methods = Self.methods.indices.map { method in stride(from: method, to: runs.count, by: 2).map { runs[$0] } }
      let ratios = zip(methods[0], methods[1]).map { $0.seconds / $1.seconds }
      let samples = methods.map { Sample(values: $0.map { Double($0.samples) / 1000 }).text(digits: 0) }
      let bytes = try stride(from: 1, to: own.count, by: 2).map { try own[$0].number("bytesUpPerValue") }
      table.add(
        [name] + methods.map { Sample(values: $0.map(\.seconds)).text(digits: 1) }
          + [Sample(values: ratios).text(digits: 2), samples.joined(separator: "; "), Sample(values: bytes).text(digits: 3)])
    }
    table.notes = [
      "784-512-512-10, MNIST, one-bit codes, \(minibatch / hosts) samples a worker; the slow host has \(percentage) % of a core, and the "
        + "others share the rest of this machine. Mean (and range) of \(setting.seeds) seeds; ratios by seed."
    ]
    return [table]
  }

  private func job(_ name: String, _ options: [String], seed: Int, on cluster: Cluster) -> Job {
    func steps(of samples: Int) -> String { String(max(1, samples / minibatch)) }
    return Job(
      name: "\(name), \(cluster.lastHostPercentage == nil ? "all alike" : "one slow"), seed \(seed)", program: "train",
      ranks: hosts,
      arguments: [
        "--data", setting.data, "--model", "mlp:512,512", "--codec", "one-bit", "--minibatch", String(minibatch), "--steps",
        steps(of: Self.samples), "--warm-start", steps(of: Self.samplesOfStart), "--evaluate-every",
        steps(of: Self.samplesBetween), "--log-every", steps(of: Self.samplesBetween), "--schedule", "constant",
        "--verify-every", "0", "--seed", String(seed),
      ] + options, cluster: cluster)
  }

  private func reached(_ report: Report) throws -> (seconds: Double, samples: Int) {
    guard let reached = report.reached(target) else {
      throw Failure("the run '\(report.job.name)' did not reach \(decimal(target, digits: 1)) %")
    }
    return reached
  }
}
