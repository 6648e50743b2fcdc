import ArgumentParser
import Foundation
import Laboratory

/// What CI runs: small tables without data, with the laws that small runs already show.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the harness itself in a few seconds, without data.", shouldDisplay: false)

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "dc-asgd-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let laboratory = try Laboratory(folder: folder, runsAgain: false)
    let setting = try Setting.parse(["--data", "glyphs:train=600,test=100", "--seeds", "1"])
    func figure(_ strategy: String?, speed: String = "rr", _ key: String) throws -> Double {
      let jobs = setting.jobs(
        strategy ?? "one worker", strategy, workers: 8, perWorker: 8, samples: 600, speed: speed,
        ["--model", "softmax", "--learning-rate", "0.05"])
      return try laboratory.run(jobs)[0].number(key)
    }
    let losses = try ["asgd", "dc-asgd:lambda=0", "dc-asgd:lambda=10"].map { try figure($0, "testLoss") }
    try expect(losses[0] == losses[1] && losses[2] < losses[0], "losses \(losses)")
    // Seven workers that do a gradient each while the eighth does a quarter; in step all wait for it.
    let free = try 80 / figure("asgd", speed: "slow:4", "emulatedTime")
    let bound = try 80 / figure("ssp:bound=0", speed: "slow:4", "emulatedTime")
    try expect(free > 5.5 && abs(bound - 2) < 0.01, "\(free) and \(bound) pushes")
    // Workers that meet the centre more often stay nearer to it; without a bond it does not move.
    let distances = try ["easgd:period=1", "easgd:period=5"].map { try figure($0, "workerDistance") }
    let bonds = try ["easgd:alpha=0", "easgd:period=1", "async-local:steps=2"].map { try figure($0, "testLoss") }
    try expect(0 < distances[0] && distances[0] < distances[1], "distances \(distances)")
    try expect(bonds[1] < bonds[0] && bonds[2] < bonds[0], "losses \(bonds)")
    // Averages keep the models of workers together that have other samples each.
    let pairs = setting.jobs(
      "pairs", "ad-psgd:graph=complete,minibatches=own", workers: 8, perWorker: 8, samples: 600,
      ["--model", "softmax", "--learning-rate", "0.05", "--partition", "by-class:2", "--clients", "8"])
    let report = try laboratory.run(pairs)[0]
    let own = report.end?["workerAccuracy"] as? [Double] ?? []
    try expect(own.count == 8 && report.number("consensusDistance") < 0.05, "\(own) \(report.end ?? [:])")
    print("delay, its compensation, bounds, elastic bonds and averages of pairs in emulated time: right")
  }

  private func expect(_ isRight: Bool, _ sentence: String) throws {
    guard isRight else { throw Failure(sentence) }
  }
}
