import Buffers
import Codecs
import Testing

@Suite struct ProjectionTests {
  private func zeros(_ count: Int) -> [Float] { [Float](repeating: 0, count: count) }

  private func squares(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) } }

  @Test("the code is that of the definition, in fp64", arguments: [true, false], Gradients.allCases)
  func reference(feedback: Bool, family: Gradients) throws {
    let codec = try codecs.make("projection:k=1/8,chunk=64,feedback=\(feedback)")
    for count in Array(3...70) + [127, 128, 129, 784, 1000] where !codec.isRaw(count: count) {
      let v = family.values(count)
      let encoded = codec.encode(v, residual: zeros(count), context: EncodingContext(seed: 4, step: 3, group: 2))
      let reference = ProjectionReference(start: encoded.code[0], count: count) { max(1, $0 / 8) }
      let largest = v.reduce(0) { max($0, Double($1.magnitude)) }
      let bound = 1e-5 * largest * Double(count).squareRoot() + 0x1p-145
      let sent = encoded.code.dropFirst().map { Double(Float(bitPattern: $0)) }
      let expected = reference.sent(v, isScaled: !feedback)
      #expect(sent.count == expected.count)
      for (found, wanted) in zip(sent, expected) { #expect((found - wanted).magnitude <= bound, "\(count) values") }
      let decoded = codec.decode(encoded.code, count: count)
      for (found, wanted) in zip(decoded, reference.arriving(sent)) {
        #expect((Double(found) - wanted).magnitude <= 8 * bound, "\(count) values")
      }
    }
  }

  @Test("as much of the squared norm arrives as there are rows", arguments: Gradients.allCases)
  func contraction(family: Gradients) throws {
    let codec = try codecs.make("projection:k=1/4,chunk=256")
    for count in [64, 100, 256] {
      let v = family.values(count)
      guard squares(v) > 1e-60 else { continue }
      var lost = 0.0
      let steps = 1000
      for step in 0..<steps {
        let rest = codec.encode(v, residual: zeros(count), context: EncodingContext(step: step)).residual
        #expect(squares(rest) <= 1.00001 * squares(v))
        lost += squares(rest) / squares(v) / Double(steps)
      }
      #expect((lost - 0.75).magnitude < 0.03, "\(lost) of \(count)")
    }
  }

  @Test("ranks and owners have the same rows, and owners lose nothing of a sum", arguments: [true, false])
  func sharing(feedback: Bool) throws {
    let codec = try codecs.make("projection:k=1/8,chunk=200,feedback=\(feedback)")
    let count = 200
    func code(_ stream: Int, step: Int = 0, group: Int = 0) -> [UInt32] {
      let context = EncodingContext(step: step, stream: stream, group: group)
      return codec.encode(Gradients.normal.values(count, seed: UInt64(stream)), residual: zeros(count), context: context).code
    }
    #expect(code(2)[0] == code(4)[0])
    #expect(code(2)[0] != code(2, step: 1)[0])
    #expect(code(2)[0] != code(2, group: 1)[0])
    let sum = codec.decodeSum([code(2), code(4), code(6)], count: count)
    let terms = [2, 4, 6].map { codec.decode(code($0), count: count) }
    for i in 0..<count { #expect((sum[i] - terms[0][i] - terms[1][i] - terms[2][i]).magnitude < 1e-5) }
    let back = codec.encode(sum, residual: zeros(count), context: EncodingContext(stream: 1))
    #expect(back.code[0] == code(2)[0])
    #expect(squares(back.residual) < 1e-10 * squares(sum))
    for (found, wanted) in zip(codec.decode(back.code, count: count), sum) { #expect((found - wanted).magnitude < 1e-5) }
    // Codes with other rows are decoded one by one.
    let mixed = codec.decodeSum([code(2), code(2, step: 1)], count: count)
    for i in 0..<count {
      #expect(mixed[i] == terms[0][i] + codec.decode(code(2, step: 1), count: count)[i])
    }
  }

  /// What an owner has changed is no longer among what the rows span.
  @Test("a sum that an owner has changed arrives right on average")
  func changedSums() throws {
    let codec = try codecs.make("projection:k=1/4,chunk=16,feedback=false")
    let v = Gradients.normal.values(16)
    let draws = 20_000
    var (means, squares) = ([Double](repeating: 0, count: 16), [Double](repeating: 0, count: 16))
    for step in 0..<draws {
      let shared = codec.encode(v, residual: zeros(16), context: EncodingContext(step: step, stream: 2)).code[0]
      let encoded = codec.encode(v, residual: zeros(16), context: EncodingContext(step: step, stream: 3))
      #expect(encoded.code[0] != shared)
      for (i, value) in codec.decode(encoded.code, count: 16).enumerated() {
        let difference = Double(value) - Double(v[i])
        means[i] += difference / Double(draws)
        squares[i] += difference * difference / Double(draws)
      }
    }
    for i in 0..<16 { #expect(means[i].magnitude < 4.5 * (squares[i] / Double(draws)).squareRoot() + 1e-6, "value \(i)") }
  }

  @Test("sizes, and what is refused")
  func sizes() throws {
    let codec = try codecs.make("projection")
    #expect(codec.specification == "projection:k=1/64,chunk=4096,feedback=true")
    #expect(codec.encodedByteCount(of: 4096) == 4 + 4 * 64)
    // Pieces of 512, 256 and 16 values.
    #expect(codec.encodedByteCount(of: 784) == 4 + 4 * (8 + 4 + 1))
    for text in ["projection:k=0", "projection:k=5000", "projection:chunk=0", "projection:chunk=65537", "projection:rows=3"] {
      #expect(throws: SpecificationError.self) { try codecs.make(text) }
    }
  }
}
