import Buffers
import Codecs
import Foundation
import Testing

/// The largest values of chunks: what is chosen, how it is written, and what stays.
@Suite struct ChunkTopKTests {
  static let counts = [3, 4, 8, 9, 31, 33, 64, 65, 100, 1000, 1023, 1024, 1025, 4095, 4096]

  private func make(_ keys: String) throws -> ChunkTopK {
    try #require(try codecs.make("chunk-top-k:\(keys)") as? ChunkTopK)
  }

  @Test("as in plain code", arguments: ChunkValues.allCases, Gradients.allCases)
  func reference(values: ChunkValues, family: Gradients) throws {
    let codec = try make("k=1/16,values=\(values.rawValue),down=1/5")
    for count in Self.counts where !codec.isRaw(count: count) {
      var residual = family == .zeros ? family.values(count) : Gradients.normal.values(count, seed: 9)
      for (step, isSum) in [false, false, true].enumerated() {
        let gradient = family.values(count, seed: UInt64(step + 1))
        let v = zip(gradient, residual).map { ($0 + $1) + 0 }
        let k = max(1, (count * (isSum ? 820 : 256) + 4095) / 4096)
        #expect(codec.chosenCount(of: count, isSum: isSum) == k)
        let expected = ChunkReference.transfer(v, k: k, values)
        let encoded = codec.encode(gradient, residual: residual, context: EncodingContext(stream: isSum ? 1 : 0))
        let what = "\(count) values, step \(step)"
        #expect(codec.decode(encoded.code, count: count).patterns == expected.arrived.patterns, "\(what)")
        #expect(encoded.residual.patterns == expected.rest.patterns, "\(what)")
        residual = encoded.residual
      }
    }
  }

  @Test("floats are conserved to the last bit, and nothing stays where everything is sent")
  func conservation() throws {
    let codec = try make("k=1/16,values=float")
    let whole = try make("k=1/1,values=bf16,index=bitmap,decay=0.5")
    for family in Gradients.allCases {
      let (gradient, residual) = (family.values(1000), Gradients.wide.values(1000, seed: 3))
      let encoded = codec.encode(gradient, residual: residual)
      let decoded = codec.decode(encoded.code, count: 1000)
      for i in 0..<1000 {
        let v = (gradient[i] + residual[i]) + 0
        // Sent or kept, and never both.
        #expect(decoded[i].bitPattern == v.bitPattern && encoded.residual[i].bitPattern == 0 || decoded[i].bitPattern == 0)
        #expect((decoded[i] + encoded.residual[i]).bitPattern == v.bitPattern)
      }
      // All that stays is what the values are rounded by, 2⁻⁹ of them.
      let all = whole.encode(gradient, residual: [Float](repeating: 0, count: 1000))
      let bound = gradient.map { max($0.magnitude * 0x1p-8, 0x1p-133) }
      #expect(zip(all.residual, bound).allSatisfy { $0.magnitude <= $1 })
    }
  }

  /// e_T = Σ β^(T−t) (Ψ_t − m_t), of what ranks contribute; owners keep all.
  @Test("a residual fades by β", arguments: [1, 0.95, 0.5, 0])
  func decay(beta: Float) throws {
    let codec = try make("k=1/32,values=sign,decay=\(beta)")
    for isSum in [false, true] {
      var residual = [Float](repeating: 0, count: 500)
      var expected = [Double](repeating: 0, count: 500)
      for step in 0..<60 {
        let gradient = Gradients.normal.values(500, seed: UInt64(step))
        let encoded = codec.encode(gradient, residual: residual, context: EncodingContext(stream: isSum ? 1 : 0))
        let decoded = codec.decode(encoded.code, count: 500)
        residual = encoded.residual
        for i in 0..<500 {
          expected[i] = Double(isSum ? 1 : beta) * expected[i] + Double(gradient[i]) - Double(decoded[i])
        }
      }
      let worst = zip(residual, expected).map { (Double($0) - $1).magnitude }.max()!
      #expect(worst <= 60 * 3 * halfUlp(expected.reduce(0) { max($0, Float($1.magnitude)) }))
      // It can fail: what fades is more than that.
      #expect(residual.contains { $0 != 0 })
    }
  }

  /// The figures of frontier F1.6, by 64 chunks of normal values: 1.24 % and 0.41 % of the squares.
  @Test("errors of chosen values", arguments: [("sign", 0.0115...0.0135), ("two", 0.0035...0.0047), ("bf16", 0...1e-5)])
  func errors(values: String, range: ClosedRange<Double>) throws {
    let codec = try make("values=\(values)")
    var (error, square) = (0.0, 0.0)
    for chunk in 0..<64 {
      let gradient = Self.normal(4096, seed: UInt64(chunk))
      let decoded = codec.decode(codec.encode(gradient, residual: [Float](repeating: 0, count: 4096)).code, count: 4096)
      for (v, y) in zip(gradient, decoded) where y != 0 {
        error += Double(v - y) * Double(v - y)
        square += Double(v) * Double(v)
      }
    }
    #expect(range.contains(error / square), "\(error / square)")
  }

  /// Normal values (Box and Muller).
  private static func normal(_ count: Int, seed: UInt64) -> [Float] {
    let random = Philox(seed: seed, purpose: .tests)
    return (0..<count).map { i in
      let radius = (-2 * log(1 - Double(random.uniform(i)))).squareRoot()
      return Float(radius * cos(2 * .pi * Double(random.uniform(i, tensor: 1))))
    }
  }

  @Test("bytes of a chunk")
  func bytes() throws {
    let codec = try make("k=1/64")
    // The length of the code in four bytes, then 7 + 2 + 511 + 16 + 64 bits at most.
    #expect(codec.encodedByteCount(of: 4096) == 4 + 76)
    #expect(try make("k=1/64,values=two").encodedByteCount(of: 4096) == 4 + 88)
    #expect(try make("k=1/64,values=float,index=elias-fano").encodedByteCount(of: 4096) == 4 + 324)
    let lengths = (0..<20).map { seed in
      4 * codec.encode(Self.normal(4096, seed: seed), residual: [Float](repeating: 0, count: 4096)).code.count
    }
    #expect(lengths.allSatisfy { 140 * $0 <= 4 * 4096 && $0 >= 72 })
    // A chunk of zeros is a length alone, and one of a single value hardly more.
    #expect(codec.encode([Float](repeating: 0, count: 4096), residual: [Float](repeating: 0, count: 4096)).code == [0])
    #expect(codec.encode(Gradients.single.values(4096), residual: [Float](repeating: 0, count: 4096)).code.count == 3)
    // As many of a short chunk, in proportion; floats where that is no longer.
    #expect([1, 64, 65, 4095, 4096].map { codec.chosenCount(of: $0, isSum: false) } == [1, 1, 2, 64, 64])
    #expect(codec.isRaw(count: 2) && !codec.isRaw(count: 3))
    #expect(try make("k=64").chosenCount(of: 128, isSum: false) == 2)
  }

  @Test("bytes that are no code are refused", arguments: ChunkValues.allCases, IndexChoice.allCases)
  func damage(values: ChunkValues, index: IndexChoice) throws {
    let codec = try make("k=1/16,values=\(values.rawValue),index=\(index.rawValue)")
    let code = codec.encode(Gradients.normal.values(500), residual: [Float](repeating: 0, count: 500)).code
    let random = Philox(seed: 5, purpose: .tests)
    func length(_ words: [UInt32], _ byteCount: Int) -> Int? {
      words.withUnsafeBytes { codec.byteCount(ofGroupAt: UnsafeRawBufferPointer(rebasing: $0[..<byteCount]), count: 500) }
    }
    #expect(length(code, 4 * code.count) == 4 * code.count)
    for end in 0..<4 * code.count { #expect(length(code, end) == nil) }
    // Shorter by a byte, a word, or nothing but a length.
    for cut: UInt32 in [1, 4, code[0] - 1] { #expect(length([code[0] - cut] + code.dropFirst(), 4 * code.count) == nil) }
    #expect(length([.max] + code.dropFirst(), 4 * code.count) == nil)
    // More values than a code may have.
    #expect(length([code[0], .max] + code.dropFirst(2), 4 * code.count) == nil)
    for trial in 0..<1000 {
      var noise = code
      for place in 1..<noise.count { noise[place] = UInt32(random.uniform(place, tensor: trial) * 0x1p24) &* 0x9E37_79B9 }
      // What is taken is decoded within the chunk.
      if length(noise, 4 * noise.count) == 4 * noise.count { _ = codec.decode(noise, count: 500) }
    }
  }

  @Test("a value counts for all who did not send it", arguments: [1, 2, 3, 8])
  func senders(codeCount: Int) throws {
    let codec = try make("k=1/16,values=float,divide=senders")
    let decoded = (0..<codeCount).map { rank in
      ChunkReference.transfer(Gradients.normal.values(200, seed: UInt64(rank)), k: 13, .float).arrived
    }
    let codes = (0..<codeCount).map { rank in
      codec.encode(Gradients.normal.values(200, seed: UInt64(rank)), residual: [Float](repeating: 0, count: 200)).code
    }
    let expected = (0..<200).map { i -> Float in
      let senders = decoded.count { $0[i] != 0 }
      let sum = decoded.reduce(Float(0)) { $0 + $1[i] }
      return senders == 0 ? 0 : sum * (Float(codeCount) / Float(senders))
    }
    #expect(codec.decodeSum(codes, count: 200).patterns == expected.patterns)
    #expect(
      try make("k=1/16,values=float").decodeSum(codes, count: 200)
        == (0..<200).map { i in
          decoded.reduce(Float(0)) { $0 + $1[i] }
        })
  }

  @Test("specifications")
  func specifications() throws {
    #expect(
      try codecs.make("chunk-top-k").specification
        == "chunk-top-k:k=1/64,chunk=4096,values=sign,index=auto,decay=1,down=1/64,divide=ranks")
    #expect(
      try make("k=32,decay=0.95,down=1/8").specification.contains("k=32,chunk=4096,values=sign,index=auto,decay=0.95,down=1/8"))
    for (keys, sentence) in [
      ("k=0", "not '0'"), ("k=5000", "k = 5000 is more than the 4096 values of a chunk"),
      ("chunk=8,k=4,down=9", "down = 9 is more than the 8 values"), ("chunk=0", "not '0'"),
      ("values=signs", "did you mean 'sign'?"), ("index=golomb", "known: auto, elias-fano, gaps, bitmap"),
      ("decay=1.5", "decay is a number of 0.0 to 1.0"), ("divide=all", "known: ranks, senders"),
    ] {
      let error = #expect(throws: SpecificationError.self) { try codecs.make("chunk-top-k:\(keys)") }
      #expect(error?.description.contains(sentence) == true, "\(error?.description ?? "")")
    }
  }
}
