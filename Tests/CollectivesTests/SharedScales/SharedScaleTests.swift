import Buffers
import Codecs
import Collectives
import MPI
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// Sums with scales that all ranks share, against plain counting, and their laws.
@Suite(.serialized) struct SharedScaleTests {
  /// Groups of 50 values, fewer than ranks in one tensor, and one of 65.
  private static let layout = TensorLayout([("weights", [20, 50]), ("more", [3, 50]), ("last", [65])])
  /// The codes with their m, nil for signs, and whether they round at random.
  private static let codes: [(text: String, levels: Int?, isStochastic: Bool)] = [
    ("ef-sign", nil, false), ("uniform:bits=2,group=row", 1, false), ("uniform:bits=4,group=row", 7, false),
    ("uniform:bits=8,group=row", 127, false), ("uniform:bits=4,rounding=stochastic,group=row", 7, true),
    ("terngrad:clip=0", 1, true), ("qsgd:bucket=row,norm=max", 7, true),
  ]

  private func reference(_ place: Int, seed: UInt64 = 1) -> SharedScaleReference {
    SharedScaleReference(
      Self.layout, .row, rankCount: allRanks.count, levels: Self.codes[place].levels,
      isStochastic: Self.codes[place].isStochastic, seed: seed)
  }

  private func keys(_ text: String, _ sums: String) -> String {
    text + (text.contains(":") ? "," : ":") + "scales=shared,sums=\(sums)"
  }

  @Test(.ranks(atLeast: 2), arguments: codes.indices, transports)
  func wholeNumbersAreAdded(_ place: Int, _ transport: Transport) throws {
    var reference = reference(place, seed: 9)
    let run = try AggregationRun(keys(Self.codes[place].text, "exact"), Self.layout, transport, seed: 9)
    for step in 0..<4 {
      let gradients = drawGradients(count: run.count, seed: 71, step: step, rankCount: allRanks.count)
      let found = try run(gradients[allRanks.rank], step: step)
      #expect(try isSameOnAllRanks(found))
      let expected = reference.run(gradients, step: step)
      #expect(firstDifference(found.map { $0 + 0 }, expected.map { $0 + 0 }) == nil, "step \(step)")
      let residual = Array(try run.tensor("residual").values)
      #expect(
        firstDifference(residual.map { $0 + 0 }, reference.residuals[allRanks.rank].map { $0 + 0 }) == nil, "step \(step)")
    }
    #expect(run.exchange.traffic == run.exchange.predictedTraffic * 4 && !run.exchange.predictsAtMost)
  }

  /// Owners encode sums again by the same codec, with a residual of their own.
  @Test(.ranks(atLeast: 2), arguments: codes.indices.filter { !codes[$0].isStochastic }, transports)
  func sumsAreEncodedAgain(_ place: Int, _ transport: Transport) throws {
    var reference = reference(place)
    let run = try AggregationRun(keys(Self.codes[place].text, "coded"), Self.layout, transport)
    let codec = try codecs.make(Self.codes[place].text)
    let owners = GroupCoder(codec, count: run.count)
    for step in 0..<4 {
      let gradients = drawGradients(count: run.count, seed: 73, step: step, rankCount: allRanks.count)
      let found = try run(gradients[allRanks.rank], step: step)
      let sums = FloatBuffer(count: run.count)
      sums.set(reference.run(gradients, step: step))
      for group in reference.groups {
        let (start, count) = (group.range.lowerBound, group.range.count)
        let code = ByteBuffer(count: codec.encodedByteCount(of: count))
        owners.encode(sums.baseAddress + start, at: start, count: count, into: code.baseAddress, context: EncodingContext())
        owners.decode(code.baseAddress, count: count, setting: sums.baseAddress + start)
      }
      #expect(firstDifference(found.map { $0 + 0 }, sums.array.map { $0 + 0 }) == nil, "step \(step)")
    }
    #expect(run.exchange.traffic == run.exchange.predictedTraffic * 4)
  }

  /// Whatever rank has which gradient.
  @Test(arguments: codes.indices.filter { !codes[$0].isStochastic }, ["coded", "exact"])
  func ranksAreEqual(_ place: Int, _ sums: String) throws {
    let runs = try (0..<2).map { _ in try AggregationRun(keys(Self.codes[place].text, sums), Self.layout) }
    for step in 0..<3 {
      let gradients = drawGradients(count: runs[0].count, seed: 75, step: step, rankCount: allRanks.count)
      let straight = try runs[0](gradients[allRanks.rank], step: step)
      let shifted = try runs[1](gradients[(allRanks.rank + 1) % allRanks.count], step: step)
      #expect(firstDifference(straight, shifted) == nil, "step \(step)")
    }
  }

  /// Where all ranks would have the same scale, a power of two, it is the sum of a coded all-reduce, bit for bit.
  @Test(arguments: ["ef-sign", "uniform:bits=2,group=row"])
  func equalScalesAreThoseOfACodedAllReduce(_ text: String) throws {
    let (shared, own) = (try AggregationRun(keys(text, "coded"), Self.layout), try AggregationRun(text, Self.layout))
    var random = SplitMix(77, allRanks.rank)
    // Of each pair, one is a half and one is one and a half; of the odd one out, one.
    let values = (0..<shared.count).map { i -> Float in
      let isHigh = i % 2 == 0 ? i / 2 % 2 == 0 : i / 2 % 2 != 0
      let magnitude: Float = i == shared.count - 1 ? 1 : isHigh ? 1.5 : 0.5
      return random.next() % 2 == 0 ? magnitude : -magnitude
    }
    #expect(firstDifference(try shared(values).map { $0 + 0 }, try own(values).map { $0 + 0 }) == nil)
  }

  /// What is delivered and what stays with ranks and owners is what was given.
  @Test(arguments: codes.filter { !$0.isStochastic }.map(\.text), [1e-42, 1e-30, 1, 1e30] as [Double])
  func nothingIsLost(_ text: String, _ size: Double) throws {
    for sums in ["coded", "exact"] {
      let (run, magnitude) = (try AggregationRun(keys(text, sums), Self.layout), Float(size))
      var before = [Double](repeating: 0, count: run.count)
      for step in 0..<6 {
        let own = drawGradient(count: run.count, seed: 79, step: step, rank: allRanks.rank).map { $0 * magnitude }
        let found = try run(own, step: step)
        let (residual, owned) = (try run.tensor("residual"), try run.tensor("ownerResidual"))
        var (given, after) = (own.map(Double.init), residual.values.map(Double.init))
        if case .owned(let ranges) = owned.placement {
          for (place, i) in ranges.joined().enumerated() { after[i] += Double(owned.values[place]) }
        }
        try allRanks.allReduce(&given, .sum)
        try allRanks.allReduce(&after, .sum)
        let bound = 1e-5 * Double(magnitude) * Double(allRanks.count) + 0x1p-140
        let (arrived, owed) = (zip(found, after).map { Double($0) + $1 }, zip(given, before).map { $0 + $1 })
        #expect(firstDifference(arrived, owed, within: bound) == nil, "\(sums), step \(step)")
        before = after
      }
      #expect(run.exchange.nonFiniteGroups == 0)
      #expect((run.exchange.residualSquares > 0) == (allRanks.count > 1))
    }
  }

  /// A rank with nothing to send holds up nobody, and adds nothing.
  @Test(.ranks(atLeast: 2), arguments: codes.indices) func idleRanksHaveNoPart(_ place: Int) throws {
    let run = try AggregationRun(keys(Self.codes[place].text, "exact"), Self.layout)
    var reference = reference(place)
    let idle = [Float](repeating: 0, count: run.count)
    for step in 0..<3 {
      let one = drawGradient(count: run.count, seed: 81, step: step, rank: 1).map { $0 == 0 ? 1 : $0 }
      let all = (0..<allRanks.count).map { $0 == 1 ? one : idle }
      let found = try run(all[allRanks.rank], step: step)
      #expect(firstDifference(found.map { $0 + 0 }, reference.run(all, step: step).map { $0 + 0 }) == nil)
      #expect(found.contains { $0 != 0 })
    }
    let residual = try run.tensor("residual").values
    #expect(allRanks.rank == 1 || residual.allSatisfy { $0 == 0 })
    let zeros = try AggregationRun(keys(Self.codes[place].text, "coded"), Self.layout)(idle)
    #expect(zeros.allSatisfy { $0 == 0 })
  }

  /// Values whose mean magnitude is below the least float wait in the residual until there is more.
  @Test(.ranks(atLeast: 2)) func whatIsTooSmallForAScaleWaits() throws {
    let run = try AggregationRun(keys("ef-sign", "exact"), Self.layout)
    var own = [Float](repeating: 0, count: run.count)
    own[3] = .leastNonzeroMagnitude
    for step in 0..<2 { #expect(try run(own, step: step).allSatisfy { $0 == 0 }) }
    let residual = try run.tensor("residual").values
    #expect(residual[3] == 2 * .leastNonzeroMagnitude && residual.count { $0 != 0 } == 1)
    #expect(run.exchange.nonFiniteGroups == 0)
  }

  /// A group that is not finite has no part, and is counted; the others have.
  @Test(.ranks(atLeast: 2), arguments: codes.map(\.text), [Float.nan, .infinity])
  func whatIsNotFiniteIsCounted(_ text: String, _ value: Float) throws {
    let run = try AggregationRun(keys(text, "exact"), Self.layout)
    var own = drawGradient(count: run.count, seed: 83, step: 0, rank: allRanks.rank).map { $0 == 0 ? 1 : $0 }
    _ = try run(own, step: 0)
    let before = Array(try run.tensor("residual").values)
    if allRanks.rank == 1 { own[7] = value }
    let found = try run(own, step: 1)
    #expect(found.allSatisfy { $0.isFinite } && found[..<50].contains { $0 != 0 })
    #expect(run.exchange.nonFiniteGroups == (allRanks.rank == 1 ? 1 : 0))
    let after = Array(try run.tensor("residual").values)
    if allRanks.rank == 1 { #expect(firstDifference(Array(after[..<50]), Array(before[..<50])) == nil) }
    #expect(after.allSatisfy { $0.isFinite })
  }

  /// A sum beyond fp32 arrives as zeros on every rank, and its owner counts it.
  @Test(.ranks(atLeast: 2), arguments: ["coded", "exact"]) func sumsBeyondFloatsAreCounted(_ sums: String) throws {
    let run = try AggregationRun(keys("uniform:bits=2,group=row", sums), Self.layout)
    let found = try run((0..<run.count).map { $0 < 50 ? 3e38 : 1 })
    #expect(found[..<50].allSatisfy { $0 == 0 } && found[50...].allSatisfy { $0 == Float(allRanks.count) })
    #expect(try allRanks.allReduce(run.exchange.nonFiniteGroups, .sum) == 1)
  }

  /// Eight bytes for the scale of each group, the integers, and the sums.
  @Test(arguments: transports) func bytesAreThoseOfTheFormula(_ transport: Transport) throws {
    let rankCount = allRanks.count
    // Groups of 50, and one of 65.
    let groups = 23
    for (text, bits, header) in [("ef-sign", 1, 4), ("uniform:bits=4,group=row", 4, 4), ("terngrad", 2, 4)] {
      let words = { (bits: Int) in groups * ((50 * bits + 31) / 32) + (65 * bits + 31) / 32 }
      let largest = bits == 4 ? 7 : 1
      let sumBits = Int.bitWidth - (2 * largest * rankCount).leadingZeroBitCount
      for (sums, back) in [("coded", 4 * words(bits) + header * (groups + 1)), ("exact", 4 * words(sumBits))] {
        let run = try AggregationRun(keys(text, sums), Self.layout, transport)
        _ = try run([Float](repeating: 1, count: run.count))
        let sent = try allRanks.allReduce(run.exchange.traffic.bytesSent, .sum)
        #expect(sent == (rankCount - 1) * (8 * (groups + 1) + 4 * words(bits) + back), "\(text), \(sums)")
        #expect(run.exchange.traffic == run.exchange.predictedTraffic)
      }
    }
  }

  /// Tensors that travel as floats are added as floats.
  @Test func floatsAreSums() throws {
    let layout = TensorLayout([("weights", [20, 50]), ("tiny", [2])])
    for sums in ["coded", "exact"] {
      let run = try AggregationRun(keys("uniform:bits=8,group=row", sums), layout)
      let gradients = drawGradients(count: run.count, seed: 85, step: 0, rankCount: allRanks.count)
      let found = try run(gradients[allRanks.rank])
      for i in 1000..<1002 { #expect(found[i] == gradients.reduce(Float(0)) { $0 + $1[i] }) }
    }
  }

  @Test(.ranks(only: 1)) func oneRankDeliversItsGradient() throws {
    let run = try AggregationRun(keys("ef-sign", "coded"), Self.layout)
    let own = drawGradient(count: run.count, seed: 87, step: 0, rank: 0)
    #expect(firstDifference(try run(own), own) == nil)
    #expect(run.exchange.traffic.bytesSent == 0)
  }

  @Test func keysAreChecked() throws {
    for (text, words) in [
      ("uniform:scales=all", "unknown scales"), ("uniform:sums=exact", "scales=shared"),
      ("uniform:scales=shared,sums=raw", "unknown sums"), ("uniform:range=min-max,scales=shared", "symmetric grid"),
      ("uniform:rounding=dither,scales=shared", "without dither"), ("qsgd:code=elias,scales=shared", "equal bits"),
      ("one-bit:scales=shared", "no key 'scales'"), ("ef-sign:scales=shared,ef21=1", "ef21"),
    ] {
      let error = #expect(throws: SpecificationError.self) { try aggregations.make(text) }
      #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
    }
    #expect(try aggregations.make("uniform:scales=own").codec != nil)
    let wide = try aggregations.make("uniform:bits=16,scales=shared")
    #expect(throws: SpecificationError.self) { try wide.rounds(Self.layout, rankCount: 513) }
    #expect(try wide.rounds(Self.layout, rankCount: 512).count == 4)
  }
}
