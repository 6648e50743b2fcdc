import ArgumentParser
import Buffers
import Datasets
import Files
import Foundation
import Laboratory
import Networks
import Reporting

/// How heavy the heavy coordinates of gradients are during training, which sparse updates and sketches depend on.
struct Gradients: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The distribution of the gradient's values over training, and how many coordinates carry 90 % of its energy.")

  @OptionGroup var telling: Telling
  @Option(help: ArgumentHelp("The data.", valueName: "spec")) var data = "idx:../shared/data/mnist"
  @Option(help: ArgumentHelp("The model.", valueName: "spec")) var model = "mlp:512,512"
  @Option(help: ArgumentHelp("The length of the training in steps.", valueName: "n")) var steps = 1000
  @Option(help: ArgumentHelp("The learning rate; momentum is 0.9.", valueName: "x")) var learningRate = 0.1
  @Option(help: ArgumentHelp("The seed.", valueName: "n")) var seed: UInt64 = 1
  @Option(help: ArgumentHelp("Draw the share of energy against the share of coordinates.", valueName: "file")) var svg: String?
  @Option(help: ArgumentHelp("Draw the histograms of magnitudes.", valueName: "file")) var histogram: String?

  func validate() throws {
    guard steps >= 1 else { throw ValidationError("--steps is at least 1, not \(steps)") }
  }

  /// The vectors of a step, by name.
  private struct Record {
    let step: Int
    let loss: Double
    let vectors: [(name: String, energy: Energy)]
  }

  func run() throws { try telling.tell([try table()]) }

  /// The table; also draws the requested plots.
  func table() throws -> TextTable {
    let (records, parameterCount) = try train()
    var table = TextTable(
      "The coordinates that carry energy, in percent of all",
      columns: ["step", "loss", "vector", "not zero", "50 %", "90 %", "99 %", "energy of the largest 1 %"])
    for record in records {
      for (index, vector) in record.vectors.enumerated() {
        func percent(_ share: Double) -> String { significant(100 * share, digits: 2) }
        func part(_ share: Double) -> String { percent(Double(vector.energy.count(carrying: share)) / Double(parameterCount)) }
        table.add([
          index == 0 ? String(record.step) : "", index == 0 ? decimal(record.loss, digits: 3) : "", vector.name,
          percent(vector.energy.support), part(0.5), part(0.9), part(0.99),
          percent(vector.energy.share(of: parameterCount / 100)),
        ])
      }
    }
    table.notes = [
      "\(model), \(data.split(separator: ":").first ?? ""), \(parameterCount) parameters, one rank, floats, minibatch 256, rate "
        + "\(learningRate), momentum 0.9, seed \(seed).",
      "Gradient: of the minibatch. Momentum: Σ 0.9^i of the gradients before. One client's: of 32 samples of one class.",
    ]
    if let svg { try write(plot(records, parameterCount), to: svg) }
    if let path = histogram { try write(magnitudes(records), to: path) }
    return table
  }

  // MARK: - Training

  /// Trains, and records the vectors of a few steps on the way.
  private func train() throws -> ([Record], parameterCount: Int) {
    let dataset: any Dataset
    let network: any Network
    do {
      dataset = try datasets.make(data)(seed)
      network = try models.make(model)(dataset.form)
    } catch { throw Failure("\(error)") }
    let count = network.layout.count
    let buffers = (0..<4).map { _ in FloatBuffer(count: count) }
    let (parameters, gradient, momentum, client) = (buffers[0], buffers[1], buffers[2], buffers[3])
    network.initialize(parameters, seed: seed)
    let batch = Minibatch(capacity: Gradients.minibatch, of: dataset.form)
    let alike = (0..<dataset.count(.train)).filter { dataset.label($0, of: .train) == 3 % dataset.classCount }
    let looks = Set([1, 10, 100, 1000, 10_000].filter { $0 < steps } + [steps])
    let order = SampleOrder(count: dataset.count(.train), seed: seed)
    let stepsInEpoch = max(1, order.count / Gradients.minibatch)
    var samples: [Int32] = []
    var records: [Record] = []
    for step in 1...steps {
      let (epoch, place) = (step - 1).quotientAndRemainder(dividingBy: stepsInEpoch)
      if place == 0 { samples = order.epoch(epoch) }
      let own = samples.dropFirst(place * Gradients.minibatch).prefix(Gradients.minibatch)
      let loss = try descent(on: own, of: dataset, batch, network, parameters, into: gradient)
      for index in 0..<count { momentum[index] = 0.9 * momentum[index] + gradient[index] }
      if looks.contains(step) {
        let ofClient = (0..<Gradients.minibatch / 8).map { alike[(step * 32 + $0) % alike.count] }
        _ = try descent(on: ofClient, of: dataset, batch, network, parameters, into: client)
        let vectors = [("gradient", gradient), ("momentum", momentum), ("one client's gradient", client)]
        records.append(Record(step: step, loss: loss, vectors: vectors.map { ($0, Energy($1)) }))
      }
      for index in 0..<count { parameters[index] -= Float(learningRate) * momentum[index] }
    }
    return (records, count)
  }

  /// The mean loss of the given samples, and its gradient.
  private func descent(
    on samples: some Collection<some BinaryInteger>, of dataset: any Dataset, _ batch: Minibatch, _ network: any Network,
    _ parameters: FloatBuffer, into gradient: FloatBuffer
  ) throws -> Double {
    dataset.load(samples, of: .train, into: batch)
    let result = try network.gradient(
      of: batch, parameters: parameters, scale: 1 / Float(max(batch.count, 1)), into: gradient, ready: { _ in })
    return result.lossSum / Double(max(result.count, 1))
  }

  private static let minibatch = 256

  // MARK: - Pictures

  /// The share of energy in the largest coordinates: of the gradient, and dashed, of a client's.
  private func plot(_ records: [Record], _ parameterCount: Int) -> SVGPlot {
    let shares: [Double] = stride(from: -4.0, through: 0, by: 0.25).map { pow(10, $0) }
    let series = records.flatMap { record in
      [0, 2].map { index in
        SVGPlot.Series(
          "step \(record.step), \(record.vectors[index].name)",
          shares.map { share -> (Double, Double) in
            let count = Int((share * Double(parameterCount)).rounded(.up))
            return (100 * share, 100 * record.vectors[index].energy.share(of: count))
          },
          isVariant: index > 0)
      }
    }
    return SVGPlot(
      title: "Energy in the largest coordinates", x: .init("largest coordinates, % of all", .logarithmic(base: 10)),
      y: .init("share of the energy, %"), series: series)
  }

  /// The magnitudes of the gradient's coordinates.
  private func magnitudes(_ records: [Record]) -> SVGPlot {
    SVGPlot(
      title: "Magnitudes of the gradient's coordinates",
      x: .init("magnitude, in root mean squares of all coordinates", .logarithmic(base: 10)),
      y: .init("coordinates in a bin of a quarter of a decade, %"),
      series: records.map { record in
        SVGPlot.Series(
          "step \(record.step)",
          record.vectors[0].energy.histogram(from: -6, to: 3, width: 0.25).map { ($0.magnitude, 100 * $0.share) })
      })
  }
}
