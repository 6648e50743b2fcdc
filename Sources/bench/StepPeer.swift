internal import Buffers
internal import Foundation
internal import MPI

/// Another program that runs the same training steps, kept alive so that both sides can take turns.
///
/// It reads the number of steps of a turn from a line of its standard input, and answers with the seconds that they took;
/// before that, it writes its name.
final class StepPeer {
  /// Why a comparison is not possible.
  struct Failure: ExitStatusProviding, CustomStringConvertible {
    let description: String
    let exitStatus: Int32

    init(_ description: String, exitStatus: Int32 = 74) {
      self.description = description
      self.exitStatus = exitStatus
    }
  }

  /// The name that the program reports.
  private(set) var name = ""
  private let script: String
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()

  /// Starts `script` with the Python at `python`, for steps of `model` on samples of the form and classes given.
  init(
    script: String, python: String, model: String, inputs: String, classes: Int, minibatch: Int, threads: Int
  ) throws {
    self.script = script
    // A peer that has ended is an error to report, not a signal.
    signal(SIGPIPE, SIG_IGN)
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = [
      script, "--model", model, "--inputs", inputs, "--classes", "\(classes)", "--minibatch", "\(minibatch)", "--threads",
      "\(threads)",
    ]
    process.standardInput = input
    process.standardOutput = output
    do { try process.run() } catch { throw Failure("cannot start '\(script)': \(error.localizedDescription)") }
    name = try readLine()
  }

  deinit {
    // The peer ends when its input does.
    try? input.fileHandleForWriting.close()
    process.waitUntilExit()
  }

  /// The seconds that the peer takes for `steps` steps.
  func run(steps: Int) throws -> Double {
    do { try input.fileHandleForWriting.write(contentsOf: Data("\(steps)\n".utf8)) } catch {
      throw Failure("'\(script)' has ended before its time")
    }
    let answer = try readLine()
    guard let seconds = Double(answer), seconds > 0 else {
      throw Failure("'\(script)' answered '\(answer)' instead of seconds")
    }
    return seconds
  }

  private func readLine() throws -> String {
    var line = Data()
    while let byte = try output.fileHandleForReading.read(upToCount: 1), !byte.isEmpty {
      if byte[byte.startIndex] == 10 { return String(decoding: line, as: UTF8.self) }
      line += byte
    }
    throw Failure("'\(script)' has ended before its time; what it wrote to standard error says why")
  }
}
