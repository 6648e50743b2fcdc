import Buffers
import Codecs
import Testing

/// Integers in Elias's omega code.
@Suite struct EliasTests {
  private func zeros(_ count: Int) -> [Float] { [Float](repeating: 0, count: count) }

  /// ω of a number as it is written, in plain code.
  private func omega(_ number: Int) -> String {
    var (code, rest) = ("0", number)
    while rest > 1 {
      let binary = String(rest, radix: 2)
      code = binary + code
      rest = binary.count - 1
    }
    return code
  }

  @Test("the table of algorithms A9")
  func table() {
    for (number, code) in [
      (1, "0"), (2, "100"), (3, "110"), (4, "101000"), (7, "101110"), (8, "1110000"), (15, "1111110"), (16, "10100100000"),
      (17, "10100100010"), (32, "101011000000"), (100, "1011011001000"),
    ] { #expect(omega(number) == code) }
  }

  /// The bits of a code after its length, as they are written.
  private func bits(_ code: [UInt32]) -> String {
    code.dropFirst().map { word in (0..<32).map { word >> $0 & 1 == 1 ? "1" : "0" }.joined() }.joined()
  }

  @Test("a code is the norm, how many integers are not 0, and gaps, signs and magnitudes", arguments: [1, 7, 127, 4000])
  func format(levels: Int) throws {
    let codec = try codecs.make("qsgd:levels=\(levels),norm=l2,bucket=4096,code=elias")
    let plain = try codecs.make("qsgd:levels=\(levels),norm=l2,bucket=4096")
    for count in [16, 33, 500, 4096] {
      for family in [Gradients.normal, .wide, .single, .integers] {
        let values = family.values(count)
        let encoded = codec.encode(values, residual: zeros(count))
        let arrived = codec.decode(encoded.code, count: count)
        // The same integers as in equal bits.
        #expect(arrived.patterns == plain.decode(plain.encode(values, residual: zeros(count)).code, count: count).patterns)
        let norm = Float(bitPattern: encoded.code[1])
        let integers = arrived.map { Int(($0 / norm * Float(levels)).rounded()) }
        var expected = String(repeating: "0", count: 0), last = -1
        expected += omega(1 + integers.count { $0 != 0 })
        for (place, integer) in integers.enumerated() where integer != 0 {
          expected += omega(place - last) + (integer < 0 ? "1" : "0") + omega(abs(integer))
          last = place
        }
        let found = bits(encoded.code).dropFirst(32)
        #expect(found.prefix(expected.count) == expected && found.dropFirst(expected.count).allSatisfy { $0 == "0" })
        #expect(Int(encoded.code[0]) == (32 + expected.count + 7) / 8)
      }
    }
  }

  @Test("a code is no longer than promised, and as short as the paper says with the root of the bucket for levels")
  func lengths() throws {
    for levels in [1, 2, 7, 64, 127, 32767] {
      let codec = try codecs.make("qsgd:levels=\(levels),norm=max,code=elias")
      for count in [8, 9, 64, 511] {
        for family in Gradients.allCases {
          let code = codec.encode(family.values(count), residual: zeros(count)).code
          #expect(4 * code.count <= codec.encodedByteCount(of: count))
        }
      }
    }
    let codec = try codecs.make("qsgd:levels=64,norm=l2,bucket=4096,code=elias")
    let bits = (0..<20).map { codec.encode(Gradients.normal.values(4096, seed: $0), residual: zeros(4096)).code[0] * 8 }
    let mean = Double(bits.reduce(0, +)) / 20
    #expect(mean > 2.2 * 4096 && mean < 3.3 * 4096 + 32, "\(mean / 4096) bits a value")
  }

  @Test("damaged codes are none")
  func damage() throws {
    let codec = try codecs.make("qsgd:levels=7,code=elias")
    let good = codec.encode(Gradients.normal.values(100), residual: zeros(100)).code
    let byteCount = Int(good[0])
    func isCode(_ words: [UInt32], _ length: Int) -> Bool {
      words.withUnsafeBytes { bytes in bytes.baseAddress.map { codec.isCode($0 + 4, byteCount: length, count: 100) } ?? false }
    }
    #expect(isCode(good, byteCount))
    #expect(!isCode(good, byteCount - 1) && !isCode(good, 4) && !isCode(good + [0, 0], byteCount + 4))
    var (refused, tried) = (0, 0)
    for place in 64..<8 * byteCount {
      var bad = good
      bad[1 + place / 32] ^= 1 << UInt32(place % 32)
      tried += 1
      // Never a place or an integer beyond the bucket, whatever the bytes are.
      if isCode(bad, byteCount) {
        let norm = Float(bitPattern: good[1])
        #expect(codec.decode(bad, count: 100).allSatisfy { $0.magnitude <= norm })
      } else {
        refused += 1
      }
    }
    #expect(refused > tried / 4)
  }
}
