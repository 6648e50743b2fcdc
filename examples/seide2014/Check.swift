import ArgumentParser
import Foundation
import Laboratory

/// What CI runs: K̂ with the paper's costs, and a table of tiny runs that is made, kept, and made again from what was kept.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the harness itself in a few seconds, without data.", shouldDisplay: false)

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "seide2014-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try checkLimits(Laboratory(folder: folder, runsAgain: false))
    try checkTable(folder: folder)
    print("the limits of the paper's costs, and a table that is kept: right")
  }

  /// Equation 4 with the paper's costs, to three digits.
  private func checkLimits(_ laboratory: Laboratory) throws {
    let expected: [(floats: (Double, Double), oneBit: Double?)] = [
      ((0.42, 0.22), 69.6), ((1.12, 0.58), 179.1), ((6.25, 3.14), 975.9),
      ((1.49, 0.80), nil), ((4.01, 2.06), nil), ((22.33, 11.22), nil),
    ]
    for (report, expected) in zip(try laboratory.run(Table1.Case.all.map(\.job)), expected) {
      let floats = try Table1.Limits(report, codec: "none")
      let oneBit = try Table1.Limits(report, codec: "one-bit")
      try expect(
        agree(floats.plain, expected.floats.0) && agree(floats.doubleBuffered, expected.floats.1)
          && agree(oneBit.doubleBuffered, expected.oneBit), "K̂ for \(report.job.name) is \(floats.text) and \(oneBit.text)")
    }
  }

  /// Whether a value equals `expected` to half a unit of the last digit given there.
  private func agree(_ value: Double?, _ expected: Double?) -> Bool {
    guard let value, let expected else { return value == nil && expected == nil }
    return abs(value - expected) <= max(0.0051, 0.0006 * expected)
  }

  private func checkTable(folder: String) throws {
    let arguments = [
      "--data", "glyphs:train=400,test=80", "--hidden", "24,16", "--steps", "12", "--ranks", "2", "--results", folder,
    ]
    let first = try Table2.parse(arguments + ["--seeds", "1"])
    let fresh = try Laboratory(folder: folder, runsAgain: false)
    let made = try first.tables(fresh)
    try expect(fresh.runCount == made[0].rows.count, "\(fresh.runCount) runs for \(made[0].rows.count) rows")
    let later = try Laboratory(folder: folder, runsAgain: false)
    let kept = try first.tables(later)
    try expect(later.runCount == 0 && kept[0].text == made[0].text, "\(later.runCount) runs were made again")
    let other = try Laboratory(folder: folder, runsAgain: false)
    _ = try Table2.parse(arguments + ["--seeds", "2"]).tables(other)
    try expect(other.runCount == fresh.runCount, "\(other.runCount) runs for one more seed")
  }

  private func expect(_ isRight: Bool, _ sentence: String) throws {
    guard isRight else { throw Failure(sentence) }
  }
}
