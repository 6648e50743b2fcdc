import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// EF21 with momentum against its formulas, and its laws.
@Suite(.serialized) struct DifferenceSumTests {
  private static let layout = TensorLayout([("weights", [20, 50]), ("biases", [20])])

  private func draw(_ count: Int, step: Int, rank: Int, magnitude: Float = 1) -> [Float] {
    let random = Philox(seed: 45, purpose: .tests, step: step, stream: rank)
    return (0..<count).map { i in magnitude * (random.uniform(i) + random.uniform(i, tensor: 1) - 1) }
  }

  /// A chunk of which one value is sent up and more than differ from zero down; the codes are shorter than its floats.
  private static let chunk = (
    layout: TensorLayout([("weights", [4096])]), codec: "chunk-top-k:k=1,chunk=4096,values=float,down=64"
  )

  /// Two workers, the larger of two values, sums sent back whole; the two values are the first of a chunk of zeros.
  @Test(.ranks(only: 2)) func theTraceOfTheSpecification() throws {
    let run = try AggregationRun(Self.chunk.codec + ",ef21=1", Self.chunk.layout)
    let centre: [Double] = allRanks.rank == 0 ? [2, 1] : [0, 4]
    var x = [0.0, 0.0]
    for (step, expected) in ([[0.5, 1], [0.875, 1.75], [1.03125, 2.3125]] as [[Double]]).enumerated() {
      var gradient = [Float](repeating: 0, count: run.count)
      for i in 0..<2 { gradient[i] = Float((x[i] - centre[i]) / 2) }
      let sum = try run(gradient, step: step)
      for i in 0..<2 {
        x[i] -= 0.5 * Double(sum[i])
        #expect(abs(x[i] - expected[i]) < 1e-6, "step \(step)")
      }
      #expect(sum[2...].allSatisfy { $0 == 0 })
    }
  }

  /// What is delivered and what stays is the sum of the means, for any code, and the mean is that of the formula.
  @Test(
    arguments: [
      "one-bit:ef21=0.1", "ef-sign:ef21=1", "chunk-top-k:k=1/16,chunk=64,ef21=0.3", "multi-bit:bits=2,ef21=0.5,feedback=0.5",
      "rotated:ef21=0.2",
    ], [1e-42, 1e-30, 1, 1e30] as [Double])
  func nothingIsLost(_ specification: String, _ size: Double) throws {
    let (magnitude, count) = (Float(size), Self.layout.count)
    let run = try AggregationRun(specification, Self.layout)
    let share = Double(try #require(Specification(specification).options["ef21"].flatMap { Double($0) }))
    var mean = [Double](repeating: 0, count: count)
    for step in 0..<12 {
      let own = draw(count, step: step, rank: allRanks.rank, magnitude: magnitude)
      for i in 0..<count { mean[i] = step == 0 ? Double(own[i]) : (1 - share) * mean[i] + share * Double(own[i]) }
      let found = try run(own, step: step)
      #expect(try isSameOnAllRanks(found))
      let v = Array(try run.tensor("meanGradient").values)
      #expect(firstDifference(v, mean, within: 1e-5 * Double(magnitude) + 0x1p-144) == nil, "step \(step)")
      var missing = v.map(Double.init)
      let (residual, owned) = (try run.tensor("residual"), try run.tensor("ownerResidual"))
      for i in 0..<count { missing[i] -= Double(residual.values[i]) }
      if case .owned(let ranges) = owned.placement {
        for (place, i) in ranges.joined().enumerated() { missing[i] -= Double(owned.values[place]) }
      }
      try allRanks.allReduce(&missing, .sum)
      let bound = 1e-5 * Double(magnitude) * Double(allRanks.count) + 0x1p-140
      #expect(firstDifference(found, missing, within: bound) == nil, "step \(step)")
    }
    #expect(run.exchange.nonFiniteGroups == 0)
    #expect(run.exchange.traffic.bytesSent <= run.exchange.predictedTraffic.bytesSent * 12)
  }

  /// A single rank delivers its mean itself.
  @Test(.ranks(only: 1)) func oneRankLosesNothing() throws {
    let run = try AggregationRun("one-bit:ef21=0.25", Self.layout)
    var v = [Float](repeating: 0, count: Self.layout.count)
    for step in 0..<6 {
      let own = draw(v.count, step: step, rank: 0)
      for i in v.indices { v[i] = step == 0 ? own[i] : 0.75 * v[i] + 0.25 * own[i] }
      #expect(firstDifference(try run(own, step: step), v) == nil, "step \(step)")
    }
    #expect(run.exchange.traffic.bytesSent == 0)
  }

  /// Ranks that differ: error feedback keeps an error in proportion to the rate, and EF21 none (frontier F3.1).
  @Test(.ranks(atLeast: 2)) func ranksThatDifferAreNoError() throws {
    let rankCount = allRanks.count
    let random = Philox(seed: 8, purpose: .tests)
    let centres = (0..<rankCount).map { rank in (0..<8).map { i in 40 * (Double(random.uniform(i, tensor: rank)) - 0.5) } }
    let centre = (0..<8).map { i in centres.reduce(0) { $0 + $1[i] } / Double(rankCount) }
    func distance(_ keys: String) throws -> Double {
      let run = try AggregationRun(Self.chunk.codec + keys, Self.chunk.layout)
      var x = [Double](repeating: 0, count: 8)
      for step in 0..<1500 {
        var gradient = [Float](repeating: 0, count: run.count)
        for i in 0..<8 { gradient[i] = Float((x[i] - centres[allRanks.rank][i]) / Double(rankCount)) }
        let sum = try run(gradient, step: step)
        for i in 0..<8 { x[i] -= 0.05 * Double(sum[i]) }
      }
      return zip(x, centre).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
    }
    let (plain, differences) = (try distance(""), try distance(",ef21=1"))
    #expect(differences < 1e-3, "\(differences)")
    #expect(plain > 0.1, "\(plain)")
  }

  /// An exchange that was discarded has never been.
  @Test(arguments: transports) func whatIsDiscardedLeavesNoTrace(_ transport: Transport) throws {
    let (count, rank) = (Self.layout.count, allRanks.rank)
    let (plain, broken) = (
      try AggregationRun("one-bit:ef21=0.2", Self.layout, transport),
      try AggregationRun("one-bit:ef21=0.2", Self.layout, transport, isRestorable: true)
    )
    for step in 0..<5 {
      let own = draw(count, step: step, rank: rank)
      if step % 2 == 0 {
        broken.gradient.values.set(draw(count, step: 100 + step, rank: rank))
        try broken.exchange.begin(Contribution(step: step, isReady: step == 2))
        if step == 4 { broken.exchange.markReady(upTo: 500) }
        _ = try broken.exchange.advance()
        try broken.exchange.discard()
      }
      #expect(firstDifference(try broken(own, step: step), try plain(own, step: step)) == nil, "step \(step)")
    }
  }

  /// Piece by piece or at once, a contribution is the same.
  @Test func piecesAreTheWhole() throws {
    let count = Self.layout.count
    let (plain, pieces) = (
      try AggregationRun("ef-sign:ef21=0.2", Self.layout), try AggregationRun("ef-sign:ef21=0.2", Self.layout)
    )
    for step in 0..<4 {
      let own = draw(count, step: step, rank: allRanks.rank)
      pieces.gradient.values.set(own)
      try pieces.exchange.begin(Contribution(step: step, isReady: false))
      for end in [0, 1, 500, 500, 1000] {
        pieces.exchange.markReady(upTo: end)
        _ = try pieces.exchange.advance()
      }
      let output = FloatBuffer(count: count)
      try pieces.exchange.deliver(into: .buffer(output))
      #expect(firstDifference(output.array, try plain(own, step: step)) == nil, "step \(step)")
    }
  }

  /// A gradient that is computed before its exchange begins is nothing yet.
  @Test func whatIsReadyBeforeAnExchangeWaits() throws {
    let (plain, early) = (
      try AggregationRun("one-bit:ef21=0.2", Self.layout), try AggregationRun("one-bit:ef21=0.2", Self.layout)
    )
    for step in 0..<4 {
      let own = draw(plain.count, step: step, rank: allRanks.rank)
      early.gradient.values.set(own)
      for end in [300, plain.count] { early.exchange.markReady(upTo: end) }
      #expect(firstDifference(early.gradient.values.array, own) == nil)
      #expect(firstDifference(try early(own, step: step), try plain(own, step: step)) == nil, "step \(step)")
    }
  }

  /// What is forgotten begins anew.
  @Test func whatIsForgottenBeginsAnew() throws {
    let (run, fresh) = (
      try AggregationRun("one-bit:ef21=0.2", Self.layout), try AggregationRun("one-bit:ef21=0.2", Self.layout)
    )
    for step in 0..<3 { _ = try run(draw(run.count, step: step, rank: allRanks.rank), step: step) }
    run.exchange.forget()
    let own = draw(run.count, step: 7, rank: allRanks.rank)
    #expect(firstDifference(try run(own), try fresh(own)) == nil)
  }

  @Test func codesThatLoseAreRefused() throws {
    for text in [
      "none:ef21=0.1", "terngrad:ef21=0.1", "qsgd:ef21=0.1", "chunk-top-k:decay=0.9,ef21=0.1",
      "chunk-top-k:divide=senders,ef21=0.1", "one-bit:ef21=0", "one-bit:ef21=1.5", "low-rank:ef21=0.1",
    ] {
      #expect(throws: SpecificationError.self, "\(text)") { try aggregations.make(text) }
    }
    for text in ["one-bit:ef21=0.1", "qsgd:levels=8,bucket=64,feedback=true,ef21=1.0"] {
      let recipe = try aggregations.make(text)
      #expect(try aggregations.make(recipe.specification).specification == recipe.specification)
      #expect(recipe.codec == nil && recipe.carrier != nil)
    }
  }
}
