import ArgumentParser
import Files
import Laboratory
import Reporting

/// What regularization, normalization and depth do to deep networks, as curves; README.md says how to read them.
@main
struct Deep: Example {
  static let shortName = "deep"
  static let configuration = CommandConfiguration(
    commandName: "example-deep",
    abstract: "What dropout, normalization and depth do: a table and a picture for each, on digits that are drawn.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a figure that was stopped goes on where it was.

        swift build -c release
        .build/release/example-deep regularization --svg regularization.svg
      """,
    subcommands: [Regularization.self, Normalization.self, Depth.self, Check.self])
}

/// A run of a figure: its name in the legend, and what it does.
struct Variant {
  let name: String
  var ranks = 1
  let options: [String]

  /// The run on `samples` training samples of drawn digits.
  func job(samples: Int, _ common: [String]) -> Job {
    Job(
      name: name, program: "train", ranks: ranks,
      arguments: ["--data", "glyphs:train=\(samples),test=2000", "--codec", "none", "--quiet"] + common + options)
  }
}

extension Report {
  /// A number of each epoch, from 1 on.
  func epochs(_ key: String) -> [(x: Double, y: Double)] {
    lines.filter { $0["event"] as? String == "epoch" }.enumerated().compactMap { index, line in
      (line[key] as? Double).map { (Double(index + 1), $0) }
    }
  }

  /// The last of them; nil if there is none.
  func last(_ key: String) -> Double? { epochs(key).last?.y }
}

/// A table of the ends of runs, a row for each.
func table(_ title: String, _ variants: [Variant], _ reports: [Report]) -> TextTable {
  var table = TextTable(title, columns: ["network", "training loss", "test loss", "accuracy in percent"])
  func text(_ value: Double?, _ digits: Int) -> String { value.map { decimal($0, digits: digits) } ?? "–" }
  for (variant, report) in zip(variants, reports) {
    table.add([
      variant.name, text(report.last("trainLoss"), 3), text(report.last("testLoss"), 3),
      text(report.last("testAccuracy").map { 100 * $0 }, 1),
    ])
  }
  return table
}

/// Writes curves of the runs by epoch, if a file is named.
func write(_ title: String, _ key: String, _ axis: String, _ variants: [Variant], _ reports: [Report], to file: String?) throws
{
  let series = zip(variants, reports).map { SVGPlot.Series($0.name, $1.epochs(key)) }
  try write(SVGPlot(title: title, x: .init("epochs"), y: .init(axis), series: series), to: file)
}

/// Writes a plot, if a file is named; throws one sentence on failure.
func write(_ plot: SVGPlot, to file: String?) throws {
  guard let file else { return }
  do { try plot.write(to: FileDestination(file)) } catch { throw Failure("\(error)") }
}
