import ArgumentParser
import Buffers
import Datasets
import Foundation
import Laboratory

/// What CI runs: energies of known vectors, and a table of tiny runs whose bytes match the formats.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Check the harness itself in a few seconds, without data.", shouldDisplay: false)

  func run() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "fetchsgd-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try checkEnergy()
    try checkGradients()
    try checkHeldOut(folder)
    try checkCompression(Laboratory(folder: folder, runsAgain: false))
    print("energies of known vectors, gradients of a small model, samples that are held out, and the bytes of tiny runs: right")
  }

  private func checkEnergy() throws {
    let vector = FloatBuffer(count: 5)
    for (index, value) in [Float(0), -3, 1, 0, 4].enumerated() { vector[index] = value }
    let energy = Energy(vector)
    // Squares 16, 9, 1 of 26.
    try expect(
      [0.5, 0.9, 0.99].map(energy.count) == [1, 2, 3] && energy.share(of: 2) == 25 / 26.0 && energy.support == 0.6,
      "the energy of a vector of five")
    // The root mean square is 2.28: 4 and 3 lie in the half decade above it, 1 in the one below.
    let bins = energy.histogram(from: -0.5, to: 0.5, width: 0.5)
    try expect(bins.map(\.share) == [0.2, 0.4], "the histogram of a vector of five")
    try expect(Energy(FloatBuffer(count: 3)).count(carrying: 0.9) == 0, "zeros carry no energy")
  }

  /// Twelve images of one pixel, whose values and labels are their numbers: ten are kept, two held out.
  private func checkHeldOut(_ folder: String) throws {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let numbers = (0..<12).map { UInt8($0) }
    for (name, header) in [
      ("images-idx3", [0, 0, 8, 3, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1]), ("labels-idx1", [0, 0, 8, 1, 0, 0, 0, 12]),
    ] as [(String, [UInt8])] {
      try Data(header + numbers).write(to: URL(fileURLWithPath: "\(folder)/train-\(name)-ubyte"))
    }
    let specification = try HeldOut.specification(of: folder, in: folder)
    for (part, numbers) in [("train", numbers.prefix(10)), ("t10k", numbers.suffix(2))] {
      for (name, dimensions) in [("images-idx3", 3), ("labels-idx1", 1)] {
        let file = try IDXFile(
          "\(part)-\(name)-ubyte", in: String(specification.dropFirst("idx:".count)), dimensionCount: dimensions)
        try expect(Array(file.values) == Array(numbers), "the samples of \(part)-\(name) that are held out")
      }
    }
  }

  private func checkGradients() throws {
    let table = try Gradients.parse(["--data", "glyphs:train=400,test=80", "--model", "mlp:24", "--steps", "10"]).table()
    try expect(table.rows.count == 6 && table.rows[0][0] == "1" && table.rows[3][0] == "10", "the rows of gradients")
  }

  private func checkCompression(_ laboratory: Laboratory) throws {
    let setting = try Setting.parse([
      "--data", "glyphs:train=400,test=80", "--model", "mlp:64", "--epochs", "2", "--ranks", "2", "--seeds", "1",
      "--partition", "by-class", "--clients", "20",
    ])
    let rate = Rate(0.1, momentum: 0)
    let contenders = [
      Contender.floats(rate),
      Contender.trueTopK(k: 100, rate), Contender.sketch(columns: 8, rate),
      Contender.forgetfulLocal(k: 100, rate),
    ]
    let reports = try laboratory.run(contenders.map { setting.job($0, seed: 1) })
    let compression = try reports.map { try Compression(of: $0, against: reports[0]) }
    try expect(compression[0].total == 1 && compression[0].upload == 1, "floats against themselves")
    // True top-k sends floats and a few digits up, and about 5.3 bytes for each of d/100 down.
    try expect((0.9...1).contains(compression[1].upload) && compression[1].download > 20, "true top-k")
    try expect(compression[2].upload > 4 && compression[2].download > 7, "the sketch")
    try expect(compression[3].upload > compression[3].download, "the union of what ranks chose is no less than what one chose")
    try expect(
      compression.dropFirst().allSatisfy { min($0.upload, $0.download) <= $0.total && $0.total <= max($0.upload, $0.download) },
      "both ways together lie between them")
  }

  private func expect(_ isRight: Bool, _ sentence: String) throws {
    guard isRight else { throw Failure("wrong: \(sentence)") }
  }
}
