import Buffers
import Codecs
import Testing

/// Codes with one scale for each group: the vectors of the sources, and the plain reference bit for bit.
@Suite struct ScalarCodeTests {
  static let names =
    ["ef-sign", "terngrad", "qsgd", "nuqsgd", "natural", "uniform", "e3m0", "bf16", "fp16", "codebook", "fixed-threshold"]
    + CodecLawTests.scalar

  private func reference(_ name: String, uniforms: [Float] = []) throws -> ScalarReference {
    var reference = try #require(ScalarReference(try codecs.make(name)))
    if !uniforms.isEmpty { reference.word = { UInt32(Double(uniforms[$0]) * 0x1p32) } }
    return reference
  }

  private func zeros(_ count: Int) -> [Float] { [Float](repeating: 0, count: count) }

  @Test("the trace of signs with the mean magnitude, algorithms 3.1")
  func signTrace() throws {
    let codec = try codecs.make("ef-sign")
    var residual = zeros(4)
    for (gradient, scale, expected) in [
      ([1, -2, 0, 0.5], 0.875, [0.125, -1.125, -0.875, -0.375]), ([0, 0, 0, 0], 0.625, [-0.5, -0.5, -0.25, 0.25]),
      ([-1, 1, 1, 1], 1, [-0.5, -0.5, -0.25, 0.25]),
    ] as [([Float], Float, [Float])] {
      let encoded = codec.encode(gradient, residual: residual)
      #expect(encoded.code.count == 2 && Float(bitPattern: encoded.code[0]) == scale)
      #expect(encoded.residual == expected)
      residual = encoded.residual
    }
  }

  private static let vector: [Float] = [3, -4, 0, 0, 1, -1, 0.5, 2]
  private static let uniforms: [Float] = [0.1, 0.9, 0.5, 0.5, 0.3, 0.6, 0, 0.99]

  @Test("the vectors of random integers, algorithms 5.1 and 5.3")
  func integerVectors() throws {
    let qsgd = try reference("qsgd:levels=4,norm=l2", uniforms: Self.uniforms)
    let norm: Float = 5.59016994
    let integers = qsgd.integers(Self.vector, scale: norm, levels: 4) { qsgd.down($0, $1) }
    #expect(integers.map { $0 + 0 } == [3, -2, 0, 0, 1, -1, 1, 1])
    let values = try #require(qsgd.arriving(Self.vector))
    #expect(zip(values, integers).allSatisfy { ($0 - norm * $1 / 4).magnitude < 1e-6 })
    let ternary = try reference("terngrad", uniforms: Self.uniforms)
    #expect(ternary.arriving(Self.vector) == [4, -4, 0, 0, 0, 0, 4, 0])
  }

  @Test("the vectors of powers of two, algorithms 5.4 and frontier F1.3")
  func powerVectors() throws {
    // Just below and just above the probabilities: ½, ¼, 0 and 0.6.
    for (value, share, low, high) in [(1.5, 0.5, 1, 2), (-5, 0.25, -4, -8), (1, 0, 1, 1), (0.1, 0.6, 0.0625, 0.125)]
      as [(Float, Float, Float, Float)]
    {
      for (u, expected) in [(share - 1e-6, high), (share + 1e-6, low)] where u >= 0 {
        #expect(try reference("natural", uniforms: [u]).arriving([value]) == [expected], "\(value) at \(u)")
      }
    }
    let nearest = try reference("e3m0")
    #expect(
      nearest.arriving([64, 1.49, 1.5, -3, 0.5, 0.49, 0, 47, 48]) == [64, 1, 2, -4, 1, 0, 0, 32, 64])
  }

  @Test("the levels lose what theory says of normal values, and each is the mean of what it stands for")
  func bookOfNormalValues() throws {
    let random = Philox(seed: 3, purpose: .tests)
    // Pairs of uniforms would need logarithms; sums of sixteen are normal to a thousandth here.
    let values = (0..<40_000).map { i in (0..<16).reduce(Float(-8)) { $0 + random.uniform(i, tensor: $1) } }
    let energy = values.reduce(0.0) { $0 + Double($1) * Double($1) }
    for (bits, expected) in [(2, 0.117482), (4, 0.009501)] {
      let codec = try codecs.make("codebook:bits=\(bits),group=40000")
      let encoded = codec.encode(values, residual: zeros(40_000))
      let lost = encoded.residual.reduce(0.0) { $0 + Double($1) * Double($1) }
      #expect((lost / energy / expected - 1).magnitude < 0.05, "\(lost / energy)")
    }
  }

  @Test("the trace of fixed thresholds, algorithms 3.4")
  func thresholdTrace() throws {
    let codec = try codecs.make("fixed-threshold:threshold=0.5")
    var residual = zeros(16)
    let gradient: [Float] = [0.3, 0.5, -0.5, -0.2, 2, -0.1, 0, 0.49] + zeros(8)
    for (arrived, rest) in [
      ([0, 0.5, -0.5, 0, 0.5, 0, 0, 0], [0.3, 0, 0, -0.2, 1.5, -0.1, 0, 0.49]),
      ([0.5, 0.5, -0.5, 0, 0.5, 0, 0, 0.5], [0.1, 0, 0, -0.4, 3, -0.2, 0, 0.48]),
    ] as [([Float], [Float])] {
      let encoded = codec.encode(gradient, residual: residual)
      #expect(codec.decode(encoded.code, count: 16) == arrived + zeros(8))
      #expect(zip(encoded.residual, rest + zeros(8)).allSatisfy { ($0 - $1).magnitude < 1e-6 })
      residual = encoded.residual
    }
    // What is always larger than the threshold piles up.
    for _ in 0..<98 { residual = codec.encode(gradient, residual: residual).residual }
    #expect(residual[4] == 150 && residual[1] == 0)
  }

  @Test("codes, values and residuals are those of the plain reference, bit for bit", arguments: names, Gradients.allCases)
  func equalsReference(name: String, family: Gradients) throws {
    let codec = try codecs.make(name)
    for count in Array(1...40) + [63, 64, 65, 96, 97, 127, 128, 129, 200, 784, 1025] where !codec.isRaw(count: count) {
      let context = EncodingContext(seed: 7, step: count, stream: 3, tensor: 2, group: 70_001)
      let (gradient, residual) = (family.values(count), Gradients.normal.values(count, seed: 9))
      let encoded = codec.encode(gradient, residual: residual, context: context)
      let v = zip(gradient, residual).map { ($0 + $1) + 0 }
      let expected = try #require(ScalarReference(codec, context: context)?.arriving(v))
      #expect(encoded.isFinite)
      #expect(codec.decode(encoded.code, count: count).patterns == expected.patterns, "\(count) values")
      let rest = codec.keepsRemainder ? zip(v, expected).map { $0 - $1 } : zeros(count)
      #expect(encoded.residual.patterns == rest.patterns, "\(count) values")
    }
  }

  @Test("the same numbers give the negative code of negative values", arguments: names)
  func symmetry(name: String) throws {
    let codec = try codecs.make(name)
    guard !name.contains("min-max"), !name.contains("dither") else { return }
    // Signs of zeros are the one exception.
    let values = Gradients.normal.values(300).map { $0 == 0 ? 1 : $0 }
    let plain = codec.decode(codec.encode(values, residual: zeros(300)).code, count: 300)
    let negated = codec.decode(codec.encode(values.map { -$0 }, residual: zeros(300)).code, count: 300)
    #expect(plain.map { -$0 } == negated)
  }

  @Test(
    "what has arrived once arrives again",
    arguments: ["uniform", "uniform:bits=4", "uniform:bits=16", "e3m0", "bf16", "fp16"])
  func idempotence(name: String) throws {
    let codec = try codecs.make(name)
    for family in Gradients.allCases {
      let first = codec.decode(codec.encode(family.values(200), residual: zeros(200)).code, count: 200)
      let again = codec.encode(first, residual: zeros(200))
      #expect(codec.decode(again.code, count: 200).map { $0 + 0 } == first.map { $0 + 0 }, "\(family)")
      #expect(again.residual.allSatisfy { $0 == 0 })
    }
  }

  @Test("bytes of a code")
  func sizes() throws {
    for (name, count, bytes) in [
      ("ef-sign", 784, 4 + 100), ("terngrad", 784, 4 + 196), ("terngrad", 785, 4 + 200), ("qsgd", 512, 4 + 256),
      ("qsgd:levels=127", 512, 4 + 512), ("qsgd:levels=1", 100, 4 + 28), ("natural", 784, 4 + 784), ("nuqsgd", 512, 4 + 256),
      ("e3m0", 784, 4 + 392), ("bf16", 785, 1572), ("fp16", 784, 4 + 1568), ("uniform", 256, 4 + 256),
      ("uniform:range=min-max", 256, 8 + 256), ("uniform:rounding=dither", 256, 8 + 256),
    ] { #expect(try codecs.make(name).encodedByteCount(of: count) == bytes, "\(name)") }
  }

  @Test("residuals of upper halves are exact")
  func exactRemainders() throws {
    let codec = try codecs.make("bf16")
    for family in Gradients.allCases {
      let v = family.values(500).map { $0 + 0 }
      let encoded = codec.encode(v, residual: zeros(500))
      let decoded = codec.decode(encoded.code, count: 500)
      #expect(zip(decoded, encoded.residual).map { $0 + $1 } == v, "\(family)")
    }
  }

  @Test("half floats of a fixed scale refuse what overflows, and those of each group never do")
  func overflow() throws {
    let fixed = try codecs.make("fp16:scale=65536"), free = try codecs.make("fp16")
    let small = Gradients.normal.values(64).map { $0 * 0.5 }
    #expect(fixed.encode(small, residual: zeros(64)).isFinite)
    for value in [1, -1, 1e6, 3e38] as [Float] {
      var large = small
      large[5] = value
      let encoded = fixed.encode(large, residual: small)
      #expect(!encoded.isFinite && encoded.residual.patterns == small.patterns, "\(value)")
      let safe = free.encode(large, residual: zeros(64))
      #expect(safe.isFinite && free.decode(safe.code, count: 64).allSatisfy(\.isFinite))
    }
  }

  @Test("specifications")
  func specifications() throws {
    for (text, full) in [
      ("qsgd", "qsgd:levels=7,norm=max,bucket=512,code=dense,feedback=false"),
      ("qsgd:levels=127", "qsgd:levels=127,norm=l2,bucket=512,code=dense,feedback=false"),
      ("terngrad", "terngrad:clip=2.5,group=row"), ("ef-sign:group=1024", "ef-sign:group=1024"),
      ("uniform:rounding=dither", "uniform:bits=8,range=symmetric,rounding=dither,group=256,feedback=false"),
      ("bf16", "bf16:rounding=nearest,group=row,feedback=true"), ("fp16:scale=1024", "fp16:scale=1024,group=row,feedback=true"),
    ] { #expect(try codecs.make(text).specification == full) }
    for (text, words) in [
      ("qsgd:levels=0", "levels is a whole number of 1 to 32767"), ("qsgd:feedback=true", "root of the bucket, 23"),
      ("qsgd:levels=40,code=elias,feedback=true", "feedback takes code=dense"),
      ("terngrad:clip=0.5", "clip is 0, or 1 to 1000"),
      ("uniform:bits=3", "bits is 2, 4, 8 or 16"), ("uniform:range=min-max,rounding=dither", "takes range=symmetric"),
      ("fp16:scale=1000", "power of two"), ("fp16:scale=0", "power of two"), ("codebook:bits=3", "bits is 2 or 4"),
      ("fixed-threshold:threshold=0", "1e-30 to 1e+30"), ("codebook:model=gauss", "unknown model 'gauss'"),
      ("e3m0:rounding=up", "unknown rounding 'up'"),
      ("nuqsgd:levels=127", "1 to 126"), ("natural:feedback=maybe", "true or false"),
    ] {
      let error = #expect(throws: SpecificationError.self) { try codecs.make(text) }
      #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
  }
}
