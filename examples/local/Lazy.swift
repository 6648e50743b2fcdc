import ArgumentParser
import Files
import Foundation
import Laboratory
import Reporting

/// Workers that upload gradients only when these have changed enough.
struct Lazy: PaperTable {
  static let configuration = CommandConfiguration(
    abstract: "Lazily aggregated gradients: logistic regression of 9 workers, in floats, on a grid, and by minibatches.")

  @Option(help: ArgumentHelp("How many seeds a figure is the mean of.", valueName: "n")) var seeds = 4
  @Option(help: ArgumentHelp("Write the uploads of each worker as a picture.", valueName: "file")) var svg: String?
  @OptionGroup var telling: Telling

  func validate() throws {
    if seeds < 1 { throw ValidationError("--seeds is at least 1, not \(seeds)") }
  }

  func tables(_ laboratory: Laboratory) throws -> [TextTable] {
    let (rows, tables) = try lazyTables(laboratory, seeds: seeds)
    try checkBars(rows)
    let series = lazyRows.compactMap { row in
      rows[row.name].map { figures in
        SVGPlot.Series(row.title, figures.byWorker.enumerated().map { (Double($0 + 1), $1) }, isReference: row.name == "none")
      }
    }
    try write(
      SVGPlot(
        title: "Uploads to the same loss", x: .init("worker, the smoothest first"), y: .init("uploads", .logarithmic(base: 10)),
        series: series), to: svg)
    return tables
  }

  /// The bars of the guide.
  private func checkBars(_ rows: [String: LazyFigures]) throws {
    guard let plain = rows["none"], let worker = rows["worker"], let server = rows["server"] else { return }
    guard 10 * worker.uploads.mean <= plain.uploads.mean, worker.iterations.mean <= plain.iterations.mean else {
      throw Failure("rule=worker: \(worker.uploads.mean) uploads for \(plain.uploads.mean)")
    }
    guard 2 * server.uploads.mean <= plain.uploads.mean, server.byWorker == server.byWorker.sorted() else {
      throw Failure("rule=server: \(server.byWorker) uploads")
    }
  }
}

/// What the runs of a row came to.
struct LazyFigures {
  let iterations: Sample
  let uploads: Sample
  let suboptimality: Sample
  /// Mean uploads of each worker.
  let byWorker: [Double]

  init(_ reports: some Sequence<Report>) throws {
    let reports = Array(reports)
    let uploads = reports.map { $0.lines.last?["uploads"] as? [Double] ?? [] }
    iterations = Sample(values: try reports.map { try $0.number("iterations") })
    self.uploads = Sample(values: uploads.map { $0.reduce(0, +) })
    suboptimality = Sample(values: try reports.map { try $0.number("suboptimality") })
    byWorker = (uploads.first ?? []).indices.map { m in uploads.reduce(0) { $0 + $1[m] } / Double(uploads.count) }
  }
}

/// A way to aggregate, of a table.
private struct LazyRow: Sendable {
  let name: String
  let title: String
  /// The codec for workers of these smoothnesses.
  let codec: @Sendable (_ smoothness: [Double]) -> String
}

private let lazyRows = [
  LazyRow(name: "none", title: "gradient descent") { _ in "none" },
  LazyRow(name: "zero", title: "lazy, ξ = 0") { _ in "lazy:xi=0,start=1" },
  LazyRow(name: "worker", title: "rule=worker, ξ = 0.1") { _ in "lazy:start=1" },
  LazyRow(name: "wide", title: "rule=worker, ξ = 1") { _ in "lazy:start=1,xi=1" },
  LazyRow(name: "server", title: "rule=server, ξ = 1, L known") {
    "lazy:rule=server,start=1,smoothness=\($0.map { "\($0)" }.joined(separator: "+"))"
  },
  LazyRow(name: "estimated", title: "rule=server, ξ = 0.1, L estimated") { _ in "lazy:rule=server,start=1" },
  LazyRow(name: "grid", title: "rule=worker, 4 bits") { _ in "lazy:bits=4,start=1" },
  LazyRow(name: "eight", title: "rule=worker, 8 bits") { _ in "lazy:bits=8,start=1" },
]

/// The runs of a row, one for each seed.
private func lazyJobs(_ name: String, codec: String, workers: Int, seeds: Int, _ options: [String]) -> [Job] {
  (1...seeds).map { seed in
    Job(
      name: "\(name), seed \(seed)", program: "example-local", ranks: workers,
      arguments: ["lazy-run", "--codec", codec, "--seed", String(seed)] + options)
  }
}

/// The tables, and the figures of the rows with different smoothness by name.
func lazyTables(_ laboratory: Laboratory, workers: Int = 9, seeds: Int) throws -> (
  rows: [String: LazyFigures], tables: [TextTable]
) {
  func figures(_ name: String, _ codec: String, _ options: [String]) throws -> LazyFigures {
    try LazyFigures(laboratory.run(lazyJobs(name, codec: codec, workers: workers, seeds: seeds, options)))
  }
  func text(_ figures: LazyFigures) -> [String] {
    [figures.iterations.mean < 3000 ? figures.iterations.text(digits: 0) : "over 3000", figures.uploads.text(digits: 0)]
  }
  var rows: [String: LazyFigures] = [:]
  var table = TextTable(
    "Logistic regression of \(workers) workers to 1e-6 of the suboptimality at the start",
    columns: ["method", "iterations", "uploads", "of each worker", "equal smoothness: iterations", "uploads"])
  for row in lazyRows {
    let smoothness = [false, true].map { isEqual in
      (0..<workers).map { LazyProblem.smoothness(of: $0, isEqual: isEqual) }
    }
    let own = try figures(row.title, row.codec(smoothness[0]), [])
    let equal = try figures("\(row.title), equal", row.codec(smoothness[1]), ["--equal"])
    rows[row.name] = own
    table.add(
      [row.title] + text(own) + [own.byWorker.map { decimal($0, digits: 0) }.joined(separator: " ")]
        + text(equal))
  }
  table.notes = [
    "50 samples a worker in 50 dimensions, a ridge of 0.1 each, rate 1/L, D = 10, all upload to the first step. Smoothness of worker m: "
      + "(1.3^m + 1)², or 4 each. Mean (and range) of \(seeds) seeds; uploads of each worker, the smoothest first."
  ]
  var second = TextTable(
    "The same by minibatches of 10, to 0.05 of the suboptimality at the start",
    columns: ["method", "rate", "iterations", "uploads", "suboptimality"])
  for rate in ["0.05", "0.3"] {
    for (title, codec) in [
      ("stochastic descent", "none"), ("rule=worker", "lazy:start=1"),
      ("rule=same-minibatch", "lazy:rule=same-minibatch,start=1"),
    ] {
      let options = ["--minibatch", "10", "--target", "0.05", "--rate", rate]
      let found = try figures("\(title), \(rate)", codec, options)
      second.add([title, "\(rate)/L"] + text(found) + [found.suboptimality.text(digits: 3)])
    }
  }
  return (rows, [table, second])
}

/// What few workers show: a rule that misses nothing is descent, and lazy uploads are fewer.
func checkLazy(_ laboratory: Laboratory) throws {
  let options = ["--target", "1e-3", "--equal"]
  let found = try ["none", "lazy:xi=0,start=1", "lazy:start=1"].map { codec in
    try LazyFigures(laboratory.run(lazyJobs(codec, codec: codec, workers: 3, seeds: 1, options)))
  }
  let uploads = found.map(\.uploads.mean)
  guard found[0].iterations.values == found[1].iterations.values, uploads[0] == uploads[1], 2 * uploads[2] < uploads[0] else {
    throw Failure("uploads \(uploads) in \(found.map(\.iterations.mean)) iterations")
  }
}
