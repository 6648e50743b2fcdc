import Buffers
import Codecs
import Testing

@Suite struct MultiBitTests {
  @Test("the vector of the specification")
  func knownVector() {
    let encoded = MultiBit(bits: 2).encode([1, -2, 3, -4, 0, -0.0, 0.5, -0.5], residual: [0, 0.5, -4, 0, 0, 0, -0.5, 1])
    let (means, expected): ([Float], [Float]) = (
      encoded.code.prefix(2).map { Float(bitPattern: $0) }, [-4 * 1.6007811, 4 * 1.6007811]
    )
    #expect(means == expected)
    // One word: value e from bit 2 e on.
    #expect(encoded.code.count == 3 && encoded.code[2] == 0b01_01_01_01_00_01_01_01)
    let decoded = MultiBit(bits: 2).decode(encoded.code, count: 8)
    let slot = 8 * 1.6007811 / 3
    for (i, expected) in [0, 0, 0, -slot, 0, 0, 0, 0].enumerated() {
      #expect((Double(decoded[i]) - expected).magnitude <= 4 * Double(Float(6.4031244).ulp))
    }
  }

  @Test("the code is that of the plain reference, bit for bit", arguments: MultiBit.bitCounts, Gradients.allCases)
  func reference(bits: Int, family: Gradients) {
    for range in [Float(4), 1.5] {
      let codec = MultiBit(bits: bits, range: range)
      for count in Array(6...130) + [784, 1024, 1025, 4096] {
        let (gradient, residual) = (family.values(count), family.values(count, seed: 7))
        let encoded = codec.encode(gradient, residual: residual)
        let reference = MultiBitReference(gradient, residual: residual, bits: bits, range: range)
        #expect(encoded.code == reference.words, "\(count) values")
        #expect(encoded.residual.patterns == reference.residual.patterns, "\(count) values")
      }
    }
  }

  @Test("values on and beyond both ends of the scale")
  func ends() {
    // σ is 1 where half of the squares is 2 and the rest 0.
    for bits in MultiBit.bitCounts {
      let codec = MultiBit(bits: bits, range: 0.5)
      let gradient: [Float] = [2, -2, 0.5, -0.5, 0, 0, 0, 0, 0.25, -0.25, 1.5, -1.5, 0, 0, 0, 0]
      let reference = MultiBitReference(gradient, residual: Array(repeating: 0, count: 16), bits: bits, range: 0.5)
      #expect(reference.codes[0] == 1 << UInt32(bits) - 1 && reference.codes[1] == 0)
      #expect(codec.encode(gradient, residual: Array(repeating: 0, count: 16)).code == reference.words)
    }
  }

  @Test("the remainder is at most half a slot inside the scale")
  func precision() {
    for bits in MultiBit.bitCounts {
      for count in [8, 33, 784] {
        let gradient = Gradients.normal.values(count)
        let encoded = MultiBit(bits: bits).encode(gradient, residual: [Float](repeating: 0, count: count))
        let high = Double(Float(bitPattern: encoded.code[1]))
        let bound = high / Double(1 << bits - 1) + 4 * Double(Float(high).ulp)
        #expect(encoded.residual.allSatisfy { Double($0.magnitude) <= bound })
      }
    }
  }

  @Test("residuals stay bounded where the scale is fine enough, and equal values at two bits and the range 4 never leave")
  func boundedness() {
    for (codec, isSent) in [
      (MultiBit(bits: 2), false), (MultiBit(bits: 2, range: 2), true), (MultiBit(bits: 4), true), (MultiBit(bits: 8), true),
      (MultiBit(bits: 16), true),
    ] {
      var residual = [Float](repeating: 0, count: 40)
      let gradient = (0..<40).map { Float($0 % 2 == 0 ? 1 : -1) }
      for _ in 0..<200 { residual = codec.encode(gradient, residual: residual).residual }
      let largest = residual.map(\.magnitude).max()!
      #expect(isSent ? largest < 2 : largest > 199, "\(codec.specification): \(largest)")
    }
  }

  @Test("sizes, and groups too short for a code")
  func sizes() {
    #expect(MultiBit(bits: 2).encodedByteCount(of: 784) == 8 + 196)
    #expect(MultiBit(bits: 4).encodedByteCount(of: 784) == 8 + 392)
    #expect(MultiBit(bits: 16).encodedByteCount(of: 785) == 8 + 1572)
    for (bits, longestPlain) in [(2, 3), (4, 3), (8, 3), (16, 5)] {
      let codec = MultiBit(bits: bits)
      #expect(codec.isRaw(count: longestPlain) && !codec.isRaw(count: longestPlain + 1))
    }
    let encoded = MultiBit(bits: 16).encode([0.1, -0.0, 3], residual: [0.2, -0.0, 1])
    #expect(encoded.code == [Float(0.1) + 0.2, 0, 4].map(\.bitPattern) && encoded.residual == [0, 0, 0])
  }

  @Test("a scale that overflows counts as not finite")
  func overflow() {
    let gradient = [Float](repeating: .greatestFiniteMagnitude / 4, count: 64)
    let encoded = MultiBit().encode(gradient, residual: [Float](repeating: 0.5, count: 64))
    #expect(!encoded.isFinite && encoded.residual.allSatisfy { $0 == 0.5 })
  }

  @Test("specifications")
  func specifications() throws {
    #expect(try codecs.make("multi-bit").specification == "multi-bit:bits=4,group=row,range=4")
    #expect(try codecs.make("multi-bit:bits=8,group=100").grouping == .elements(100))
    for text in ["multi-bit:bits=1", "multi-bit:bits=3", "multi-bit:bits=32", "multi-bit:range=0", "multi-bit:4"] {
      #expect(throws: SpecificationError.self) { try codecs.make(text) }
    }
  }
}
