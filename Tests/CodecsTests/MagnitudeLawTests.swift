import Buffers
import Codecs
import Synchronization
import Testing

/// Values of every magnitude that fp32 has, from denormal numbers to the edge of overflow.
enum Magnitudes {
  static let all =
    ([
      1e-45, 1e-42, 1e-40, 1.2e-38, 1e-37, 3e-37, 1e-36, 1e-35, 2.4e-35, 1e-34, 1e-33, 1e-30, 1e-20, 1e-10, 1, 1e10, 1e20, 1e30,
      1e35, 1e37, 1e38, 3e38,
    ] as [Double]).map { Float($0) }
  static let counts = [1, 2, 3, 4, 5, 31, 32, 33, 100, 1024, 4095, 4096]

  /// How the values of a group are spread below the magnitude.
  enum Spread: String, CaseIterable { case even, mixed, equal, lonely }

  /// What has been drawn: every codec meets the same values.
  private struct Draw: Hashable {
    let count: Int, magnitude: Float, spread: Spread, seed: UInt64
  }
  private static let drawn = Mutex<[Draw: [Float]]>([:])

  /// `count` finite values of at most `magnitude`.
  static func values(_ count: Int, of magnitude: Float, _ spread: Spread, seed: UInt64 = 1) -> [Float] {
    let draw = Draw(count: count, magnitude: magnitude, spread: spread, seed: seed)
    if let known = drawn.withLock({ $0[draw] }) { return known }
    let values = Self.draw(draw)
    drawn.withLock { $0[draw] = values }
    return values
  }

  private static func draw(_ draw: Draw) -> [Float] {
    let (count, magnitude, spread) = (draw.count, draw.magnitude, draw.spread)
    let random = Philox(seed: draw.seed, purpose: .tests)
    let low = Double(Float.leastNonzeroMagnitude)
    return (0..<count).map { i in
      let (u, sign) = (Double(random.uniform(i)), random.uniform(i, tensor: 1) < 0.5 ? -1.0 : 1.0)
      let share =
        switch spread {
        case .even: u
        // From the least number to this magnitude, as many in each binade.
        case .mixed: power(low / Double(magnitude), u)
        case .equal: 1.0
        case .lonely: i == count / 2 ? 1.0 : 0
        }
      return Float(sign * share * Double(magnitude))
    }
  }

  /// base^exponent for 0 < base ≤ 1, by squarings: the exponent in 40 binary places.
  private static func power(_ base: Double, _ exponent: Double) -> Double {
    var (result, root, rest) = (1.0, base, exponent)
    for _ in 0..<40 {
      (root, rest) = (root.squareRoot(), rest * 2)
      if rest >= 1 {
        result *= root
        rest -= 1
      }
    }
    return result
  }
}

/// The laws of every codec, over every magnitude: what is sent and what stays is what came, and it is as near as the format says.
@Suite struct MagnitudeLawTests {
  static let all =
    CodecLawTests.all + ["multi-bit:bits=16,range=64", "multi-bit:bits=16,range=0.5", "multi-bit:bits=8,range=64"]

  /// What a group may decode to, from its values alone and in fp64.
  private enum Expectation {
    /// The group, or what the code has to add up of it, is beyond fp32.
    case refusal
    /// So near the edge that rounding decides.
    case either
    /// Each decoded value, and how far it may be from there.
    case values([(value: Double, tolerance: Double)])
  }

  /// The first code of the list that loses little enough.
  private static func adaptive(_ codec: any Codec, _ v: [Float]) -> Expectation {
    let squares = { (values: [Double]) in values.reduce(0) { $0 + $1 * $1 } }
    guard let delta = (try? Specification(codec.specification))?.options["delta"].flatMap({ Double($0) }),
      case let energy = squares(v.map(Double.init)), energy > 0
    else { return .values(v.map { _ in (0, 0) }) }
    for text in AdaptiveTests.ladder {
      guard let candidate = try? codecs.make(text), case .values(let values) = expectation(candidate, v) else { continue }
      let lost = squares(zip(v, values).map { Double($0) - $1.value }) / energy
      if (lost - (1 - delta)).magnitude < 1e-6 { return .either }
      if text == AdaptiveTests.ladder.last || lost < 1 - delta { return .values(values) }
    }
    return .refusal
  }

  private static func expectation(_ codec: any Codec, _ v: [Float]) -> Expectation {
    guard v.allSatisfy(\.isFinite) else { return .refusal }
    if codec.isIdentity || codec.isRaw(count: v.count) { return .values(v.map { (Double($0), 0) }) }
    let most = Double(Float.greatestFiniteMagnitude)
    func fits(_ values: () -> Expectation, _ largest: Double) -> Expectation {
      largest > 1.001 * most ? .refusal : largest > 0.999 * most ? .either : values()
    }
    if let multiBit = codec as? MultiBit {
      let squares = v.reduce(0.0) { $0 + Double($1) * Double($1) }
      let reach = Double(multiBit.range) * (squares / Double(v.count)).squareRoot()
      let slot = 2 * reach / Double(1 << multiBit.bits - 1)
      let ulps = 4 * max(reach * 0x1p-23, 0x1p-149)
      return fits(
        {
          // Sent as zeros, up to rounding at the very edge.
          if 2 * reach < 0.999e-36 { return .values(v.map { _ in (0, 0) }) }
          if 2 * reach < 1.001e-36 { return .values(v.map { _ in (0, 1.1e-36) }) }
          return .values(
            v.map { Double($0).magnitude < reach ? (Double($0), slot / 2 + ulps) : ($0 < 0 ? -reach : reach, slot / 2 + ulps) })
        }, 2 * reach + slot / 2)
    }
    if codec.name == "adaptive" { return adaptive(codec, v) }
    if let reference = ScalarReference(codec) {
      guard let arrived = reference.arriving(v) else { return .refusal }
      return .values(arrived.map { (Double($0), 0) })
    }
    if let arrived = SparseReference.arriving(codec, v) { return .values(arrived.map { (Double($0), 0) }) }
    // What is drawn is drawn; `SparseSelectionTests`, `VectorTests` and `ProjectionTests` compare with the definitions.
    if ["random-k", "unbiased-k", "vector", "projection"].contains(codec.name) { return .either }
    if let rotated = codec as? Rotated {
      // With a share of the residual, it is not the sum of both that is coded.
      guard rotated.feedback == 1 else { return .either }
      // No value is further away than the whole group is long; `RotatedTests` compare with the definition.
      let norm = v.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      let largest = v.reduce(0.0) { max($0, Double($1.magnitude)) }
      let length = codec.specification.contains("unbiased") ? 2 * norm : norm
      let tolerance = 1.0001 * length + Double(v.count) * 0x1p-148
      return largest + tolerance > most ? .either : .values(v.map { (Double($0), tolerance) })
    }
    if let chunk = codec as? ChunkTopK {
      let k = chunk.chosenCount(of: v.count, isSum: false)
      let (arrived, _) = ChunkReference.transfer(v, k: k, chunk.values)
      return .values(arrived.map { (Double($0), 0) })
    }
    // Two means: of each side's values.
    func mean(_ isNegative: Bool) -> (value: Double, tolerance: Double, sum: Double) {
      let side = v.filter { ($0 < 0) == isNegative }.map(Double.init)
      let sum = side.reduce(0, +)
      let mean = side.isEmpty ? 0 : sum / Double(side.count)
      return (mean, Double(v.count / 32 + 8) * 0x1p-24 * mean.magnitude + 0x1p-149, sum.magnitude)
    }
    let (below, above) = (mean(true), mean(false))
    return fits(
      { .values(v.map { $0 < 0 ? (below.value, below.tolerance) : (above.value, above.tolerance) }) },
      max(below.sum, above.sum))
  }

  /// Encodes, and compares with what the format promises; returns what arrived and what stayed.
  @discardableResult
  private func check(_ codec: any Codec, _ gradient: [Float], _ residual: [Float], _ what: String) -> Encoded {
    let encoded = codec.encode(gradient, residual: residual)
    let decoded = codec.decode(encoded.code, count: gradient.count)
    let v = zip(gradient, residual).map { ($0 + $1) + 0.0 }
    let expectation = Self.expectation(codec, v)
    if case .refusal = expectation { #expect(!encoded.isFinite, "\(what)") }
    guard encoded.isFinite else {
      if case .values = expectation { Issue.record("\(what) was refused") }
      #expect(encoded.residual.patterns == residual.patterns, "\(what)")
      #expect(decoded.allSatisfy { $0.bitPattern == 0 }, "\(what)")
      return encoded
    }
    for i in v.indices {
      guard codec.keepsRemainder || codec.isRaw(count: v.count) else {
        if encoded.residual[i].bitPattern != 0 { Issue.record("\(what), value \(i) leaves \(encoded.residual[i])") }
        continue
      }
      let error = Double(decoded[i]) + Double(encoded.residual[i]) - Double(v[i])
      guard decoded[i].isFinite, error.magnitude <= halfUlp(v[i], decoded[i], encoded.residual[i]) else {
        Issue.record("\(what), value \(i): \(decoded[i]) and \(encoded.residual[i]) of \(v[i])")
        break
      }
    }
    if case .values(let expected) = expectation {
      let place = v.indices.first { (Double(decoded[$0]) - expected[$0].value).magnitude > expected[$0].tolerance }
      if let i = place { Issue.record("\(what), value \(i): \(v[i]) decodes to \(decoded[i]), not to \(expected[i])") }
    }
    return encoded
  }

  @Test("what arrives and what stays", arguments: all, Magnitudes.Spread.allCases)
  func conservation(name: String, spread: Magnitudes.Spread) throws {
    let codec = try codecs.make(name)
    let residuals: [(name: String, values: (_ count: Int, _ magnitude: Float) -> [Float])] = [
      ("no residual", { count, _ in [Float](repeating: 0, count: count) }),
      ("as large a residual", { Magnitudes.values($0, of: $1, .even, seed: 7) }),
      ("a residual of 1e-40", { count, _ in Magnitudes.values(count, of: Magnitudes.all[2], .mixed, seed: 7) }),
      ("a residual of 1e37", { count, _ in Magnitudes.values(count, of: 1e37, .mixed, seed: 7) }),
    ]
    let turnOfSpread = try #require(Magnitudes.Spread.allCases.firstIndex(of: spread))
    for (place, magnitude) in Magnitudes.all.enumerated() {
      for count in Magnitudes.counts {
        let gradient = Magnitudes.values(count, of: magnitude, spread)
        // Long groups meet one residual after another: over the spreads, each magnitude meets all.
        let turn = codec.isIdentity ? 0 : (place + count + turnOfSpread) % residuals.count
        for (index, residual) in residuals.enumerated() where count <= 1024 || index == turn {
          guard index == 0 || !codec.isIdentity else { continue }
          check(codec, gradient, residual.values(count, magnitude), "\(count) values of \(magnitude) and \(residual.name)")
        }
      }
    }
  }

  @Test("what is refused is what is beyond fp32", arguments: all)
  func refusal(name: String) throws {
    let codec = try codecs.make(name)
    guard !codec.isIdentity else { return }
    for count in Magnitudes.counts {
      // Each term is finite, and their sum is not.
      var (gradient, residual) = (Magnitudes.values(count, of: 1, .even), Magnitudes.values(count, of: 1, .even, seed: 2))
      (gradient[count / 2], residual[count / 2]) = (2e38, 2e38)
      #expect(!check(codec, gradient, residual, "\(count) values").isFinite)
      // And where the residual takes the gradient back, it is small again.
      residual[count / 2] = -2e38
      #expect(check(codec, gradient, residual, "\(count) values").isFinite)
    }
  }

  @Test("the ways to decode agree", arguments: all, Magnitudes.Spread.allCases)
  func decoding(name: String, spread: Magnitudes.Spread) throws {
    let codec = try codecs.make(name)
    for magnitude in Magnitudes.all {
      for count in Magnitudes.counts {
        let zeros = [Float](repeating: 0, count: count)
        let all = (0..<3).map {
          codec.encode(Magnitudes.values(count, of: magnitude, spread, seed: UInt64($0)), residual: zeros).code
        }
        let decoded = all.map { codec.decode($0, count: count) }
        let what = "\(count) values of \(magnitude)"
        #expect(codec.decode(all[0], count: count, streaming: true, offset: 3).patterns == decoded[0].patterns, "\(what)")
        #expect(codec.decode(all[0], adding: decoded[1]) == zip(decoded[1], decoded[0]).map { $0 + $1 }, "\(what)")
        let sums = zip(zip(decoded[0], decoded[1]).map { $0 + $1 }, decoded[2]).map { $0 + $1 }
        if codec.addsBeforeDecoding {
          let (sum, largest) = (codec.decodeSum(all, count: count), decoded.joined().reduce(Float(0)) { max($0, $1.magnitude) })
          guard largest < 1e38 else { continue }
          for i in 0..<count where (sum[i] - sums[i]).magnitude > 1e-5 * largest + 0x1p-145 {
            Issue.record("\(what), value \(i): \(sum[i]) instead of \(sums[i])")
            break
          }
          continue
        }
        // Of two infinities of unlike signs, the sum is no number.
        let isSame = zip(codec.decodeSum(all, count: count), sums).allSatisfy {
          $0.bitPattern == $1.bitPattern || $0.isNaN && $1.isNaN
        }
        #expect(isSame, "\(what)")
      }
    }
  }

  @Test("a hundred steps lose nothing", arguments: all)
  func telescoping(name: String) throws {
    let codec = try codecs.make(name)
    guard codec.keepsRemainder else { return }
    let count = 100
    for magnitude in Magnitudes.all where magnitude < 1e36 {
      var residual = [Float](repeating: 0, count: count)
      var (sent, given) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: count))
      var largest: Float = 0
      for step in 0..<100 {
        let gradient = Magnitudes.values(count, of: magnitude, .even, seed: UInt64(step))
        let encoded = codec.encode(gradient, residual: residual)
        let decoded = codec.decode(encoded.code, count: count)
        for i in 0..<count {
          sent[i] += Double(decoded[i])
          given[i] += Double(gradient[i])
          largest = max(largest, (gradient[i] + residual[i]).magnitude, decoded[i].magnitude, encoded.residual[i].magnitude)
        }
        if !codec.isIdentity { residual = encoded.residual }
      }
      // Two roundings a step: that of gradient + residual, and that of the remainder.
      let bound = 200 * halfUlp(largest)
      let worst = (0..<count).map { (sent[$0] + Double(residual[$0]) - given[$0]).magnitude }.max()!
      #expect(worst <= bound, "values of \(magnitude)")
    }
  }

  @Test("a group scaled by a power of two is the same code", arguments: [2, 4, 8, 16])
  func scaling(bits: Int) {
    // What a code says of a group does not depend on its units, wherever slots are, until the scale is sent as zero.
    let codec = MultiBit(bits: bits)
    let gradient = Magnitudes.values(100, of: 1, .even)
    let plain = codec.encode(gradient, residual: [Float](repeating: 0, count: 100))
    for exponent in stride(from: -118, through: 122, by: 3) {
      let factor = Float(sign: .plus, exponent: exponent, significand: 1)
      let scaled = codec.encode(gradient.map { $0 * factor }, residual: [Float](repeating: 0, count: 100))
      #expect(scaled.code.dropFirst(2) == plain.code.dropFirst(2), "2^\(exponent)")
      #expect(Float(bitPattern: scaled.code[1]) == Float(bitPattern: plain.code[1]) * factor, "2^\(exponent)")
    }
  }
}
