internal import ArgumentParser
import Buffers
internal import Files
internal import MPI
#if canImport(Glibc)
  internal import Glibc
#endif

/// The options of all subcommands.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print one JSON object per row instead of a table.")
  var json = false
}

/// One column of a table: its title for people, and its key for programs.
struct Column {
  /// The key in JSON: `p50`.
  let key: String
  /// The title in the table, with the unit: `p50 (µs)`.
  let title: String
  /// How a number is shown in the table; JSON gets the number itself.
  let format: Format

  enum Format {
    /// Left-aligned text.
    case text
    /// An integer with a space between groups of three digits.
    case integer
    /// The number times `scale`, with the given number of decimals.
    case decimal(Int, scale: Double = 1)
  }

  init(_ key: String, _ title: String, _ format: Format = .text) {
    self.key = key
    self.title = title
    self.format = format
  }
}

/// One value of a row.
enum Cell {
  case text(String)
  case integer(Int)
  case number(Double)
  /// `null` in JSON, a dash in the table.
  case nothing
}

/// Rows that are printed as they are added: aligned for people, or one JSON object per line.
///
/// `bench` is the first key of every object. A table's columns are as wide as their titles, and at least `width`.
final class Table {
  let bench: String
  let columns: [Column]
  let isJSON: Bool
  private var printedTitles = false
  private let width: Int
  private let isOnStandardError: Bool

  /// With `isOnStandardError`, rows go to standard error and leave standard output to a file.
  init(_ bench: String, _ columns: [Column], options: OutputOptions, width: Int = 10, isOnStandardError: Bool = false) {
    self.isOnStandardError = isOnStandardError
    self.bench = bench
    self.columns = columns
    isJSON = options.json
    self.width = width
  }

  /// Prints a row: one cell for each column.
  func row(_ cells: [Cell]) {
    require(cells.count == columns.count, "a row of \(cells.count) cells under \(columns.count) columns")
    if isJSON {
      let members = zip(columns, cells).map { JSONValue.Member($0.key, json($1)) }
      write("\(JSONValue.object([JSONValue.Member("bench", .string(bench))] + members))")
    } else {
      if !printedTitles {
        write(zip(columns, columns.map(\.title)).map { pad($1, $0) }.joined(separator: "  "))
        printedTitles = true
      }
      write(zip(columns, cells).map { pad(show($1, $0.format), $0) }.joined(separator: "  "))
    }
  }

  private func write(_ line: String) { writeLine(line, toStandardError: isOnStandardError) }

  private func pad(_ text: String, _ column: Column) -> String {
    let space = String(repeating: " ", count: max(0, max(width, column.title.count) - text.count))
    if case .text = column.format { return text + space }
    return space + text
  }

  private func show(_ cell: Cell, _ format: Column.Format) -> String {
    switch (cell, format) {
    case (.text(let text), _): text
    case (.integer(let value), .decimal(let digits, let scale)): decimal(Double(value) * scale, digits: digits)
    case (.integer(let value), _): grouped(value)
    case (.number(let value), .decimal(let digits, let scale)): decimal(value * scale, digits: digits)
    case (.number(let value), _): "\(value)"
    case (.nothing, _): "–"
    }
  }

  private func json(_ cell: Cell) -> JSONValue {
    switch cell {
    case .text(let text): .string(text)
    case .integer(let value): .integer(value)
    case .number(let value): .number(value)
    case .nothing: .null
    }
  }
}

/// Prints a line to standard output immediately, so that long runs can be followed through a pipe.
func writeLine(_ line: String, toStandardError: Bool = false) {
  if toStandardError { return Terminal.write(line + "\n") }
  do { try StandardStreams.write(line + "\n") } catch { fail("\(error)", status: error.exitStatus) }
}

/// An integer with a space between groups of three digits: `16 777 216`.
func grouped(_ value: Int) -> String {
  var digits = Array(String(value.magnitude))
  for place in stride(from: digits.count - 3, to: 0, by: -3) { digits.insert(" ", at: place) }
  return (value < 0 ? "-" : "") + String(digits)
}

extension [Double] {
  /// The value below which the fraction `share` lies (nearest rank); the median by default.
  func percentile(_ share: Double = 0.5) -> Double {
    guard let value = Buffers.percentile(share, of: self) else { fatalError("a percentile of nothing") }
    return value
  }
}

/// The seconds that `body` takes.
func seconds(_ body: () throws -> Void) rethrows -> Double {
  let start = ContinuousClock.now
  try body()
  return (ContinuousClock.now - start) / .seconds(1)
}

/// Whether this process reports for the job: rank 0, or the only process.
var speaksForJob: Bool { Launcher.rank == 0 }

/// Ends the program with one sentence on standard error, printed by rank 0 only.
func fail(_ sentence: String, status: Int32) -> Never {
  let line = Array("bench: \(sentence)\n".utf8)
  Launcher.letRankZeroSpeak()
  if speaksForJob { _ = write(2, line, line.count) }
  exit(status)
}
