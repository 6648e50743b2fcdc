import Foundation
import Testing
import _TestSupport

/// `bench codecs --all`: a row for every codec and gradient, whatever the gradient is.
@Suite(.serialized, .outsideMPI) struct CodecTableTests {
  private let shell: Shell

  init() throws { shell = try Shell() }

  private struct Row: Decodable {
    let codec: String
    let input: String
    let kind: String
    let bytes: Int
    let error: Double?
    let refusedGroups: Int
    let wrong: Int
  }

  private func rows(_ options: String) throws -> [Row] {
    try shell.output("$bench codecs --all --json --iterations 1 \(options)").split(separator: "\n").map {
      try JSONDecoder().decode(Row.self, from: Data($0.utf8))
    }
  }

  @Test func everyCodecOnEveryGradient() throws {
    let rows = try rows("--count 8192 --row 512 --svg errors.svg")
    let inputs = ["lognormal", "normal", "one-hot", "constant", "zero", "denormal", "huge"]
    #expect(Set(rows.map(\.input)) == Set(inputs) && rows.count.isMultiple(of: inputs.count))
    #expect(rows.count / inputs.count > 25)
    for row in rows {
      #expect(row.wrong == 0 && row.bytes <= 4 * 8192, "\(row)")
      #expect((row.error == nil) == (row.input == "zero" || row.refusedGroups > 0), "\(row)")
      #expect(row.refusedGroups == 0 || row.input == "huge", "\(row)")
      if row.kind == "exact" { #expect(row.error ?? 0 == 0) }
      // What is equal everywhere, few levels have exactly.
      if row.input == "constant", row.codec.hasPrefix("one-bit") || row.codec.hasPrefix("ef-sign") { #expect(row.error == 0) }
      if row.kind == "unbiased", row.codec.hasPrefix("natural"), let error = row.error { #expect(error <= 0.126, "\(row)") }
    }
    let svg = try String(decoding: shell.data("errors.svg"), as: UTF8.self)
    #expect(svg.contains("<svg") && svg.contains("qsgd") && svg.contains("bits per value"))
  }

  @Test func anOwnGradientAndAChoiceOfCodecs() throws {
    let rows = try rows("--codec one-bit --codec qsgd --count 1024 --row 64")
    #expect(rows.count == 14 && Set(rows.map(\.kind)) == ["feedback", "unbiased"])
    for (options, words) in [
      ("--svg x.svg", "--svg goes with --all"), ("--all --residual r.npy", "do not go with --all"),
      ("--all --count 1000 --row 64", "multiple of --row"), ("--all --codec qsg", "did you mean 'qsgd'"),
    ] {
      let result = try shell.run("$bench codecs \(options)")
      #expect(result.status != 0 && result.standardError.contains(words), "\(options): \(result)")
    }
  }
}
