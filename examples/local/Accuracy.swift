import ArgumentParser
import Files
import Laboratory
import Reporting

/// How good a model is after the same samples, by how often ranks meet and what crosses then, with the bytes that were counted.
struct Accuracy: PaperTable {
  static let configuration = CommandConfiguration(
    abstract:
      "A perceptron on 8 ranks by local steps: accuracy against the steps between exchanges and the code, with counted bytes.")

  @OptionGroup var setting: Setting
  @Option(help: ArgumentHelp("The number of ranks.", valueName: "n")) var ranks = 8
  @Option(help: ArgumentHelp("Passes over the training samples.", valueName: "n")) var epochs = 5
  @Option(parsing: .upToNextOption, help: ArgumentHelp("The steps between exchanges.", valueName: "n")) var every = [4, 10, 30]
  @Option(help: ArgumentHelp("Write accuracy against bytes as a picture.", valueName: "file")) var svg: String?
  @OptionGroup var telling: Telling

  /// The values of a model of 784-512-512-10.
  private static let parameterCount = 669_706
  /// Training samples that are held out to choose learning rates.
  private static let heldOut = 10_000

  /// A row of the table.
  private struct Method {
    let name: String
    let options: [String]
  }

  /// What crosses after so many steps: a name, the strategy without its steps, and the codec; nil for that of the strategy.
  private static let codes = [
    (name: "floats", strategy: "local", codec: "none"), (name: "one bit", strategy: "local", codec: "one-bit"),
    (name: "rotated one bit", strategy: "local", codec: "rotated"), (name: "e3m0", strategy: "local", codec: "e3m0"),
    (name: "sparse-loco 1/64", strategy: "sparse-loco", codec: nil),
  ]
  private static let rates = ["0.05", "0.1", "0.2"]
  private static let inStep = [
    Method(name: "in step, floats", options: ["--codec", "none"]),
    Method(name: "in step, one bit, no warm start", options: ["--codec", "one-bit", "--warm-start", "0"]),
  ]

  private var methods: [Method] {
    Self.inStep
      + every.flatMap { steps in
        Self.codes.map { name, strategy, codec in
          Method(
            name: "H = \(steps), \(name)",
            options: ["--strategy", "\(strategy):steps=\(steps)"] + (codec.map { ["--codec", $0] } ?? []))
        }
      }
  }

  /// A run; on the held-out samples if it has no seed.
  private func job(_ method: Method, rate: String, seed: Int?) -> Job {
    var job = Job(
      name: "\(method.name), rate \(rate), \(seed.map { "seed \($0)" } ?? "held out")", program: "train", ranks: ranks,
      arguments: [
        "--data", setting.data + (seed == nil ? ",held-out=\(Self.heldOut)" : ""), "--model", "mlp:512,512", "--epochs",
        String(epochs), "--transport", "messages", "--learning-rate", rate, "--verify-every", "0", "--evaluate-every",
        "1000000",
        "--seed", String(seed ?? 100),
      ] + method.options)
    job.mayDiverge = seed == nil
    return job
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let methods = methods
    let trials = try laboratory.run(methods.flatMap { method in Self.rates.map { job(method, rate: $0, seed: nil) } })
    let chosen = try methods.indices.map { place in
      let losses = try trials[place * Self.rates.count..<(place + 1) * Self.rates.count].map {
        try $0.hasDiverged ? .infinity : $0.number("testLoss")
      }
      return Self.rates[losses.indices.min { losses[$0] < losses[$1] }!]
    }
    let reports = try laboratory.run(
      zip(methods, chosen).flatMap { method, rate in (1...setting.seeds).map { job(method, rate: rate, seed: $0) } })
    var table = TextTable(
      "A perceptron by local steps on \(ranks) ranks",
      columns: [
        "method", "rate", "accuracy in percent", "test loss", "bytes a rank, step and value", "times fewer than floats in step",
      ])
    var (floats, points): (Double?, [[(x: Double, y: Double)]]) = (nil, [])
    for (index, method) in methods.enumerated() {
      let own = reports[index * setting.seeds..<(index + 1) * setting.seeds]
      let bytes = Sample(values: try own.map(bytesPerStep)).mean
      floats = floats ?? bytes
      let accuracy = Sample(values: try own.map { try 100 * $0.number("testAccuracy") })
      points.append([(bytes / Double(Self.parameterCount), accuracy.mean)])
      table.add([
        method.name, chosen[index], accuracy.text(digits: 2),
        Sample(values: try own.map { try $0.number("testLoss") }).text(digits: 4),
        decimal(bytes / Double(Self.parameterCount), digits: 4), decimal((floats ?? bytes) / bytes, digits: 1),
      ])
    }
    table.notes = [
      "784-512-512-10, MNIST, \(epochs) epochs of minibatches of 256 over all ranks, momentum 0.9 inside a rank, rate falling as a cosine; "
        + "each method at its best rate on \(Self.heldOut) training samples that were held out. Bytes are those that the busiest rank sent, "
        + "headers and agreements among them. Mean (and range) of \(setting.seeds) seeds."
    ]
    try write(
      SVGPlot(
        title: "Local steps on \(ranks) ranks",
        x: .init("bytes a rank, step and value", .logarithmic(base: 10)), y: .init("test accuracy in percent"),
        series: curves(points)), to: svg)
    return [table]
  }

  /// A curve for each code, over the steps between exchanges; in step it is a point.
  private func curves(_ points: [[(x: Double, y: Double)]]) -> [SVGPlot.Series] {
    var series = zip(Self.inStep, points).map { SVGPlot.Series($0.name, $1) }
    for (code, (name, _, _)) in Self.codes.enumerated() {
      let places = stride(from: Self.inStep.count + code, to: points.count, by: Self.codes.count)
      let steps = every.map(String.init).joined(separator: ", ")
      series.append(SVGPlot.Series("\(name), H = \(steps)", places.flatMap { points[$0] }))
    }
    return series
  }

  /// The bytes that the busiest rank sent, by steps.
  private func bytesPerStep(_ report: Report) throws -> Double {
    try Double(report.bytesOfBusiestRank()) / report.number("steps")
  }
}
