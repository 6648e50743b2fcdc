import Buffers
import Codecs
import Foundation
import Testing

/// Votes on signs, counted in bits, against plain counting.
@Suite struct VoteRuleTests {
  static let rules: [VoteRule] =
    VoteRule.Tie.allCases.flatMap { tie in
      [false, true].map { VoteRule(tie: tie, abstains: $0) }
    } + [VoteRule(result: .mean), VoteRule(result: .mean, abstains: true)]

  /// Votes of several voters on the same values: their result.
  private func count(
    _ rule: VoteRule, _ voters: [[Float]], random: Philox = Philox(seed: 5, purpose: .voteTies, step: 3), first: Int = 0
  ) -> [Float] {
    let (count, words) = (voters[0].count, VoteRule.wordCount(of: voters[0].count))
    // One word more than is needed shows a store beyond the end.
    var ballots = voters.map { _ in [UInt32](repeating: 0xDEAD_BEEF, count: rule.ballotPlanes * words + 1) }
    for (index, values) in voters.enumerated() {
      values.withUnsafeBufferPointer { values in
        ballots[index].withUnsafeMutableBufferPointer {
          rule.vote(values.base, count: count, into: $0.baseAddress!)
        }
      }
    }
    var result = [UInt32](repeating: 0xDEAD_BEEF, count: rule.resultPlanes(voters.count) * words + 1)
    let copies = ballots.map { ballot in
      let copy = UnsafeMutablePointer<UInt32>.allocate(capacity: ballot.count)
      copy.initialize(from: ballot, count: ballot.count)
      return copy
    }
    defer { for copy in copies { copy.deallocate() } }
    result.withUnsafeMutableBufferPointer {
      rule.count(copies.map { UnsafePointer($0) }, count: count, random: random, first: first, into: $0.baseAddress!)
    }
    #expect(ballots.allSatisfy { $0.last == 0xDEAD_BEEF } && result.last == 0xDEAD_BEEF)
    // Bits after the last value are zero.
    if count % 32 > 0 {
      for plane in 0..<rule.resultPlanes(voters.count) { #expect(result[(plane + 1) * words - 1] >> UInt32(count % 32) == 0) }
    }
    var decoded = [Float](repeating: .nan, count: count + 1)
    for start in stride(from: 0, to: count, by: 64) {
      let range = start..<min(start + 64, count)
      result.withUnsafeBufferPointer { result in
        decoded.withUnsafeMutableBufferPointer {
          rule.decode(
            result.baseAddress!, count: count, voterCount: voters.count, range, into: $0.baseAddress! + start)
        }
      }
    }
    #expect(decoded.removeLast().isNaN)
    return decoded
  }

  private func sign(_ value: Float, _ rule: VoteRule) -> Int {
    if rule.abstains { return value > 0 ? 1 : value < 0 ? -1 : 0 }
    return value >= 0 ? 1 : -1
  }

  /// Values of a voter: of one family, or of all in turn; some are zero.
  private func draw(_ count: Int, voter: Int, family: Gradients? = nil) -> [Float] {
    let all = Gradients.allCases
    let random = Philox(seed: 77, purpose: .tests, stream: voter)
    let families = all.map { $0.values(count, seed: UInt64(voter + 1)) }
    return (0..<count).map { i in
      let word = random.word(i)
      if family == nil, word % 5 == 0 { return word % 2 == 0 ? 0 : -0.0 }
      return family.map { families[all.firstIndex(of: $0)!][i] } ?? families[Int(word >> 8) % all.count][i]
    }
  }

  @Test("bits are counted as by hand", arguments: rules)
  func counting(rule: VoteRule) {
    let random = Philox(seed: 5, purpose: .voteTies, step: 3)
    for voterCount in [1, 2, 3, 4, 5, 8, 9, 17] {
      for count in [0, 1, 7, 31, 32, 33, 65, 300] {
        let (voters, first) = ((0..<voterCount).map { draw(count, voter: $0) }, 96)
        let found = self.count(rule, voters, random: random, first: first)
        for i in 0..<count {
          let votes = voters.map { sign($0[i], rule) }
          let sum = votes.reduce(0, +)
          let place = first + i
          let coin = random.word(place / 32) >> UInt32(place % 32) & 1 == 1 ? 1 : -1
          let tied = rule.tie == .random ? coin : rule.tie == .positive ? 1 : 0
          let expected =
            rule.result == .mean
            ? Float(sum) / Float(voterCount)
            : Float(sum > 0 ? 1 : sum < 0 ? -1 : votes.allSatisfy { $0 == 0 } ? 0 : tied)
          #expect(found[i] == expected, "\(voterCount) voters, value \(i) of \(count): \(votes)")
        }
      }
    }
  }

  @Test("families of awkward values have the votes of their signs", arguments: Gradients.allCases)
  func families(family: Gradients) {
    for rule in Self.rules {
      let voters = (0..<3).map { draw(100, voter: $0, family: family) }
      let found = count(rule, voters)
      for i in 0..<100 {
        let sum = voters.reduce(0) { $0 + sign($1[i], rule) }
        if rule.result == .mean { #expect(found[i] == Float(sum) / 3) } else if sum != 0 { #expect(found[i] * Float(sum) > 0) }
      }
    }
  }

  @Test("the order of voters changes nothing", arguments: rules)
  func permutations(rule: VoteRule) {
    let voters = (0..<6).map { draw(200, voter: $0) }
    let expected = count(rule, voters)
    for shift in 1..<6 { #expect(count(rule, Array(voters[shift...] + voters[..<shift])) == expected) }
    #expect(count(rule, voters.reversed()) == expected)
  }

  @Test("a minority that turns around changes nothing")
  func minorities() {
    let rule = VoteRule()
    let honest = (0..<5).map { draw(300, voter: $0) }
    let expected = count(rule, honest)
    let turned = honest.prefix(2).map { $0.map { $0 >= 0 ? -1 : 1 } as [Float] } + honest.dropFirst(2)
    let found = count(rule, turned)
    for i in 0..<300 {
      let margin = abs(honest.reduce(0) { $0 + sign($1[i], rule) })
      // Two that turn move a sum by four at most.
      if margin > 4 { #expect(found[i] == expected[i]) }
    }
  }

  @Test("ties go both ways, by seed and step, and half of them each way")
  func ties() {
    let rule = VoteRule()
    let one = [Float](repeating: 1, count: 4096)
    let voters = [one, one.map { -$0 }]
    func coins(_ seed: UInt64, _ step: Int) -> [Float] {
      count(rule, voters, random: Philox(seed: seed, purpose: .voteTies, step: step))
    }
    let found = coins(1, 0)
    #expect(abs(found.reduce(0, +)) < 4 * 64)
    #expect(found == coins(1, 0) && found != coins(1, 1) && found != coins(2, 0))
    #expect(count(VoteRule(tie: .positive), voters).allSatisfy { $0 == 1 })
    #expect(count(VoteRule(tie: .zero), voters).allSatisfy { $0 == 0 })
    #expect(count(VoteRule(result: .mean), voters).allSatisfy { $0 == 0 })
  }

  @Test("what is not a number votes against, or not at all")
  func notANumber() {
    let values: [Float] = [.nan, 1, -1, .infinity, -.infinity]
    #expect(count(VoteRule(), [values]) == [-1, 1, -1, 1, -1])
    #expect(count(VoteRule(abstains: true), [values]) == [0, 1, -1, 1, -1])
  }

  @Test("bits of a value are those of the formula")
  func planes() {
    for (voters, bits) in [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4), (15, 4), (16, 5)] {
      #expect(VoteRule(result: .mean).resultPlanes(voters) == bits)
      #expect(Double(bits) == log2(Double(voters + 1)).rounded(.up))
    }
    #expect(VoteRule().ballotPlanes == 1 && VoteRule().resultPlanes(8) == 1)
    #expect(VoteRule(tie: .zero).resultPlanes(8) == 2 && VoteRule(abstains: true).ballotPlanes == 2)
    #expect(VoteRule(result: .mean, abstains: true).resultPlanes(8) == 5)
  }

  /// Without feedback signs stand still where no sign changes; with it they do not (algorithms §3.2).
  @Test("sign descent stalls where feedback does not")
  func counterexample() throws {
    func gradient(_ w: [Double]) -> [Float] {
      let (a, b) = (w[0] + w[1] >= 0 ? 0.5 : -0.5, w[0] - w[1] >= 0 ? 1.0 : -1.0)
      return [Float(a + b), Float(a - b)]
    }
    func value(_ w: [Double]) -> Double { abs(w[0] + w[1]) / 2 + abs(w[0] - w[1]) }
    let codec = try codecs.make("ef-sign:group=2")
    var (voted, coded) = ([1, 1.5], [1, 1.5])
    let residual = FloatBuffer(count: 2)
    let (code, decoded) = (ByteBuffer(count: 8), FloatBuffer(count: 2))
    for t in 0..<4000 {
      let rate = 0.05 / Double(t + 1).squareRoot()
      let vote = count(VoteRule(), [gradient(voted)])
      for i in 0..<2 { voted[i] -= rate * Double(vote[i]) }
      let steps = gradient(coded).map { Float(rate) * $0 }
      let byteCount = steps.withUnsafeBufferPointer {
        codec.encode(
          gradient: $0.baseAddress!, residual: residual.baseAddress, count: 2, into: code.baseAddress,
          context: EncodingContext(step: t))
      }
      codec.decode(
        code.baseAddress, byteCount: try #require(byteCount), count: 2, setting: decoded.baseAddress, streaming: false)
      for i in 0..<2 { coded[i] -= Double(decoded[i]) }
    }
    #expect(abs(value(voted) - 1.25) < 0.01, "\(value(voted))")
    #expect(value(coded) < 0.02, "\(value(coded))")
  }
}
