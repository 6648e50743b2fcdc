import ArgumentParser
import Laboratory

/// A softmax regression whose gradients are fifteen pushes late: what a compensation gives back.
struct Delay: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Softmax regression, 16 workers in turn: delay and its compensation.")

  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  private static let rows: [(name: String, strategy: String?, guide: String)] = [
    ("one worker", nil, "90.8, 0.322"),
    ("asgd", "asgd", "88.4, 0.906"),
    ("dc-asgd, form c, λ₀ = 0.04", "dc-asgd:form=c,lambda=0.04", "88.4, 0.904"),
    ("dc-asgd, form c, λ₀ = 5", "dc-asgd:form=c,lambda=5", "88.8, 0.781"),
    ("dc-asgd, form a, λ₀ = 2", "dc-asgd:lambda=2", "88.8, 0.720"),
    ("dc-asgd, form a, λ₀ = 10", "dc-asgd:lambda=10", "89.2, 0.484"),
    ("dc-asgd, form a, λ₀ = 20", "dc-asgd:lambda=20", "89.5, 0.395"),
  ]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let seeds = setting.seeds
    let jobs = Self.rows.flatMap {
      setting.jobs(
        $0.name, $0.strategy.map { $0.hasPrefix("dc") ? "\($0),clamp=0" : $0 }, workers: 16, perWorker: 16, samples: 10_000,
        ["--model", "softmax", "--learning-rate", "0.05"])
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "Softmax regression on MNIST, 16 workers in turn", columns: ["method", "accuracy in percent", "test loss"])
    for (index, row) in Self.rows.enumerated() {
      let figures = try Figures(reports[index * seeds..<(index + 1) * seeds])
      table.add([row.name, figures.accuracy.text(digits: 2), figures.loss.text(digits: 3)])
    }
    table.notes = [
      "10 000 samples in minibatches of 16, rate 0.05 falling as a cosine, no clamp; each gradient is 15 pushes old. Mean (and range) of "
        + "\(seeds) seeds."
    ]
    return [table]
  }
}

/// A perceptron at rates that asynchronous descent can hardly bear.
struct Edge: PaperTable {
  static let configuration = CommandConfiguration(abstract: "A perceptron at the edge of stability, 4 and 8 workers in turn.")

  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  private static let cases: [(workers: Int, rate: String)] = [(4, "0.2"), (8, "0.12"), (8, "0.15")]
  private static let methods: [(name: String, strategy: String?)] = [
    ("one worker", nil), ("asgd", "asgd"), ("dc-asgd", "dc-asgd"), ("dc-asgd without a clamp", "dc-asgd:clamp=0"),
  ]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let seeds = setting.seeds
    let jobs = Self.cases.flatMap { workers, rate in
      Self.methods.flatMap { method in
        setting.jobs(
          "\(workers) workers, \(rate), \(method.name)", method.strategy, workers: workers, perWorker: 32, samples: 30_000,
          ["--model", "mlp:256,256", "--learning-rate", rate, "--non-finite", "skip"])
      }
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "A perceptron at the edge of stability: accuracy in percent",
      columns: ["workers", "rate"] + Self.methods.map(\.name))
    for (index, (workers, rate)) in Self.cases.enumerated() {
      let cells = try Self.methods.indices.map { method in
        let first = (index * Self.methods.count + method) * seeds
        return try Figures(reports[first..<first + seeds]).accuracy.text(digits: 1)
      }
      table.add([String(workers), rate] + cells)
    }
    table.notes = [
      "784-256-256-10, MNIST, 30 000 samples in minibatches of 32, rate falling as a cosine, λ₀ = 2, clamp κ = 1. Mean (and range) of "
        + "\(seeds) seeds."
    ]
    return [table]
  }
}

/// What a bound on the distance of workers costs in time, by the speeds of the workers.
struct Bounds: PaperTable {
  static let configuration = CommandConfiguration(abstract: "Bounded staleness: pushes per unit of emulated time.")

  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  private static let speeds = [
    ("slow:4", "one worker 4 times slower"), ("jitter:4", "now and then 5 times slower"), ("exp", "exponential times"),
  ]
  private static let bounds: [(name: String, strategy: String)] = [
    ("s = 0", "ssp:bound=0"), ("s = 2", "ssp:bound=2"), ("s = 8", "ssp:bound=8"), ("no bound", "asgd"),
  ]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let seeds = setting.seeds
    let (workers, samples) = (8, 30_000)
    let jobs = Self.speeds.flatMap { speed, name in
      Self.bounds.flatMap { bound in
        setting.jobs(
          "\(name), \(bound.name)", bound.strategy, workers: workers, perWorker: 32, samples: samples, speed: speed,
          [
            "--model", "mlp:64", "--learning-rate", bound.strategy == "ssp:bound=0" ? "0.4" : "0.05", "--schedule", "constant",
          ])
      }
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "Bounded staleness: pushes in the time of one gradient, and accuracy in percent",
      columns: ["workers"] + Self.bounds.map(\.name))
    for (index, (_, name)) in Self.speeds.enumerated() {
      let cells = try Self.bounds.indices.map { bound in
        let first = (index * Self.bounds.count + bound) * seeds
        let own = reports[first..<first + seeds]
        let pushes = Sample(
          values: try own.map { try Double(workers * Int($0.number("steps"))) / $0.number("emulatedTime") })
        return try "\(pushes.text(digits: 2)); \(Figures(own).accuracy.text(digits: 1))"
      }
      table.add([name] + cells)
    }
    table.notes = [
      "8 workers, minibatches of 32, 784-64-10, MNIST, \(samples) samples, constant rate 0.05 (0.4 in step, where eight gradients make one "
        + "update). A bound helps against times that vary, not against a worker that is always slow: after s pushes all wait for it."
    ]
    return [table]
  }
}
