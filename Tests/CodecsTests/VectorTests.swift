import Buffers
import Codecs
import Testing

/// Codes of several values at once, against their definitions in fp64.
@Suite struct VectorTests {
  private func zeros(_ count: Int) -> [Float] { [Float](repeating: 0, count: count) }

  private func squares(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }

  /// All vectors of a code with one vector in a group, found by asking for them: nothing of the implementation is known.
  private func vectors(_ codec: any Codec, dimension: Int, bits: Int) -> [[Float]] {
    (0..<1 << bits).map { number in
      // A scale, or a multiple, of 1.
      codec.decode([Float(1).bitPattern, UInt32(number)], count: dimension)
    }
  }

  @Test("the nearest vector is sent, with the scale that loses least", arguments: [(4, 4), (5, 3), (8, 6)])
  func product(dimension: Int, bits: Int) throws {
    let codec = try codecs.make("vector:dimension=\(dimension),bits=\(bits)")
    let book = vectors(codec, dimension: dimension, bits: bits).map { $0.map { Double($0) } }
    let count = 20 * dimension
    for family in Gradients.allCases where family != .denormal && family != .zeros && family != .negativeZeros {
      let v = family.values(count)
      let decoded = codec.decode(codec.encode(v, residual: zeros(count)).code, count: count)
      let rms = (squares(v) / Double(count)).squareRoot()
      var (product, square, chosen) = (0.0, 0.0, [Int]())
      for start in stride(from: 0, to: count, by: dimension) {
        let x = v[start..<start + dimension].map { Double($0) / rms }
        let distances = book.map { zip($0, x).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } }
        let nearest = distances.indices.min { distances[$0] < distances[$1] }!
        chosen.append(nearest)
        for k in 0..<dimension {
          product += Double(v[start + k]) * book[nearest][k]
          square += book[nearest][k] * book[nearest][k]
        }
      }
      for i in 0..<count {
        let expected = product / square * book[chosen[i / dimension]][i % dimension]
        #expect((Double(decoded[i]) - expected).magnitude <= 1e-5 * rms, "\(family), value \(i)")
      }
    }
  }

  @Test("four values in four bits lose less than four signs")
  func fourInFour() throws {
    let count = 4096, v = Gradients.normal.values(count)
    func loss(_ name: String) throws -> Double {
      try squares(codecs.make(name).encode(v, residual: zeros(count)).residual) / squares(v)
    }
    let (vector, sign) = (try loss("vector"), try loss("one-bit"))
    #expect(vector < 0.99 * sign, "\(vector) and \(sign)")
    // Nothing of one bit per value can be below the rate-distortion function of normal values.
    #expect(vector > 0.25)
    #expect(try loss("vector:bits=8") < 0.15)
  }

  @Test("no group loses more than it has", arguments: ["vector", "vector:form=nearest,dimension=8,bits=6"])
  func contraction(name: String) throws {
    let codec = try codecs.make(name)
    for family in Gradients.allCases {
      for count in [1, 3, 4, 9, 64, 1000] where !codec.isRaw(count: count) {
        let v = family.values(count)
        let rest = codec.encode(v, residual: zeros(count)).residual
        #expect(squares(rest) <= 1.000001 * squares(v) + 1e-80, "\(count) of \(family)")
      }
    }
  }

  @Test("the nearest direction is sent, with its product")
  func nearest() throws {
    let codec = try codecs.make("vector:form=nearest,dimension=16,bits=7")
    let book = vectors(codec, dimension: 16, bits: 7)
    for direction in book { #expect((squares(direction) - 1).magnitude < 1e-6) }
    for seed in 0..<20 {
      let v = Gradients.normal.values(16, seed: UInt64(seed))
      let decoded = codec.decode(codec.encode(v, residual: zeros(16)).code, count: 16)
      let products = book.map { zip($0, v).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } }
      let best = products.indices.max { products[$0].magnitude < products[$1].magnitude }!
      for k in 0..<16 { #expect((Double(decoded[k]) - products[best] * Double(book[best][k])).magnitude < 1e-5) }
    }
  }

  @Test(
    "what cannot be is refused",
    arguments: [
      "vector:form=best", "vector:dimension=1", "vector:dimension=17", "vector:bits=9", "vector:form=nearest,dimension=4",
      "vector:form=unbiased,dimension=64,bits=5", "vector:form=nearest,bits=11",
    ])
  func refusals(text: String) { #expect(throws: SpecificationError.self) { try codecs.make(text) } }
}
