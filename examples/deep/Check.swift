import ArgumentParser
import Foundation
import Laboratory

/// What CI runs: a figure of few epochs, with its picture, and what it must show.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the harness itself in a few seconds.", shouldDisplay: false)

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "deep-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let picture = folder + "/normalization.svg"
    let figure = try Normalization.parse(["--epochs", "1", "--results", folder, "--svg", picture])
    let rows = try figure.tables(Laboratory(folder: folder, runsAgain: false))[0].rows
    let losses = rows.compactMap { Double($0[1]) }
    // Synchronized ranks train what one rank does.
    guard losses.count == 4, abs(losses[3] - losses[1]) < 0.01, (try? String(contentsOfFile: picture, encoding: .utf8)) != nil
    else { throw Failure("losses \(losses)") }
    print("batch normalization of one rank and of four in step, and its picture: right")
  }
}
