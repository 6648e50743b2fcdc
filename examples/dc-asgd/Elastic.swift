import ArgumentParser
import Laboratory

/// Eight workers with models of their own, elastically bound to a centre, and workers that push what steps of their own have changed.
struct Elastic: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "A perceptron by elastic averaging and by local steps, 8 workers, at the same number of samples.")

  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling

  private struct Row {
    let name: String
    /// Nil for descent in step.
    let strategy: String?
    let rate: String
    var momentum: String? = "0"
    var speed = "rr"
    var codec = "none"
  }

  private static let rows = [
    Row(name: "in step", strategy: nil, rate: "0.3"),
    Row(name: "in step, momentum 0.9", strategy: nil, rate: "0.1", momentum: "0.9"),
    Row(name: "easgd, τ = 4", strategy: "easgd:period=4", rate: "0.3"),
    Row(name: "easgd, τ = 16", strategy: "easgd:period=16", rate: "0.3"),
    Row(name: "easgd, τ = 64", strategy: "easgd:period=64", rate: "0.3"),
    Row(name: "easgd together, τ = 4", strategy: "easgd:period=4,order=together", rate: "0.3"),
    Row(name: "easgd together, τ = 16", strategy: "easgd:period=16,order=together", rate: "0.3"),
    Row(name: "easgd, τ = 4, one bit", strategy: "easgd:period=4", rate: "0.3", codec: "one-bit"),
    Row(name: "easgd, τ = 16, one bit", strategy: "easgd:period=16", rate: "0.3", codec: "one-bit"),
    Row(name: "easgd, τ = 16, one worker 5 times slower", strategy: "easgd:period=16", rate: "0.3", speed: "slow:5"),
    Row(name: "eamsgd, δ = 0.9, τ = 4", strategy: "eamsgd:period=4,delta=0.9", rate: "0.1", momentum: nil),
    Row(name: "eamsgd, δ = 0.9, τ = 16", strategy: "eamsgd:period=16,delta=0.9", rate: "0.1", momentum: nil),
    Row(name: "eamsgd, δ = 0.9, τ = 4", strategy: "eamsgd:period=4,delta=0.9", rate: "0.03", momentum: nil),
    Row(name: "eamsgd, δ = 0.9, τ = 16", strategy: "eamsgd:period=16,delta=0.9", rate: "0.03", momentum: nil),
    Row(name: "async-local, H = 16", strategy: "async-local:steps=16,outer-momentum=0.5", rate: "0.3"),
    Row(name: "async-local, H = 16, one bit", strategy: "async-local:steps=16", rate: "0.3", codec: "one-bit"),
    Row(name: "async-local, H = 16, μ = 0.9", strategy: "async-local:steps=16,outer-momentum=0.9", rate: "0.3"),
    Row(
      name: "async-local, H = 16, one worker 5 times slower", strategy: "async-local:steps=16,outer-momentum=0.5", rate: "0.3",
      speed: "slow:5"),
  ]

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let seeds = setting.seeds
    let jobs = Self.rows.flatMap { row in
      setting.jobs(
        "\(row.name), \(row.rate)", row.strategy, workers: 8, perWorker: row.strategy == nil ? 256 : 32, samples: 60_000,
        speed: row.speed, momentum: row.momentum, codec: row.codec, ["--model", "mlp:256,256", "--learning-rate", row.rate])
    }
    let reports = try laboratory.run(jobs)
    var table = TextTable(
      "A perceptron by elastic averaging and by local steps, 8 workers",
      columns: ["method", "rate", "accuracy in percent", "test loss", "distance to the centre"])
    for (index, row) in Self.rows.enumerated() {
      let own = reports[index * seeds..<(index + 1) * seeds]
      let figures = try Figures(own)
      let distances = own.compactMap { try? $0.number("workerDistance") }
      table.add([
        row.name, row.rate, figures.accuracy.text(digits: 1), figures.loss.text(digits: 3),
        distances.isEmpty ? "–" : Sample(values: distances).text(digits: 2),
      ])
    }
    table.notes = [
      "784-256-256-10, MNIST, 60 000 samples in minibatches of 32 a worker (256 in step), rate falling as a cosine, α = 0.9/8; easgd and "
        + "eamsgd: the centre, and the root mean square of the workers' distances to it. Mean (and range) of \(seeds) seeds."
    ]
    return [table]
  }
}
