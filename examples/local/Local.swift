import ArgumentParser
import Files
import Foundation
import Laboratory

/// Few synchronizations: what ranks need not send.
@main
struct Local: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "example-local",
    abstract: "Training with few synchronizations.",
    discussion: """
      Run it in the package's folder. Results are kept by command line, so that a table that was stopped goes on where it was.

        swift build -c release
        .build/release/example-local lazy
      """,
    subcommands: [Lazy.self, LazyRun.self, Check.self])

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      Terminal.write("local: \(failure)\n")
      exit(withError: ExitCode(1))
    } catch {
      exit(withError: error)
    }
  }
}
