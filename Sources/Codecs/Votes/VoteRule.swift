public import Buffers
internal import Kernels

/// Votes of ranks on the signs of values, and what becomes of them, in bits.
///
/// A ballot holds σ = 1 where the voter's value is ≥ 0 and −1 elsewhere, one bit for each value; voters that may abstain have σ = 0
/// where it is exactly 0 (or NaN), and send a second bit. With V = Σ σ over K voters, the result is sign V, a tie being decided by
/// `tie`; or V/K. Counts are whole numbers, so that neither the order of voters nor the processor changes a bit.
///
///     ballot    bits of σ = 1, then of σ ≠ 0 if voters may abstain
///     result    bits of the sign, then of what is not 0 if a 0 is possible; of the mean: the bits of Σ (σ + 1)/2, or of
///               Σ (σ + 1) if voters may abstain, the lowest first
///
/// Each of these sets of bits (a plane) has ⌈n/32⌉ words for n values; bit e % 32 of word e / 32 is that of value e.
///
/// Source: Bernstein et al. 2018, "signSGD"; 2019, "signSGD with majority vote"; algorithms §3.2; for the mean Liu et al. 2024,
/// "Communication efficient distributed training with Distributed Lion"; frontier F2.2.
/// - Cost: 1 or 2 bits of a value up; 1, 2 or ⌈log₂(K + 1)⌉ (abstaining: ⌈log₂(2K + 1)⌉) down. About 4 log₂ K operations on
///   words of 32 votes.
public struct VoteRule: Hashable, Sendable {
  /// What becomes of as many votes for 1 as for −1.
  public enum Tie: String, CaseIterable, Sendable {
    /// 1 or −1 by a random bit, the same on all ranks.
    case random
    /// Nothing: 0.
    case zero
    /// 1, as in GRACE: values on which ranks disagree drift.
    case positive
  }

  /// What is made of the votes.
  public enum Result: String, CaseIterable, Sendable {
    /// The sign of their sum.
    case sign
    /// Their mean.
    case mean
  }

  /// What becomes of ties; not used for means.
  public let tie: Tie
  /// What is made of the votes.
  public let result: Result
  /// Whether voters abstain where their value is 0; a value on which all do stays.
  public let abstains: Bool

  /// Creates a rule.
  public init(tie: Tie = .random, result: Result = .sign, abstains: Bool = false) {
    (self.tie, self.result, self.abstains) = (tie, result, abstains)
  }

  /// The words of a plane of `count` values.
  public static func wordCount(of count: Int) -> Int { (count + 31) / 32 }

  /// The planes of a ballot.
  public var ballotPlanes: Int { abstains ? 2 : 1 }

  /// Whether a sign may be 0.
  private var hasZeros: Bool { abstains || tie == .zero }

  /// The planes of a count of the votes of `voterCount` ranks.
  private func counterPlanes(_ voterCount: Int) -> Int {
    Int.bitWidth - ((abstains ? 2 : 1) * voterCount).leadingZeroBitCount
  }

  /// The planes of the result of `voterCount` ranks.
  public func resultPlanes(_ voterCount: Int) -> Int {
    result == .mean ? counterPlanes(voterCount) : hasZeros ? 2 : 1
  }

  /// Writes a ballot of `count` values.
  public func vote(_ values: UnsafePointer<Float>, count: Int, into ballot: UnsafeMutablePointer<UInt32>) {
    packSigns(values, count: count, strictly: abstains, into: ballot)
    if abstains { packNonzeros(values, count: count, into: ballot + VoteRule.wordCount(of: count)) }
  }

  /// Counts ballots of `count` values, and writes the result.
  ///
  /// - Parameters:
  ///   - ballots: The ballots of all voters.
  ///   - count: The number of values.
  ///   - random: Where bits for ties come from.
  ///   - first: The index of the first of these values among all, a multiple of 32, by which random bits are taken: that of value e is bit
  ///     e % 32 of the random word e / 32.
  ///   - result: Room for the planes of the result.
  public func count(
    _ ballots: [UnsafePointer<UInt32>], count: Int, random: Philox, first: Int, into result: UnsafeMutablePointer<UInt32>
  ) {
    let (words, planes) = (VoteRule.wordCount(of: count), counterPlanes(ballots.count))
    var (quad, randomWords) = (-1, SIMD4<UInt32>.zero)
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: planes) { counter in
      for word in 0..<words {
        counter.initialize(repeating: 0)
        var cast: UInt32 = 0
        for ballot in ballots {
          let positive = ballot[word]
          VoteRule.add(positive, to: counter)
          guard abstains else { continue }
          let present = ballot[words + word]
          cast |= present
          // σ + 1 is 2, 1 or 0.
          VoteRule.add(positive | ~present, to: counter)
        }
        let pad: UInt32 = word == words - 1 && count % 32 > 0 ? (1 << UInt32(count % 32)) - 1 : .max
        if self.result == .mean {
          for plane in 0..<planes { result[plane * words + word] = counter[plane] & pad }
          continue
        }
        let (more, equal) = compare(counter, voterCount: ballots.count)
        var signs = more
        if equal & pad != 0 {
          switch tie {
          case .random:
            let place = first / 32 + word
            if place / 4 != quad { (quad, randomWords) = (place / 4, random.words(quad: place / 4)) }
            signs |= equal & randomWords[place % 4]
          case .positive: signs |= equal
          case .zero: break
          }
        }
        guard hasZeros else {
          result[word] = signs & pad
          continue
        }
        let present = (abstains ? cast : .max) & (tie == .zero ? ~equal : .max) & pad
        result[word] = signs & present
        result[words + word] = present
      }
    }
  }

  /// Adds one bit to each of 32 counts, whose digits are in `counter`, the lowest first.
  @inline(__always)
  private static func add(_ bits: UInt32, to counter: UnsafeMutableBufferPointer<UInt32>) {
    var carry = bits
    for plane in counter.indices where carry != 0 { (counter[plane], carry) = (counter[plane] ^ carry, counter[plane] & carry) }
  }

  /// The counts above a tie, and those that are one.
  private func compare(_ counter: UnsafeMutableBufferPointer<UInt32>, voterCount: Int) -> (more: UInt32, equal: UInt32) {
    let middle = abstains ? voterCount : voterCount / 2
    var (more, equal): (UInt32, UInt32) = (0, .max)
    for plane in counter.indices.reversed() {
      if middle >> plane & 1 == 1 {
        equal &= counter[plane]
      } else {
        more |= equal & counter[plane]
        equal &= ~counter[plane]
      }
    }
    // Without abstentions an odd number of votes has no tie.
    return (more, abstains || voterCount % 2 == 0 ? equal : 0)
  }

  /// Sets `values` to those in `range` of a result of `count` values; `range` begins at a multiple of 32.
  public func decode(
    _ result: UnsafePointer<UInt32>, count: Int, voterCount: Int, _ range: Range<Int>, into values: UnsafeMutablePointer<Float>
  ) {
    require(range.lowerBound % 32 == 0, "a word of votes is decoded as a whole")
    let (words, first) = (VoteRule.wordCount(of: count), range.lowerBound / 32)
    guard self.result == .mean else {
      return unpackSigns(
        result + first, present: hasZeros ? result + words + first : nil, count: range.count, into: values)
    }
    unpackCounts(
      result + first, digitCount: counterPlanes(voterCount), wordCount: words, count: range.count, factor: abstains ? 1 : 2,
      offset: voterCount, divisor: Float(voterCount), into: values)
  }
}
