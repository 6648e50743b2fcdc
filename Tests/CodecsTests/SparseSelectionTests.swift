import Buffers
import Codecs
import Testing

/// The codecs that send some values of a group: by a limit, at random, or by chance in proportion to their size.
@Suite struct SparseSelectionTests {
  private func zeros(_ count: Int) -> [Float] { [Float](repeating: 0, count: count) }

  // MARK: threshold

  @Test("what reaches the limit arrives, and nothing else", arguments: Gradients.allCases, ["rms", "max"])
  func threshold(family: Gradients, unit: String) throws {
    for values in ["float", "bf16", "sign", "two"] {
      let codec = try codecs.make("threshold:unit=\(unit),limit=0.7,most=1/4,chunk=300,values=\(values)")
      for count in [1, 5, 33, 64, 299, 300] where !codec.isRaw(count: count) {
        let v = family.values(count)
        let encoded = codec.encode(v, residual: zeros(count))
        let decoded = codec.decode(encoded.code, count: count)
        #expect(decoded.patterns == SparseReference.arriving(codec, v)?.patterns, "\(count) values as \(values)")
      }
    }
  }

  @Test("residuals stay below an absolute limit")
  func residualsStayBelowTheLimit() throws {
    let codec = try codecs.make("threshold:unit=one,limit=0.75,most=1/1,chunk=200,values=bf16,index=gaps")
    var residual = zeros(200)
    for step in 0..<200 {
      residual = codec.encode(Gradients.normal.values(200, seed: UInt64(step)), residual: residual).residual
      #expect(residual.allSatisfy { $0.magnitude < 0.75 }, "step \(step)")
    }
    #expect(residual.contains { $0 != 0 })
  }

  @Test("no more than `most` values are sent: the largest")
  func most() throws {
    let codec = try codecs.make("threshold:limit=0.01,most=4,chunk=100,values=float")
    let v = Gradients.normal.values(100)
    let decoded = codec.decode(codec.encode(v, residual: zeros(100)).code, count: 100)
    let sent = Set(v.indices.filter { decoded[$0] != 0 })
    #expect(sent == Set(ChunkReference.places(v, k: 4)))
  }

  // MARK: random-k

  @Test("each value is drawn with the same probability, none twice", arguments: ["shared", "own"])
  func frequencies(seed: String) throws {
    let (count, k, draws) = (40, 8, 20_000)
    let codec = try codecs.make("random-k:k=\(k),chunk=\(count),seed=\(seed)")
    let v = (1...count).map { Float($0) }
    var times = [Int](repeating: 0, count: count), pairs = 0
    for step in 0..<draws {
      let encoded = codec.encode(v, residual: zeros(count), context: EncodingContext(seed: 2, step: step, stream: 6))
      let decoded = codec.decode(encoded.code, count: count)
      for i in 0..<count {
        // Bit by bit: a value is sent, or it stays.
        #expect(decoded[i] == 0 && encoded.residual[i] == v[i] || decoded[i] == v[i] && encoded.residual[i] == 0)
        times[i] += decoded[i] == 0 ? 0 : 1
      }
      #expect(decoded.count { $0 != 0 } == k)
      pairs += decoded[3] != 0 && decoded[4] != 0 ? 1 : 0
    }
    let p = Double(k) / Double(count), both = p * Double(k - 1) / Double(count - 1)
    func error(_ p: Double) -> Double { 5 * (p * (1 - p) * Double(draws)).squareRoot() }
    for i in 0..<count { #expect((Double(times[i]) - p * Double(draws)).magnitude < error(p), "value \(i)") }
    #expect((Double(pairs) - both * Double(draws)).magnitude < error(both))
  }

  @Test("with a shared seed ranks and owners draw alike, and owners lose nothing", arguments: [true, false])
  func sharing(feedback: Bool) throws {
    let codec = try codecs.make("random-k:k=1/8,chunk=200,feedback=\(feedback)")
    let own = try codecs.make("random-k:k=1/8,chunk=200,seed=own")
    func places(_ codec: any Codec, _ stream: Int, step: Int = 0, group: Int = 0) -> [Int] {
      let context = EncodingContext(step: step, stream: stream, group: group)
      let decoded = codec.decode(
        codec.encode(Gradients.normal.values(200), residual: zeros(200), context: context).code, count: 200)
      return decoded.indices.filter { decoded[$0] != 0 }
    }
    #expect(places(codec, 2) == places(codec, 4))
    #expect(places(codec, 2) == places(codec, 3))
    #expect(places(codec, 2) != places(codec, 2, step: 1))
    #expect(places(codec, 2) != places(codec, 2, group: 1))
    #expect(places(own, 2) != places(own, 4))
    // Ranks have streams of even numbers, owners those of odd ones.
    let codes = [2, 4].map { stream in
      let values = Gradients.normal.values(200, seed: UInt64(stream))
      return codec.encode(values, residual: zeros(200), context: EncodingContext(stream: stream)).code
    }
    let sum = codec.decodeSum(codes, count: 200)
    let back = codec.encode(sum, residual: zeros(200), context: EncodingContext(stream: 1))
    #expect(codec.decode(back.code, count: 200).patterns == sum.map { ($0 + 0).bitPattern })
    #expect(back.residual.allSatisfy { $0 == 0 })
  }

  // MARK: unbiased-k

  @Test("the example of the specification")
  func probabilities() {
    #expect(SparseReference.probabilities([10, 1, 1, 1, 1], k: 2) == [1, 0.25, 0.25, 0.25, 0.25])
  }

  @Test("values are sent as often as the paper says, k of them to within one", arguments: [1, 2, 5])
  func chances(k: Int) throws {
    let x: [Float] = [10, 1, -1, 1, 1, 0, -0.5, 3, 1e-3, 0.25, -7, 2, 1.5, 0.75]
    let codec = try codecs.make("unbiased-k:k=\(k),chunk=\(x.count)")
    let p = SparseReference.probabilities(x, k: k), draws = 50_000
    var times = [Int](repeating: 0, count: x.count)
    for step in 0..<draws {
      let decoded = codec.decode(
        codec.encode(x, residual: zeros(x.count), context: EncodingContext(seed: 3, step: step)).code, count: x.count)
      #expect((k - 1...k + 1).contains(decoded.count { $0 != 0 }))
      for i in x.indices where decoded[i] != 0 {
        times[i] += 1
        #expect((Double(decoded[i]) - Double(x[i]) / p[i]).magnitude <= 1e-6 * Double(decoded[i].magnitude))
      }
    }
    for i in x.indices {
      let error = 5 * (p[i] * (1 - p[i]) / Double(draws)).squareRoot() + 1e-6
      #expect((Double(times[i]) / Double(draws) - p[i]).magnitude < error, "value \(x[i])")
    }
  }

  @Test("no more than k values that are not zero arrive exactly")
  func fewValues() throws {
    let codec = try codecs.make("unbiased-k:k=1/8,chunk=200")
    var v = zeros(200)
    for i in 0..<25 { v[8 * i] = Float(i + 1) * (i % 2 == 0 ? 1 : -1e-30) }
    #expect(codec.decode(codec.encode(v, residual: zeros(200)).code, count: 200).patterns == v.patterns)
  }

  // MARK: Specifications

  @Test(
    "what cannot be is refused",
    arguments: [
      "threshold:limit=0", "threshold:unit=max,limit=1.5", "threshold:unit=mean", "threshold:most=5000",
      "threshold:values=half",
      "random-k:k=0", "random-k:k=5000", "random-k:chunk=100000", "random-k:seed=3", "random-k:feedback=maybe",
      "unbiased-k:k=2/1", "unbiased-k:k=5000", "unbiased-k:index=lists", "unbiased-k:values=float",
    ])
  func refusals(text: String) { #expect(throws: SpecificationError.self) { try codecs.make(text) } }

  @Test("damaged bytes are no code", arguments: ["threshold:chunk=200", "unbiased-k:chunk=200,k=1/8"])
  func damage(name: String) throws {
    let codec = try codecs.make(name)
    let code = codec.encode(Gradients.wide.values(200), residual: zeros(200)).code
    func isCode(_ bytes: [UInt8]) -> Bool {
      bytes.withUnsafeBytes { codec.isCode($0.baseAddress! + 4, byteCount: bytes.count - 4, count: 200) }
    }
    // The length stands in front.
    let length = Int(code[0])
    let whole = Array(code.withUnsafeBytes { Array($0) }[..<(4 + length)])
    #expect(isCode(whole))
    #expect(!isCode(Array(whole.dropLast())))
    #expect(!isCode(whole + [1]))
    var none = whole
    none[4] = 0
    none[5] = 0
    #expect(!isCode(none) || whole[4] == 0)
  }
}
