package import ArgumentParser
import Files
import Foundation

/// A command that runs jobs and prints the paper's figures beside ours.
package protocol PaperTable: ParsableCommand {
  var telling: Telling { get }
  /// Checks that everything that the table's runs need is present; throws one sentence if not.
  func checkRequirements() throws
  /// The tables, from runs in a laboratory.
  func tables(_ laboratory: Laboratory) throws -> [TextTable]
}

extension PaperTable {
  package func checkRequirements() throws {}

  package func run() throws {
    try checkRequirements()
    try telling.tell(try tables(try telling.laboratory()))
  }
}

/// Where results are kept, and how a table is written.
package struct Telling: ParsableArguments {
  @Option(help: ArgumentHelp("Where results of runs are kept.", valueName: "dir"))
  package var results = ".build/\(programName)"
  @Flag(help: "Run again what was run before.") package var again = false
  @Option(help: ArgumentHelp("Write the table as comma-separated values, too.", valueName: "file")) package var csv: String?
  @Option(help: ArgumentHelp("Write the table as JSON, too.", valueName: "file")) package var json: String?

  package init() {}

  package func laboratory() throws -> Laboratory {
    if let fault = FileConflicts.faults(outputs: [("csv", csv), ("json", json)]).first { throw Failure(fault) }
    return try Laboratory(folder: results, runsAgain: again)
  }

  /// Prints tables, and writes the requested files.
  package func tell(_ tables: [TextTable]) throws {
    let files = try [csv, json].map { name in try name.map { name in try refusable { try FileDestination(name) } } }
    try refusable { for file in files { try file?.open() } }
    if !files.contains(where: { $0?.isStandardOutput ?? false }) {
      try refusable { try StandardStreams.write(tables.map(\.text).joined(separator: "\n\n") + "\n") }
    }
    let texts = [tables.map(\.csv).joined(separator: "\r\n"), tables.map { "\($0.json)\n" }.joined()]
    for (file, text) in zip(files, texts) { try refusable { try file?.write(Array(text.utf8)) } }
  }
}

/// Runs a file operation; a failure ends an example with one sentence.
private func refusable<Result>(_ body: () throws -> Result) throws -> Result {
  do { return try body() } catch { throw Failure("\(error)") }
}

/// The name of this example: the program's name without the prefix that all share.
private let programName = URL(fileURLWithPath: CommandLine.arguments[0]).lastPathComponent.replacing("example-", with: "")
