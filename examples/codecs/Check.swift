import ArgumentParser
import Foundation
import Laboratory

/// What CI runs: every code trains a small model on two ranks, and sends as many bits as it should.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the harness itself in a few seconds, without data.", shouldDisplay: false)

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "codecs-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let laboratory = try Laboratory(folder: folder, runsAgain: false)
    let picture = folder + "/check.svg"
    let comparison = Comparison(
      title: "glyphs", data: "glyphs:train=1200,test=200", heldOut: ",held-out=200", rates: ["0.1"],
      options: ["--model", "mlp:32", "--steps", "40", "--minibatch", "60"], result: .accuracy)
    let codes = ["none", "one-bit", "random-k:k=1/8"]
    let setting = try Setting.parse(
      ["--ranks", "2", "--seeds", "1", "--svg", picture] + codes.flatMap { ["--codec", $0] })
    let rows = try comparison.table(laboratory, setting).rows
    let bits = rows.compactMap { Double($0[4]) }
    try expect(bits.count == 3 && bits[0] == 32, "bits \(bits)")
    try expect((1..<2).contains(bits[1]) && (4..<5).contains(bits[2]), "bits \(bits)")
    try expect((try? String(contentsOfFile: picture, encoding: .utf8))?.contains("<svg") == true, "no picture")
    print("codes under one trainer: right")
  }

  private func expect(_ isRight: Bool, _ sentence: String) throws {
    guard isRight else { throw Failure(sentence) }
  }
}
