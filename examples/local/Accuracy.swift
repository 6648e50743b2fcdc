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
  @Option(help: ArgumentHelp("Write accuracy against bytes as a picture.", valueName: "file")) var svg: String?
  @OptionGroup var telling: Telling

  /// The values of a model of 784-512-512-10.
  private static let parameterCount = 669_706
  /// Training samples that are held out to choose learning rates.
  private static let heldOut = 10_000

  /// A row of the table: a method, and the learning rates to choose from.
  private struct Method {
    let name: String
    let options: [String]
    let rates: [String]
  }

  private static let methods: [Method] = {
    func method(_ name: String, _ strategy: String, _ codec: String, _ rates: [String], start: String? = nil) -> Method {
      Method(
        name: name,
        options: ["--strategy", strategy, "--codec", codec] + (start.map { ["--warm-start", $0] } ?? []), rates: rates)
    }
    let (inStep, local) = (["0.05", "0.1", "0.2"], ["0.05", "0.1", "0.2"])
    return [
      method("in step, floats", "all-reduce", "none", inStep),
      method("in step, one bit, no warm start", "all-reduce", "one-bit", inStep, start: "0"),
    ]
      + [4, 10, 30].flatMap { steps in
        [
          method("H = \(steps), floats", "local:steps=\(steps)", "none", local),
          method("H = \(steps), one bit", "local:steps=\(steps)", "one-bit", local),
          method("H = \(steps), e3m0", "local:steps=\(steps)", "e3m0", local),
          Method(name: "H = \(steps), sparse-loco 1/64", options: ["--strategy", "sparse-loco:steps=\(steps)"], rates: local),
        ]
      }
  }()

  /// A run; on the held-out samples if it has no seed.
  private func job(_ method: Method, rate: String, seed: Int?) -> Job {
    Job(
      name: "\(method.name), rate \(rate), \(seed.map { "seed \($0)" } ?? "held out")", program: "train", ranks: ranks,
      arguments: [
        "--data", setting.data + (seed == nil ? ",held-out=\(Self.heldOut)" : ""), "--model", "mlp:512,512", "--epochs",
        String(epochs), "--transport", "messages", "--learning-rate", rate, "--verify-every", "0", "--evaluate-every",
        "1000000",
        "--seed", String(seed ?? 100),
      ] + method.options)
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let trials = try laboratory.run(Self.methods.flatMap { method in method.rates.map { job(method, rate: $0, seed: nil) } })
    var first = 0
    let chosen = try Self.methods.map { method in
      defer { first += method.rates.count }
      let losses = try trials[first..<first + method.rates.count].map { try $0.number("testLoss") }
      return method.rates[losses.indices.min { losses[$0] < losses[$1] }!]
    }
    let reports = try laboratory.run(
      zip(Self.methods, chosen).flatMap { method, rate in (1...setting.seeds).map { job(method, rate: rate, seed: $0) } })
    var table = TextTable(
      "A perceptron by local steps on \(ranks) ranks",
      columns: [
        "method", "rate", "accuracy in percent", "test loss", "bytes a rank, step and value", "times fewer than floats in step",
      ])
    var (floats, points): (Double?, [[(x: Double, y: Double)]]) = (nil, [])
    for (index, method) in Self.methods.enumerated() {
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
    var series = points.prefix(2).enumerated().map { SVGPlot.Series(Self.methods[$0].name, $1) }
    let codes = ["floats", "one bit", "e3m0", "sparse-loco 1/64"]
    for (code, name) in codes.enumerated() {
      let places = stride(from: 2 + code, to: points.count, by: codes.count)
      series.append(SVGPlot.Series("\(name), H = 4, 10, 30", places.flatMap { points[$0] }))
    }
    return series
  }

  /// The bytes that the busiest rank sent, by steps.
  private func bytesPerStep(_ report: Report) throws -> Double {
    try Double(report.bytesOfBusiestRank()) / report.number("steps")
  }
}
