import ArgumentParser
import Foundation
import Laboratory
import Reporting

/// What CI runs: small tables without data, with the laws that small runs already show.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the harness itself in a few seconds, without data.", shouldDisplay: false)

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "local-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let laboratory = try Laboratory(folder: folder, runsAgain: false)
    let setting = try Setting.parse(["--data", "glyphs:train=600,test=100", "--seeds", "1"])
    try checkGossip(laboratory, setting)
    print("gossip over graphs: right")
    try checkClients(laboratory, setting)
    print("clients that are held: right")
    try checkLazy(laboratory)
    let picture = folder + "/lazy.svg"
    try write(
      SVGPlot(title: "lazy", x: .init("worker"), y: .init("uploads"), series: [.init("none", [(1, 2), (2, 3)])]), to: picture)
    try expect((try? String(contentsOfFile: picture, encoding: .utf8))?.contains("<svg") == true, "no picture")
    print("lazy uploads: right")
  }

  /// Graphs keep the models of workers together that have other classes each, the better the more they are connected.
  private func checkGossip(_ laboratory: Laboratory, _ setting: Setting) throws {
    func distance(_ strategy: String, _ options: [String] = []) throws -> Double {
      let jobs = setting.jobs(
        strategy, minibatch: 64, samples: 1200,
        [
          "--strategy", "gossip:\(strategy),workers=8", "--model", "softmax", "--learning-rate", "0.05", "--partition",
          "by-class:2",
          "--clients", "8",
        ] + options)
      let report = try laboratory.run(jobs)[0]
      let own = report.end?["workerAccuracy"] as? [Double] ?? []
      try expect(own.count == 8, "\(own)")
      return try report.number("consensusDistance")
    }
    let distances = try [
      distance("graph=complete"), distance("graph=exponential"), distance("graph=ring"), distance("method=choco,gamma=0"),
    ]
    try expect(distances == distances.sorted() && distances[2] < distances[3] / 2, "distances \(distances)")
    let others = try [
      distance("method=choco", ["--codec", "one-bit"]), distance("method=push-sum"), distance("method=no-loco,steps=2"),
    ]
    try expect(others.allSatisfy { $0 < distances[3] }, "distances \(others), unmixed \(distances[3])")
  }

  /// Clients stay the nearer to the model the more they are held, and those that are not held are those of averaging.
  private func checkClients(_ laboratory: Laboratory, _ setting: Setting) throws {
    func figures(_ strategy: String) throws -> ClientFigures {
      try ClientFigures(
        laboratory.run(
          setting.jobs(
            strategy, minibatch: 50, samples: 1000,
            [
              "--strategy", strategy, "--model", "softmax", "--learning-rate", "0.1", "--codec", "none", "--partition",
              "by-class:2", "--clients", "20", "--sampled", "5",
            ])))
    }
    let mu = [0, 0.5, 2]
    let held = try mu.map { try figures("fed-prox:steps=10,proximal=\($0)") }
    try ClientFigures.check(held, of: mu, against: figures("fed-avg:steps=10"))
  }

  private func expect(_ isRight: Bool, _ sentence: String) throws {
    guard isRight else { throw Failure(sentence) }
  }
}
