package import ArgumentParser
internal import Files
internal import Foundation

/// The command line of an example: what a run or a table cannot do ends it with one sentence and status 1.
package protocol Example: ParsableCommand {
  /// The name in that sentence.
  static var shortName: String { get }
}

extension Example {
  /// Does what the command line says.
  package static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let failure as Failure {
      Terminal.write("\(shortName): \(failure)\n")
      exit(withError: ExitCode(1))
    } catch {
      exit(withError: error)
    }
  }
}
