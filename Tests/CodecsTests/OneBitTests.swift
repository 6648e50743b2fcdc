import Buffers
import Codecs
import Testing

@Suite struct OneBitTests {
  let codec = OneBit()

  @Test("the vector of the specification")
  func knownVector() {
    let encoded = codec.encode([1, -2, 3, -4, 0, -0.0, 0.5, -0.5], residual: [0, 0.5, -4, 0, 0, 0, -0.5, 1])
    #expect(Float(bitPattern: encoded.code[0]) == -2.1666667)
    #expect(Float(bitPattern: encoded.code[1]) == 0.3)
    #expect(encoded.code[2] == 0b1111_0001)
    let expected: [Float] = [0.7, 0.66666675, 1.1666667, -1.8333333, -0.3, -0.3, -0.3, 0.19999999]
    #expect(encoded.residual == expected)
  }

  @Test("the code is that of the plain reference, bit for bit", arguments: Gradients.allCases)
  func reference(family: Gradients) {
    for count in Array(4...130) + [784, 1024, 1025, 4096] {
      let (gradient, residual) = (family.values(count), family.values(count, seed: 7))
      let encoded = codec.encode(gradient, residual: residual)
      let reference = OneBitReference(gradient, residual: residual)
      #expect(encoded.code == reference.code)
      #expect(encoded.residual.patterns == reference.residual.patterns)
      // A lane adds count / 32 values, and the tree five more.
      for (mean, exact) in [(reference.means.below, reference.exact.below), (reference.means.above, reference.exact.above)] {
        let tolerance = Double(count / 32 + 7) * 0x1p-24 * exact.magnitude + 0x1p-149
        #expect((Double(mean) - exact).magnitude <= tolerance)
      }
    }
  }

  @Test("the remainder of a group has mean zero")
  func balance() {
    for count in [4, 100, 784, 4096] {
      let encoded = codec.encode(Gradients.normal.values(count), residual: [Float](repeating: 0, count: count))
      for side in [UInt32(0), 1] {
        let rest = (0..<count).filter { encoded.code[2 + $0 / 32] >> UInt32($0 % 32) & 1 == side }.map {
          Double(encoded.residual[$0])
        }
        let mean = Float(bitPattern: encoded.code[Int(side)])
        #expect((rest.reduce(0, +) / Double(rest.count)).magnitude <= 8 * Double(mean.ulp))
      }
    }
  }

  @Test("the remainder is smaller than the group by what the specification promises", arguments: Gradients.allCases)
  func contraction(family: Gradients) {
    for count in [1, 2, 3, 8, 33, 784, 1024] {
      let v = family.values(count)
      let encoded = codec.encode(v, residual: [Float](repeating: 0, count: count))
      func energy(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }
      let l1 = v.reduce(0) { $0 + Double($1.magnitude) }
      guard energy(v) > 0x1p-200 else { continue }
      let bound = 1 - l1 * l1 / (Double(count) * energy(v))
      #expect(energy(encoded.residual) / energy(v) <= bound + 1e-6)
      if family == .normal, count >= 784 { #expect(energy(encoded.residual) / energy(v) < 0.4) }
    }
  }

  @Test("one to three values are sent as they are")
  func plain() {
    for count in [1, 2, 3] {
      #expect(codec.isRaw(count: count) && codec.encodedByteCount(of: count) == 4 * count)
      let encoded = codec.encode(Array([0.1, -0.0, 3].prefix(count)), residual: Array([0.2, -0.0, 1].prefix(count)))
      #expect(codec.decode(encoded.code, count: count).patterns == Array([Float(0.1) + 0.2, 0, 4].prefix(count)).patterns)
      #expect(encoded.residual.allSatisfy { $0.bitPattern == 0 })
    }
    #expect(!codec.isRaw(count: 4) && codec.encodedByteCount(of: 4) == 12)
    #expect(codec.encodedByteCount(of: 0) == 0)
    #expect(codec.encodedByteCount(of: 784) == 108)
    #expect(codec.encodedByteCount(of: 2048) == 264)
  }

  @Test("sums that overflow count as not finite")
  func overflow() {
    let gradient = [Float](repeating: .greatestFiniteMagnitude, count: 64)
    let encoded = codec.encode(gradient, residual: [Float](repeating: 0.5, count: 64))
    #expect(!encoded.isFinite && encoded.residual.allSatisfy { $0 == 0.5 })
  }
}
