import ArgumentParser
import Files
import Laboratory
import Reporting

/// Accuracy against compression: the paper's figures 3 and 5.
struct Accuracy: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Test accuracy against the compression of uploads, downloads and both, for each way to exchange gradients.")

  /// The bytes that are counted.
  enum Direction: String, CaseIterable, ExpressibleByArgument {
    case total
    case upload
    case download
  }

  @OptionGroup var setting: Setting
  @OptionGroup var telling: Telling
  @Option(help: ArgumentHelp("Draw the table, too.", valueName: "file")) var svg: String?
  @Option(help: ArgumentHelp("The bytes that are drawn: total, upload or download.", valueName: "which"))
  var direction = Direction.total

  func checkRequirements() throws { try setting.checkData() }

  /// The results of a contender's runs.
  struct Outcome {
    let contender: Contender
    /// Test accuracy in percent.
    let accuracy: Sample
    /// One for each of its seeds.
    let compression: [Compression]

    /// Whether a model ended with non-finite values.
    var isDiverged: Bool { accuracy.values.contains(0) }

    func mean(_ value: (Compression) -> Double) -> Double {
      compression.map(value).reduce(0, +) / Double(compression.count)
    }
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let outcomes = try outcomes(laboratory)
    if let svg { try write(plot(outcomes), to: svg) }
    var table = TextTable(
      "Accuracy against compression, \(setting.partition == .iid ? "iid" : "clients of one class")",
      columns: ["exchange", "sizes", "upload", "download", "total", "test accuracy", "against floats"])
    func times(_ ratio: Double) -> String { ratio == 1 ? "1" : "\(decimal(ratio, digits: ratio < 9.95 ? 1 : 0))×" }
    for outcome in outcomes {
      table.add([
        outcome.contender.name, outcome.contender.sizes, times(outcome.mean(\.upload)), times(outcome.mean(\.download)),
        times(outcome.mean(\.total)),
        outcome.isDiverged ? "diverged" : outcome.accuracy.text(digits: 2),
        outcome.contender.isFloat || outcome.isDiverged
          ? "" : signed(outcome.accuracy.mean - outcomes[0].accuracy.mean, digits: 2),
      ])
    }
    table.notes = [
      setting.description,
      "Compression: the bytes of a run of floats over those that all ranks sent, counted where they were handed over: values, "
        + "indices, candidates, lengths and headers. Upload: to the owners of shards; download: from them.",
    ]
    return [table]
  }

  /// The results of all contenders, floats first.
  func outcomes(_ laboratory: Laboratory) throws -> [Outcome] {
    let contenders = Contender.all(setting.partition)
    let jobs = contenders.flatMap { contender in (1...setting.seeds).map { setting.job(contender, seed: $0) } }
    let reports = try laboratory.run(jobs)
    return try contenders.enumerated().map { index, contender in
      let own = Array(reports[index * setting.seeds..<(index + 1) * setting.seeds])
      return Outcome(
        contender: contender, accuracy: Sample(values: try own.map { try 100 * $0.number("testAccuracy") }),
        compression: try own.map { try Compression(of: $0, against: reports[0]) })
    }
  }

  private func plot(_ outcomes: [Outcome]) -> SVGPlot {
    func place(_ outcome: Outcome) -> (x: Double, y: Double) {
      let ratio =
        switch direction {
        case .total: outcome.mean(\.total)
        case .upload: outcome.mean(\.upload)
        case .download: outcome.mean(\.download)
        }
      return (ratio, 100 - outcome.accuracy.mean)
    }
    var series: [SVGPlot.Series] = []
    for outcome in outcomes where outcome.mean(\.total) > 1 && !outcome.isDiverged {
      let name = outcome.contender.name
      if let known = series.firstIndex(where: { $0.name == name }) {
        series[known].points.append(place(outcome))
      } else {
        series.append(SVGPlot.Series(name, [place(outcome)], isVariant: outcome.contender.isVariant))
      }
    }
    for index in series.indices { series[index].points.sort { $0.x < $1.x } }
    let floats = 100 - outcomes[0].accuracy.mean
    let end = series.flatMap(\.points).map(\.x).max() ?? 2
    series.append(SVGPlot.Series("floats", [(1, floats), (end, floats)], isReference: true))
    return SVGPlot(
      title: setting.partition == .iid ? "Samples dealt at random" : "Clients of one class each",
      x: .init("\(direction.rawValue) compression", .logarithmic(base: 2)),
      y: .init("test error, %", .logarithmic(base: 2)), series: series)
  }
}

/// Writes a plot; throws one sentence on failure.
func write(_ plot: SVGPlot, to path: String) throws {
  do { try plot.write(to: FileDestination(path)) } catch { throw Failure("\(error)") }
}
