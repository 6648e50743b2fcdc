import Buffers
import Codecs
import Testing

/// The laws that every codec of the list keeps.
@Suite struct CodecLawTests {
  static let all =
    codecs.entries.map(\.name) + ["one-bit:group=7", "one-bit:group=1024"]
    + ["multi-bit:bits=2", "multi-bit:bits=2,range=2", "multi-bit:bits=8,group=7", "multi-bit:bits=16"]
    + [
      "rotated:group=row,feedback=1", "rotated:bits=2,group=100", "rotated:bits=4,feedback=1",
      "rotated:scale=unbiased,feedback=1",
    ]
    + [
      "chunk-top-k:k=1/8,values=two,index=gaps", "chunk-top-k:k=1/4,values=float", "chunk-top-k:k=1/2,values=bf16,index=bitmap",
    ]
    + scalar + sparse + ["adaptive:delta=0.9,group=7", "adaptive:delta=0.999", "adaptive:delta=0.05"]
  /// Codes with one scale for each group, with the keys that change them.
  static let scalar = [
    "ef-sign:group=7", "terngrad:clip=0", "qsgd:levels=1", "qsgd:levels=127,norm=max", "qsgd:levels=40,feedback=true",
    "qsgd:levels=1000,bucket=row", "qsgd:levels=23,code=elias", "qsgd:levels=1,norm=l2,code=elias", "nuqsgd:levels=20,norm=l2",
    "natural:feedback=true", "uniform:bits=2", "uniform:bits=4,rounding=stochastic", "uniform:bits=8,rounding=dither",
    "uniform:bits=4,range=min-max", "uniform:bits=16,range=min-max,rounding=stochastic,feedback=true", "uniform:bits=16",
    "e3m0:rounding=stochastic", "bf16:rounding=stochastic", "fp16:feedback=false", "codebook:bits=2",
    "codebook:model=laplace", "fixed-threshold:threshold=0.25",
  ]
  /// Codes of some values of a group.
  static let sparse = [
    "threshold:unit=max,limit=0.25,values=float", "threshold:limit=1.5,values=two,index=gaps,most=1/2",
    "threshold:unit=one,limit=0.5,values=sign,chunk=1000", "random-k:k=1/8,feedback=false", "random-k:k=1/2,seed=own",
    "unbiased-k:k=1/8,index=bitmap", "unbiased-k:k=1/2,chunk=1000",
    "vector:dimension=7,bits=5", "vector:form=nearest,dimension=16,bits=6", "vector:form=unbiased,dimension=8,bits=5",
    "projection:k=1/8,chunk=100", "projection:k=1/4,feedback=false",
  ]
  static let counts = [0, 1, 2, 3, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 200, 784, 1023, 1024, 1025, 4096]

  @Test("decoded + remainder = gradient + residual", arguments: all, Gradients.allCases)
  func conservation(name: String, family: Gradients) throws {
    let codec = try codecs.make(name)
    for count in Self.counts {
      let gradient = family.values(count)
      let residual = codec.isIdentity ? [Float](repeating: 0, count: count) : Gradients.normal.values(count, seed: 9)
      let encoded = codec.encode(gradient, residual: residual)
      #expect(encoded.isFinite)
      let decoded = codec.decode(encoded.code, count: count)
      guard codec.keepsRemainder || codec.isRaw(count: count) else {
        #expect(encoded.residual.allSatisfy { $0.bitPattern == 0 })
        continue
      }
      let wrong = (0..<count).first { i in
        let v = (gradient[i] + residual[i]) + 0.0
        let error = Double(decoded[i]) + Double(encoded.residual[i]) - Double(v)
        return !(error.magnitude <= halfUlp(v, decoded[i], encoded.residual[i]))
      }
      #expect(wrong == nil, "of \(count) elements")
    }
  }

  @Test("a thousand steps lose nothing", arguments: all)
  func telescoping(name: String) throws {
    let codec = try codecs.make(name)
    guard codec.keepsRemainder else { return }
    let count = 100
    var residual = [Float](repeating: 0, count: count)
    var (sent, given) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: count))
    var largest: Float = 0
    for step in 0..<1000 {
      let gradient = Gradients.normal.values(count, seed: UInt64(step))
      let encoded = codec.encode(gradient, residual: residual)
      let decoded = codec.decode(encoded.code, count: count)
      for i in 0..<count {
        sent[i] += Double(decoded[i])
        given[i] += Double(gradient[i])
        largest = max(largest, (gradient[i] + residual[i]).magnitude, decoded[i].magnitude, encoded.residual[i].magnitude)
      }
      residual = encoded.residual
    }
    // Two roundings a step: that of gradient + residual, and that of the remainder.
    for i in 0..<count { #expect((sent[i] + Double(residual[i]) - given[i]).magnitude <= 1000 * 2 * halfUlp(largest)) }
  }

  @Test("the ways to decode agree", arguments: all, Gradients.allCases)
  func decoding(name: String, family: Gradients) throws {
    let codec = try codecs.make(name)
    for count in Self.counts {
      let code = codec.encode(family.values(count), residual: [Float](repeating: 0, count: count)).code
      let decoded = codec.decode(code, count: count)
      for offset in [0, 1, 5, 15] {
        #expect(codec.decode(code, count: count, streaming: true, offset: offset).patterns == decoded.patterns)
      }
      #expect(codec.decode(code, adding: [Float](repeating: 0, count: count)) == decoded)
      #expect(codec.decodeSum([code], count: count).patterns == decoded.patterns)
      let start = Gradients.normal.values(count, seed: 3)
      #expect(codec.decode(code, adding: start).patterns == zip(start, decoded).map { ($0 + $1).bitPattern })
    }
  }

  @Test("sums are taken in the order given", arguments: all)
  func sums(name: String) throws {
    let codec = try codecs.make(name)
    for count in Self.counts {
      let all = (0..<17).map { k in
        codec.encode(Gradients.wide.values(count, seed: UInt64(k)), residual: [Float](repeating: 0, count: count)).code
      }
      let decoded = all.map { codec.decode($0, count: count) }
      for codeCount in [1, 2, 3, 8, 17] {
        var expected = decoded[0]
        for next in decoded[1..<codeCount] { expected = zip(expected, next).map { $0 + $1 } }
        let sum = codec.decodeSum(Array(all[..<codeCount]), count: count)
        guard codec.addsBeforeDecoding, codeCount > 1 else {
          #expect(sum.patterns == expected.patterns)
          continue
        }
        // The codes are of groups of one size.
        let largest = expected.reduce(Float(0)) { max($0, $1.magnitude) }
        #expect(zip(sum, expected).allSatisfy { ($0 - $1).magnitude <= 1e-5 * Float(codeCount) * largest })
      }
    }
  }

  @Test("the same group gives the same bits", arguments: all)
  func determinism(name: String) throws {
    let codec = try codecs.make(name)
    let (gradient, residual) = (Gradients.wide.values(1025), Gradients.normal.values(1025, seed: 2))
    let (first, second) = (codec.encode(gradient, residual: residual), codec.encode(gradient, residual: residual))
    #expect(first.code == second.code && first.residual.patterns == second.residual.patterns)
  }

  @Test("zeros decode to zeros and leave zeros", arguments: all, [Gradients.zeros, .negativeZeros])
  func zeros(name: String, family: Gradients) throws {
    let codec = try codecs.make(name)
    for count in Self.counts {
      let encoded = codec.encode(family.values(count), residual: family.values(count))
      #expect(codec.decode(encoded.code, count: count).allSatisfy { $0 == 0 })
      #expect(encoded.residual.allSatisfy { $0 == 0 })
      if !codec.isIdentity {
        #expect(codec.decode(encoded.code, count: count).allSatisfy { $0.bitPattern == 0 })
        #expect(encoded.residual.allSatisfy { $0.bitPattern == 0 })
      }
    }
  }

  @Test("what is not finite is refused", arguments: all, [Float.nan, -.nan, .infinity, -.infinity])
  func refusal(name: String, value: Float) throws {
    let codec = try codecs.make(name)
    for count in Self.counts where count > 0 {
      for place in Set([0, count / 2, count - 1]) {
        var gradient = Gradients.normal.values(count)
        gradient[place] = value
        let residual = Gradients.normal.values(count, seed: 2)
        let encoded = codec.encode(gradient, residual: residual)
        #expect(!encoded.isFinite)
        #expect(encoded.residual.patterns == residual.patterns)
        #expect(codec.decode(encoded.code, count: count).allSatisfy { $0.bitPattern == 0 })
      }
    }
  }

  @Test("a code is never longer than its floats", arguments: all)
  func sizes(name: String) throws {
    let codec = try codecs.make(name)
    for count in 0...300 {
      let size = codec.encodedByteCount(of: count)
      #expect(size % 4 == 0 && size <= 4 * count)
      // A code that saves nothing is no code.
      #expect(size == 4 * count || !codec.isIdentity && !codec.isRaw(count: count), "\(count) values")
      #expect(size < 4 * count || codec.isIdentity || codec.isRaw(count: count), "\(count) values")
    }
    #expect(try codecs.make(codec.specification).specification == codec.specification)
  }
}
