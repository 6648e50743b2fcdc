import ArgumentParser
import Laboratory

/// Workers with models of their own that average in pairs: where their samples differ, and where one of them is slow.
struct Pairs: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Averages of pairs (Lian et al. 2018): workers with different classes, and a slow worker.")

  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  private static let methods: [(name: String, strategy: String)] = [
    ("in step", "ssp:bound=0"), ("pairs, complete", "ad-psgd:graph=complete,minibatches=own"),
    ("pairs, exponential", "ad-psgd:graph=exponential,minibatches=own"), ("pairs, ring", "ad-psgd:graph=ring,minibatches=own"),
  ]
  /// Numbers of workers, and how classes are dealt to them.
  private static let cases: [(workers: Int, partition: String)] = [(8, "by-class:2"), (16, "by-class:1")]
  private static let samples = 60_000
  private static let model = ["--model", "mlp:64", "--learning-rate", "0.1"]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] { [try classes(laboratory), try times(laboratory)] }

  /// The mean of the models and the worst of them, where each worker has samples of one or two classes.
  private func classes(_ laboratory: Laboratory) throws -> TextTable {
    let seeds = setting.seeds
    let jobs = Self.cases.flatMap { workers, partition in
      Self.methods.flatMap { method in
        setting.jobs(
          "\(workers) workers, \(method.name)", method.strategy, workers: workers, perWorker: 16, samples: Self.samples,
          Self.model + ["--partition", partition, "--clients", String(workers), "--evaluate-every", "1000000"])
      }
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "Workers with different classes: accuracy in percent",
      columns: ["workers", "classes of each", "method", "mean of the models", "worst model"])
    for (index, (workers, partition)) in Self.cases.enumerated() {
      for (place, method) in Self.methods.enumerated() {
        let first = (index * Self.methods.count + place) * seeds
        let own = reports[first..<first + seeds]
        let worst = own.compactMap { ($0.end?["workerAccuracy"] as? [Double])?.min() }
        table.add([
          String(workers), String(partition.split(separator: ":")[1]), method.name,
          try Figures(own).accuracy.text(digits: 1),
          (worst.isEmpty ? nil : Sample(values: worst.map { 100 * $0 })).text(digits: 1),
        ])
      }
    }
    table.notes = [
      "784-64-10, MNIST, \(Self.samples) samples in minibatches of 16, workers in turn, rate 0.1 falling as a cosine. Mean (and range) of "
        + "\(seeds) seeds."
    ]
    return table
  }

  /// Steps between evaluations, of as many minibatches as workers.
  private static let stride = 25

  /// The emulated time to an accuracy of 90 %, where all workers are equal and where one is four times slower.
  private func times(_ laboratory: Laboratory) throws -> TextTable {
    let seeds = setting.seeds
    let rows = [
      ("in step", "ssp:bound=0"), ("pairs, ring", "ad-psgd:graph=ring"), ("pairs, complete", "ad-psgd:graph=complete"),
    ]
    let speeds = ["rr", "slow:4"]
    let jobs = rows.flatMap { name, strategy in
      speeds.flatMap { speed in
        setting.jobs(
          "\(name), \(speed)", strategy, workers: 8, perWorker: 16, samples: 51_200, speed: speed,
          Self.model + ["--schedule", "constant", "--evaluate-every", String(Self.stride)])
      }
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "Emulated time to an accuracy of 90 %", columns: ["method", "8 equal workers", "one of 8 four times slower"])
    for (index, (name, _)) in rows.enumerated() {
      let cells = try speeds.indices.map { speed in
        let first = (index * speeds.count + speed) * seeds
        return Sample(values: try reports[first..<first + seeds].map { try Self.time(to: 0.9, in: $0) }).text(digits: 0)
      }
      table.add([name] + cells)
    }
    table.notes = [
      "784-64-10, MNIST, minibatches of 16 of any samples, constant rate 0.1; evaluated every \(Self.stride) steps, where all meet and the fast "
        + "workers wait for the slow one. A gradient of a usual worker takes 1. Mean (and range) of \(seeds) seeds."
    ]
    return table
  }

  /// When a run reaches an accuracy, between two evaluations along a straight line.
  private static func time(to accuracy: Double, in report: Report) throws -> Double {
    let evaluations = report.lines.filter { $0["event"] as? String == "epoch" }.compactMap { $0["testAccuracy"] as? Double }
    guard let place = evaluations.firstIndex(where: { $0 >= accuracy }) else {
      throw Failure("the run '\(report.job.name)' does not come to \(accuracy)")
    }
    let before = place > 0 ? evaluations[place - 1] : 0
    let steps = Double(stride) * (Double(place) + (accuracy - before) / (evaluations[place] - before))
    // Between meetings, time passes evenly.
    return try steps * report.number("emulatedTime") / report.number("steps")
  }
}
