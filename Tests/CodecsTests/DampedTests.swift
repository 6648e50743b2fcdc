import Buffers
import Codecs
import Testing

/// Damped feedback: only a share of a residual takes part in a code, and nothing is lost.
@Suite struct DampedTests {
  private static let all = ["one-bit", "multi-bit:bits=4", "rotated", "rotated:bits=2"]

  @Test("gradient + residual = decoded + remainder, for every share", arguments: all, [1, 0.8, 0.5, 0.01])
  func conservation(name: String, share: Double) throws {
    let codec = try codecs.make(name + (name.contains(":") ? "," : ":") + "feedback=\(share)")
    for count in [4, 33, 100, 1024] {
      var residual = [Float](repeating: 0, count: count)
      var (sent, given) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: count))
      for step in 0..<200 {
        let gradient = Gradients.normal.values(count, seed: UInt64(step))
        let encoded = codec.encode(gradient, residual: residual)
        for (i, value) in codec.decode(encoded.code, count: count).enumerated() {
          sent[i] += Double(value)
          given[i] += Double(gradient[i])
        }
        residual = encoded.residual
      }
      for i in 0..<count { #expect(abs(sent[i] + Double(residual[i]) - given[i]) < 1e-3) }
      // A constant arrives, later.
      #expect(residual.allSatisfy { abs($0) < Float(20 / share) })
    }
  }

  @Test("a code is that of the gradient and the share", arguments: all)
  func code(name: String) throws {
    let (plain, half) = (
      try codecs.make(name + (name.contains(":") ? "," : ":") + "feedback=1"),
      try codecs.make(name + (name.contains(":") ? "," : ":") + "feedback=0.5")
    )
    let (gradient, residual) = (Gradients.normal.values(300), Gradients.wide.values(300, seed: 2).map { max(-8, min(8, $0)) })
    let (damped, expected) = (
      half.encode(gradient, residual: residual), plain.encode(gradient, residual: residual.map { 0.5 * $0 })
    )
    #expect(damped.code == expected.code)
    for i in 0..<300 { #expect(abs(damped.residual[i] - (expected.residual[i] + 0.5 * residual[i])) < 1e-5) }
    #expect(half.specification.hasSuffix(",feedback=0.5"))
    #expect(try codecs.make(half.specification).specification == half.specification)
    #expect(half.codeByteCount(of: 300) == plain.codeByteCount(of: 300))
  }

  @Test("what is not finite leaves the residual as it was", arguments: all)
  func refusal(name: String) throws {
    let codec = try codecs.make(name + (name.contains(":") ? "," : ":") + "feedback=0.3")
    var gradient = Gradients.normal.values(100)
    gradient[50] = .nan
    let residual = Gradients.normal.values(100, seed: 2)
    let encoded = codec.encode(gradient, residual: residual)
    #expect(!encoded.isFinite && encoded.residual.patterns == residual.patterns)
  }

  @Test("shares out of range are refused")
  func range() {
    for text in ["one-bit:feedback=0", "one-bit:feedback=1.5", "rotated:feedback=-1", "none:feedback=0.5"] {
      #expect(throws: SpecificationError.self) { try codecs.make(text) }
    }
  }
}
