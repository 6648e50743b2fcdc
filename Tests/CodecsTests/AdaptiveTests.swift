import Buffers
import Codecs
import Testing

/// The code that is chosen anew for each group.
@Suite struct AdaptiveTests {
  /// The codes, from few bits to many.
  static let ladder = ["chunk-top-k:values=two", "ef-sign", "codebook:bits=2", "uniform:bits=4", "uniform", "bf16"]

  private func zeros(_ count: Int) -> [Float] { [Float](repeating: 0, count: count) }

  private func squares(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }

  @Test(
    "the code follows from the values",
    arguments: [
      (0.4, .normal, 1), (0.4, .single, 0), (0.4, .hugeAndTiny, 0), (0.4, .alternating, 1), (0.4, .positive, 1),
      (0.8, .normal, 2), (0.93, .normal, 3), (0.999, .normal, 4), (0.4, .wide, 0), (0.999, .positive, 1),
    ] as [(Double, Gradients, Int)])
  func choices(_ delta: Double, _ family: Gradients, _ place: Int) throws {
    let codec = try codecs.make("adaptive:delta=\(delta)")
    let encoded = codec.encode(family.values(1024), residual: zeros(1024))
    #expect(Int(encoded.code[1]) == place)
    // The length, which code it is, and the code itself.
    let chosen = try codecs.make(Self.ladder[place]).encode(family.values(1024), residual: zeros(1024))
    #expect(encoded.residual.patterns == chosen.residual.patterns)
    let own = try codecs.make(Self.ladder[place]).hasVaryingLength ? Array(chosen.code[1...]) : chosen.code
    #expect(Array(encoded.code[2...]) == own)
  }

  @Test("each code carries its share, and no cheaper one would", arguments: Gradients.allCases, [0.2, 0.4, 0.7, 0.95, 0.999])
  func contraction(_ family: Gradients, _ delta: Double) throws {
    let codec = try codecs.make("adaptive:delta=\(delta)")
    for count in [6, 7, 31, 64, 100, 1000, 4096] {
      let (gradient, residual) = (family.values(count), Gradients.normal.values(count, seed: 4).map { $0 * 0.25 })
      let v = zip(gradient, residual).map { $0 + $1 }
      let encoded = codec.encode(gradient, residual: residual)
      let place = Int(encoded.code[1])
      let most = (1 - delta) * squares(v)
      #expect(place == Self.ladder.count - 1 || squares(encoded.residual) <= most * (1 + 1e-9), "\(count) values")
      for text in Self.ladder[..<place] {
        let other = try codecs.make(text).encode(gradient, residual: residual)
        #expect(!other.isFinite || squares(other.residual) >= most * (1 - 1e-9), "\(text) of \(count) values")
      }
    }
  }

  @Test("what is left goes from one code to the next")
  func residualsGoOn() throws {
    let codec = try codecs.make("adaptive")
    var residual = zeros(256)
    var places: Set<UInt32> = []
    for (step, family) in [Gradients.single, .normal, .hugeAndTiny, .alternating, .wide, .integers].enumerated() {
      let gradient = family.values(256, seed: UInt64(step))
      let encoded = codec.encode(gradient, residual: residual)
      let decoded = codec.decode(encoded.code, count: 256)
      places.insert(encoded.code[1])
      for i in 0..<256 {
        let v = gradient[i] + residual[i]
        let error = Double(decoded[i]) + Double(encoded.residual[i]) - Double(v)
        #expect(error.magnitude <= halfUlp(v, decoded[i], encoded.residual[i]))
      }
      residual = encoded.residual
    }
    #expect(places.count > 1)
  }

  @Test("damaged bytes are no code")
  func damage() throws {
    let codec = try codecs.make("adaptive")
    let code = Array(codec.encode(Gradients.normal.values(200), residual: zeros(200)).code[1...])
    func isCode(_ words: [UInt32], _ byteCount: Int) -> Bool {
      words.withUnsafeBytes { codec.isCode($0.baseAddress!, byteCount: byteCount, count: 200) }
    }
    #expect(isCode(code, 4 * code.count))
    for byteCount in [0, 2, 4 * code.count - 4] { #expect(!isCode(code, byteCount), "\(byteCount) bytes") }
    for place in [0, 2, 5, 6, .max] as [UInt32] {
      #expect(!isCode([place] + code[1...], 4 * code.count), "code \(place)")
    }
  }

  @Test("bytes are at most those of halves, and specifications are checked")
  func bounds() throws {
    let codec = try codecs.make("adaptive")
    for count in [16, 100, 784, 4096] { #expect(codec.encodedByteCount(of: count) == 8 + 4 * ((count + 1) / 2)) }
    #expect(codec.specification == "adaptive:delta=0.4,group=row" && codec.hasVaryingLength && codec.losesNothing)
    for text in ["adaptive:delta=0", "adaptive:delta=1", "adaptive:delta=most", "adaptive:codes=qsgd"] {
      #expect(throws: SpecificationError.self) { try codecs.make(text) }
    }
  }
}
