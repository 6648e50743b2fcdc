import ArgumentParser
import Foundation
import Trainer

/// The tables of the paper on 1-bit SGD in miniature; README.md tells what differs.
@main
struct Seide2014: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "example-seide2014",
    abstract: "The tables of \"1-bit stochastic gradient descent and its application to data-parallel distributed training "
      + "of speech DNNs\" (Seide, Fu, Droppo, Li, Yu 2014) in miniature, the paper's figures beside ours.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a table that was stopped goes on where it was.

        swift build -c release
        .build/release/example-seide2014 table2 --data speech:DIR
      """,
    subcommands: [
      Table1.self, Table2.self, Table3.self, Table4.self, Table5.self, Table6.self, FirstStep.self, Check.self,
    ])

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      Terminal.write("seide2014: \(failure)\n")
      exit(withError: ExitCode(1))
    } catch {
      exit(withError: error)
    }
  }
}

/// A command that runs jobs and prints the paper's figures beside ours.
protocol PaperTable: ParsableCommand {
  var telling: Telling { get }
  /// Whether everything is there that the table's runs need; throws one sentence if not.
  func checkRequirements() throws
  /// The tables, from runs in a laboratory.
  func tables(_ laboratory: Laboratory) throws -> [TextTable]
}

extension PaperTable {
  func checkRequirements() throws {}

  func run() throws {
    try checkRequirements()
    try telling.tell(try tables(try telling.laboratory()))
  }
}

/// Where results are kept, and how a table is told.
struct Telling: ParsableArguments {
  @Option(help: ArgumentHelp("Where results of runs are kept.", valueName: "dir"))
  var results = ".build/seide2014"
  @Flag(help: "Run again what was run before.") var again = false
  @Option(help: ArgumentHelp("Write the table as comma-separated values, too.", valueName: "file")) var csv: String?
  @Option(help: ArgumentHelp("Write the table as JSON, too.", valueName: "file")) var json: String?

  func laboratory() throws -> Laboratory { try Laboratory(folder: results, runsAgain: again) }

  /// Prints tables, and writes the files that were asked for.
  func tell(_ tables: [TextTable]) throws {
    print(tables.map(\.text).joined(separator: "\n\n"))
    for (path, text) in [
      (csv, tables.map(\.csv).joined(separator: "\r\n")), (json, tables.map { "\($0.json)\n" }.joined()),
    ] {
      guard let path else { continue }
      do {
        try text.write(toFile: path, atomically: true, encoding: .utf8)
      } catch { throw Failure("\(path) cannot be written: \(error.localizedDescription)") }
    }
  }
}
