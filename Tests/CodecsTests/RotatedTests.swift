import Buffers
import Codecs
import Testing

@Suite struct RotatedTests {
  /// A code whose signs of D are all +.
  private func plain(bits: Int, scale: Rotated.Scale = .leastError) -> Rotated {
    Rotated(bits: bits, grouping: .elements(4096), scale: scale, feedback: 1, signs: Array(repeating: 0, count: 128))
  }

  private func energy(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }

  private func error(_ codec: Rotated, _ values: [Float]) -> Double {
    let encoded = codec.encode(values, residual: [Float](repeating: 0, count: values.count))
    return energy(encoded.residual) / energy(values)
  }

  @Test("the vector of the specification")
  func knownVector() {
    // z = (5, −1, −2, 0): the sign of 0 is +.
    let encoded = plain(bits: 1).encode([1, 2, 3, 4], residual: [0, 0, 0, 0])
    #expect(encoded.code.count == 2 && encoded.code[1] == 0b1001)
    #expect(plain(bits: 1).decode(encoded.code, count: 4) == [0, 0, 0, 4])
    #expect(encoded.residual == [1, 2, 3, 0])
    #expect(abs(energy(encoded.residual) / 30 - 0.4667) < 1e-4)
    // Unbiased: S = ‖x‖²/‖z‖₁ = 3.75, ⟨decoded, x⟩ = ‖x‖².
    let unbiased = plain(bits: 1, scale: .unbiased)
    let code = unbiased.encode([1, 2, 3, 4], residual: [0, 0, 0, 0]).code
    #expect(unbiased.decode(code, count: 4) == [0, 0, 0, 7.5])
  }

  @Test("the code is that of the definition, in fp64", arguments: Rotated.bitCounts, Gradients.allCases)
  func reference(bits: Int, family: Gradients) {
    for scale in Rotated.Scale.allCases {
      let codec = Rotated(bits: bits, scale: scale)
      for count in Array(3...70) + [127, 128, 129, 784, 1024] {
        let values = family.values(count)
        guard !codec.isRaw(count: count), energy(values) > 0 else { continue }
        let encoded = codec.encode(values, residual: [Float](repeating: 0, count: count))
        let reference = RotatedReference(values, bits: bits, isUnbiased: scale == .unbiased)
        #expect(reference.disagreements(with: encoded.code) == 0, "\(count) values")
        // What it decodes to is what the definition gives for its words and its scale.
        let (decoded, expected) = (codec.decode(encoded.code, count: count), reference.decoded(encoded.code))
        let largest = values.reduce(0) { max($0, Double($1.magnitude)) }
        for i in 0..<count {
          #expect((Double(decoded[i]) - expected[i]).magnitude <= 1e-5 * largest * Double(count).squareRoot() + 0x1p-147)
        }
      }
    }
  }

  /// Lognormal with σ = 2, of random signs.
  private func lognormal(_ count: Int, seed: UInt64) -> [Float] {
    let random = Philox(seed: seed, purpose: .tests)
    return (0..<count).map { i in
      let normal = (0..<12).reduce(-6.0) { $0 + Double(random.uniform(i, tensor: $1)) }
      var value = 1.0
      // 2^(2 · normal/ln 2), by halves.
      let exponent = 2 * normal / 0.6931471805599453
      value = Double(sign: .plus, exponent: Int(exponent.rounded(.down)), significand: 1)
      value *= 1 + (exponent - exponent.rounded(.down))
      return Float(random.uniform(i, tensor: 12) < 0.5 ? -value : value)
    }
  }

  @Test("the error does not depend on the distribution", arguments: [1024, 4096])
  func errorOfEveryInput(count: Int) {
    // The mean over draws, and the largest: signs that are drawn once leave a chance.
    let bounds = [1: (0.37, 0.41), 2: (0.13, 0.16), 4: (0.012, 0.02)]
    for (bits, bound) in bounds {
      let codec = Rotated(bits: bits, grouping: .elements(count))
      let families: [(UInt64) -> [Float]] =
        [{ lognormal(count, seed: $0) }]
        + [Gradients.normal, .positive, .alternating, .denormal, .integers].map { family in { family.values(count, seed: $0) } }
      for family in families {
        let errors = (1...20).map { error(codec, family(UInt64($0))) }
        #expect(errors.reduce(0, +) / 20 <= bound.0 && errors.allSatisfy { $0 <= bound.1 }, "\(bits) bits: \(errors)")
      }
      // One value is spread evenly.
      #expect(error(codec, Gradients.single.values(count)) <= (bits == 1 ? 1e-12 : bound.0))
      for magnitude in ([1e-42, 1e-38, 1e-20, 1, 1e20, 3e36] as [Double]) {
        let values = Gradients.normal.values(count).map { Float(Double($0) * magnitude) }
        #expect(error(codec, values) <= bound.1, "\(bits) bits of \(magnitude)")
      }
    }
  }

  @Test("⟨decoded, v⟩ = ‖v‖² without bias, and the least error is smaller", arguments: Rotated.bitCounts)
  func scales(bits: Int) {
    for family in [Gradients.normal, .alternating, .positive, .hugeAndTiny] {
      for count in [64, 1000, 1024] {
        let (values, zeros) = (family.values(count), [Float](repeating: 0, count: count))
        let unbiased = Rotated(bits: bits, scale: .unbiased)
        let decoded = unbiased.decode(unbiased.encode(values, residual: zeros).code, count: count)
        let product = zip(decoded, values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        #expect((product / energy(values) - 1).magnitude < 1e-5)
        #expect(error(Rotated(bits: bits), values) <= error(unbiased, values) + 1e-6)
      }
    }
  }

  @Test("a sum is that of its terms", arguments: Rotated.bitCounts)
  func sums(bits: Int) {
    let codec = Rotated(bits: bits)
    for count in [5, 33, 784, 1024] {
      let codes = (0..<7).map { k in
        let values = Gradients.normal.values(count, seed: UInt64(k)).map { $0 * (k == 3 ? 1e-30 : 1) }
        return codec.encode(values, residual: [Float](repeating: 0, count: count)).code
      }
      var expected = [Double](repeating: 0, count: count)
      for code in codes { for (i, value) in codec.decode(code, count: count).enumerated() { expected[i] += Double(value) } }
      let sum = codec.decodeSum(codes, count: count)
      for i in 0..<count { #expect((Double(sum[i]) - expected[i]).magnitude < 1e-4) }
    }
  }

  @Test("sizes, and what is refused")
  func sizes() throws {
    #expect(Rotated(bits: 1).encodedByteCount(of: 1024) == 132)
    #expect(Rotated(bits: 1).encodedByteCount(of: 784) == 132)
    #expect(Rotated(bits: 2).encodedByteCount(of: 1024) == 260)
    #expect(Rotated(bits: 4).encodedByteCount(of: 33) == 36)
    for text in [
      "rotated:bits=3", "rotated:bits=8", "rotated:group=4097", "rotated:group=0", "rotated:scale=large", "rotated:feedback=0",
    ] {
      #expect(throws: SpecificationError.self) { try codecs.make(text) }
    }
    #expect(
      try codecs.make("rotated:bits=2,group=row").specification == "rotated:bits=2,group=row,scale=least-error,feedback=0.25")
  }
}
