import ArgumentParser
import Foundation
import Laboratory

/// What CI runs: small tables without data, with the laws that small runs already show.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the harness itself in a few seconds, without data.", shouldDisplay: false)

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "local-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try checkLazy(Laboratory(folder: folder, runsAgain: false))
    print("lazy uploads: right")
  }
}
