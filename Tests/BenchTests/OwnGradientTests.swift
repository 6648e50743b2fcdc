import Foundation
import Testing
import _TestSupport

/// `bench all-reduce` with gradients from files.
@Suite(.serialized, .outsideMPI) struct OwnGradientTests {
  private let folder = NSTemporaryDirectory() + "morse-gradients-\(UUID().uuidString)"

  /// A file of fp32 values as NumPy writes it.
  private func write(_ values: [Float], shape: String, to name: String) throws {
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': \(shape), }"
    header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.utf8.count), 0] + Array(header.utf8)
    for value in values { withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 } }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
  }

  private func read(_ name: String, count: Int) throws -> [Float] {
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)")).suffix(4 * count))
    return (0..<count).map { i in
      Float(bitPattern: (0..<4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32(bytes[4 * i + $1]) })
    }
  }

  /// Exchanges what `input` names on two ranks.
  private func exchange(_ codec: String, _ input: String, _ others: [String] = []) throws -> JobResult {
    var job = Job(
      "bench",
      ["all-reduce", "--codec", codec, "--input", input, "--output", "sum-%d.npy"]
        + (others.contains("--repeat") ? others : ["--repeat", "3"] + others))
    job.directory = folder
    return try job.run(ranks: 2, options: ["-q"])
  }

  private func expectRefusal(_ result: JobResult, _ words: String, _ what: String) throws {
    #expect(result.status == 65 && !result.isTimedOut, "\(what): \(result.status) \(result.standardError)")
    let sentences = result.standardError.split(separator: "\n").filter { $0.hasPrefix("bench: ") }
    #expect(sentences.count == 1 && sentences[0].contains(words), "\(what): \(result.standardError)")
    #expect(result.standardOutput.isEmpty, "\(what)")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(!names.contains { $0.hasPrefix("sum-") }, "\(what)")
  }

  private let codecs = ["none", "one-bit", "multi-bit:bits=2", "multi-bit:bits=16"]

  @Test func valuesThatAreNotFiniteAreNamed() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let good = (0..<384).map { Float($0 % 7) - 3 }
    for (value, name) in [(Float.nan, "nan"), (.infinity, "inf"), (-.infinity, "-inf")] {
      var bad = good
      (bad[3], bad[200]) = (value, .nan)
      try write(bad, shape: "(6, 64)", to: "g.npy")
      try write(good, shape: "(6, 64)", to: "g-0.npy")
      try write(bad, shape: "(6, 64)", to: "g-1.npy")
      for codec in value.isNaN ? codecs : ["one-bit"] {
        try expectRefusal(
          exchange(codec, "g.npy"), "'g.npy': value 3 is \(name); a codec takes finite values", "\(codec), all ranks")
        // Only the other rank knows.
        try expectRefusal(
          exchange(codec, "g-%d.npy", ["--transport", "messages"]),
          "'g-1.npy': value 3 is \(name); a codec takes finite values", "\(codec), one rank")
      }
      // As `bench codecs` says it.
      var alone = Job("bench", ["codecs", "--codec", "one-bit", "--input", "g.npy"])
      alone.directory = folder
      #expect(try alone.run().standardError.contains("'g.npy': value 3 is \(name); a codec takes finite values"))
    }
  }

  @Test func sumsBeyondFP32AreNamed() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // Of one rank's values already.
    try write(Array(repeating: 3.4e38, count: 64), shape: "(1, 64)", to: "g.npy")
    for codec in codecs.dropFirst() {
      try expectRefusal(exchange(codec, "g.npy"), "'g.npy': the sum of the values 0..<64 is beyond fp32", codec)
    }
    try expectRefusal(exchange("none", "g.npy"), "the sum of the gradients of 2 ranks is beyond fp32 (value 0 is 6.79", "none")
    // Of both ranks only: groups of two values are sent as they are.
    try write([1, -1, 2e38, 1, 2, 3], shape: "(3, 2)", to: "g-0.npy")
    try write([1, -1, 2e38, 1, 2, 3], shape: "(3, 2)", to: "g-1.npy")
    for codec in codecs {
      for transport in ["auto", "messages"] {
        try expectRefusal(
          exchange(codec, "g-%d.npy", ["--transport", transport]),
          "the sum of the gradients of 2 ranks is beyond fp32 (value 2 is 3.99", "\(codec) by \(transport)")
      }
    }
  }

  @Test func shapesThatDifferAreNamed() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try write([1, 2, 3, 4], shape: "(2, 2)", to: "g-0.npy")
    try write([1, 2, 3, 4], shape: "(4,)", to: "g-1.npy")
    try expectRefusal(exchange("one-bit", "g-%d.npy"), "different shapes: [2, 2], [4]", "shapes")
  }

  /// What one process makes of the gradients of two ranks is what two ranks make of them.
  @Test func aSimulationIsTheExchange() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    for rank in 0..<2 {
      try write((0..<384).map { Float(($0 * (rank + 5)) % 23) - 11 }, shape: "(6, 64)", to: "g-\(rank).npy")
    }
    for codec in ["none", "one-bit", "qsgd", "chunk-top-k:chunk=64"] {
      let real = try exchange(codec, "g-%d.npy", ["--repeat", "1"])
      #expect(real.status == 0, "\(real.standardError)")
      var job = Job(
        "bench", ["codecs", "--codec", codec, "--ranks", "2", "--input", "g-%d.npy", "--decoded", "d.npy", "--json"])
      job.directory = folder
      let simulated = try job.run()
      #expect(simulated.status == 0 && simulated.standardOutput.contains("\"ranks\":2"), "\(simulated.standardError)")
      #expect(try read("d.npy", count: 384) == read("sum-1.npy", count: 384), "\(codec)")
    }
    try write([1, 2], shape: "(2,)", to: "g-1.npy")
    for (arguments, status, words) in [
      (["--ranks", "2"], 65, "different shapes: [6, 64], [2]"), (["--ranks", "0"], 64, "--ranks takes a positive number"),
      (["--ranks", "2", "--remainder", "r.npy"], 64, "--residual and --remainder are of one rank"),
    ] as [([String], Int32, String)] {
      var job = Job("bench", ["codecs", "--codec", "one-bit", "--input", "g-%d.npy"] + arguments)
      job.directory = folder
      let result = try job.run()
      #expect(result.status == status && result.standardError.contains(words), "\(result.status) \(result.standardError)")
    }
  }

  @Test func goodGradientsAreAdded() throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // Large, small and denormal rows, far enough from the edge.
    let scales: [Float] = [1, 1e30, 1e-35, Float(1e-42 as Double)]
    let gradients = (0..<2).map { rank in
      (0..<256).map { (place: Int) -> Float in
        let number = place * (rank + 3) % 11 - 5
        return Float(number) * scales[place / 64]
      }
    }
    for (rank, gradient) in gradients.enumerated() { try write(gradient, shape: "(4, 64)", to: "g-\(rank).npy") }
    for codec in ["none", "multi-bit:bits=16"] {
      let result = try exchange(codec, "g-%d.npy")
      #expect(result.status == 0, "\(result.standardError)")
      let (first, second) = (try read("sum-0.npy", count: 256), try read("sum-1.npy", count: 256))
      #expect(first == second)
      for index in 0..<256 {
        let expected = Double(gradients[0][index]) + Double(gradients[1][index])
        // A slot of 16 bits, of two ranks and an owner; below 1e-36 nothing is sent.
        let rounding = Double(Float(expected).ulp) / 2
        let tolerance = codec == "none" ? rounding : index < 192 ? 1e-3 * Double(scales[index / 64]) : 1e-40
        #expect((Double(first[index]) - expected).magnitude <= tolerance, "\(codec), value \(index)")
      }
    }
  }
}
