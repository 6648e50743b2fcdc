import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Votes of the ranks against plain counting, and their laws.
@Suite(.serialized) struct MajorityVoteTests {
  static let specifications = [
    "majority-vote", "majority-vote:tie=zero", "majority-vote:tie=positive", "majority-vote:abstain=true",
    "majority-vote:abstain=true,tie=zero", "majority-vote:result=mean", "majority-vote:result=mean,abstain=true",
  ]

  private func expected(_ specification: String, _ gradients: [[Float]], step: Int, seed: UInt64) -> [Float] {
    let (abstains, count) = (specification.contains("abstain=true"), Float(gradients.count))
    let (isMean, isZero) = (specification.contains("mean"), specification.contains("zero"))
    let isPositive = specification.contains("positive")
    let random = Philox(seed: seed, purpose: .voteTies, step: step)
    return gradients[0].indices.map { i in
      let votes = gradients.map { $0[i] > 0 || (!abstains && $0[i] == 0) ? 1 : $0[i] == 0 ? 0 : -1 }
      let sum = votes.reduce(0, +)
      if isMean { return Float(sum) / count }
      if sum != 0 { return sum > 0 ? 1 : -1 }
      if votes.allSatisfy({ $0 == 0 }) || isZero { return 0 }
      if isPositive { return 1 }
      return random.word(i / 32) >> UInt32(i % 32) & 1 == 1 ? 1 : -1
    }
  }

  @Test(arguments: specifications, transports)
  func votesAreCounted(_ specification: String, _ transport: Transport) throws {
    let (rank, rankCount) = (allRanks.rank, allRanks.count)
    for count in [0, 1, 31, 33, 100, 5000] {
      let run = try AggregationRun(specification, count, transport, seed: 9)
      for step in 0..<3 {
        let gradients = drawGradients(count: count, seed: 61, step: step, rankCount: rankCount)
        let found = try run(gradients[rank], step: step)
        #expect(try isSameOnAllRanks(found))
        let expected = expected(specification, gradients, step: step, seed: 9)
        #expect(firstDifference(found.map { $0 + 0 }, expected.map { $0 + 0 }) == nil, "\(count) values, step \(step)")
      }
      #expect(run.exchange.traffic == run.exchange.predictedTraffic * 3 && !run.exchange.predictsAtMost)
    }
  }

  /// Whatever rank has which gradient.
  @Test(arguments: specifications) func ranksAreEqual(_ specification: String) throws {
    let run = try AggregationRun(specification, 700)
    let gradients = drawGradients(count: 700, seed: 63, step: 0, rankCount: allRanks.count)
    let straight = try run(gradients[allRanks.rank], step: 4)
    let shifted = try run(gradients[(allRanks.rank + 1) % allRanks.count], step: 4)
    #expect(firstDifference(straight, shifted) == nil)
  }

  /// One bit up and one down; two where zeros are possible, and those of a count for means.
  @Test(arguments: transports) func bytesAreThoseOfTheFormula(_ transport: Transport) throws {
    let rankCount = allRanks.count
    // Words are dealt as a whole: as many to each rank.
    let words = 8 * 9 * 5 * 7
    let counterBits = { (most: Int) in Int.bitWidth - most.leadingZeroBitCount }
    for (specification, planes) in [
      ("majority-vote", 2), ("majority-vote:tie=zero", 3), ("majority-vote:abstain=true", 4),
      ("majority-vote:result=mean", 1 + counterBits(rankCount)),
      ("majority-vote:result=mean,abstain=true", 2 + counterBits(2 * rankCount)),
    ] {
      let run = try AggregationRun(specification, 32 * words, transport)
      _ = try run([Float](repeating: 1, count: 32 * words))
      let sent = try allRanks.allReduce(run.exchange.traffic.bytesSent, .sum)
      #expect(sent == (rankCount - 1) * 4 * words * planes, "\(specification)")
    }
  }

  /// Zeros drift unless they abstain.
  @Test func zerosVoteUnlessTheyAbstain() throws {
    let zeros = [Float](repeating: 0, count: 100)
    #expect(try AggregationRun("majority-vote", 100)(zeros).allSatisfy { $0 == 1 })
    #expect(try AggregationRun("majority-vote:abstain=true", 100)(zeros).allSatisfy { $0 == 0 })
  }

  @Test func keysAreChecked() {
    for text in [
      "majority-vote:tie=none", "majority-vote:result=sum", "majority-vote:abstain=1", "majority-vote:2",
      "majority-vote:result=mean,tie=zero",
    ] {
      #expect(throws: SpecificationError.self) { try aggregations.make(text) }
    }
  }
}
