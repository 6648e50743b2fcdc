internal import ArgumentParser
internal import Buffers
internal import Codecs
internal import Files
internal import MPI
#if canImport(Glibc)
  internal import Glibc
#endif

@main
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measures what Morse and this machine can do.",
    discussion: "GB = 10⁹ bytes. ping-pong, all-reduce and step run under mpirun.",
    subcommands: [
      MemoryCommand.self, CodecsCommand.self, PingPongCommand.self, AllReduceCommand.self, StepCommand.self,
    ])

  static func main() {
    OutOfMemory.whenUnhandled { end(outOfMemory: $0) }
    StandardStreams.openClosed()
    if let fault = StandardStreams.argumentFault { fail(fault, status: 64) }
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as SpecificationError {
      fail(error.description, status: 64)
    } catch let error as SketchError {
      fail(error.description, status: 64)
    } catch let error as NumpyFileError {
      fail(error.description, status: error.exitStatus)
    } catch let error as OutOfMemory {
      end(outOfMemory: error)
    } catch let error as any ExitStatusProviding {
      fail("\(error)", status: error.exitStatus)
    } catch  where exitCode(for: error) == .success {
      if speaksForJob { writeLine(fullMessage(for: error)) }
      Glibc.exit(0)
    } catch {
      // Rank 0 reports for all.
      Launcher.letRankZeroSpeak()
      if !speaksForJob { Glibc.exit(exitCode(for: error).rawValue) }
      exit(withError: error)
    }
  }
}
