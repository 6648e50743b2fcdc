import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport

/// Low-rank sums against their formulas, and their laws.
@Suite(.serialized) struct LowRankTests {
  /// A low-rank sum of this job's ranks.
  private struct Run {
    let gradient: SharedGradient
    let exchange: any Aggregation
    let layout: TensorLayout

    init(
      _ specification: String, _ layout: TensorLayout, _ transport: Transport = .auto, seed: UInt64 = 1,
      worksAlone: Bool = false
    ) throws {
      let hosts = try HostMap(allRanks, transport: transport)
      self.layout = layout
      gradient = try SharedGradient(count: layout.count, hosts: hosts, isShared: false)
      var parts = AggregationParts(hosts: hosts, layout: layout, gradients: [gradient])
      (parts.seed, parts.worksAlone) = (seed, worksAlone)
      exchange = try aggregations.make(specification)(parts)
    }

    func callAsFunction(_ values: [Float], step: Int = 0) throws -> [Float] {
      gradient.values.set(values)
      let output = FloatBuffer(count: layout.count)
      output.fill(.nan)
      try exchange.run(Contribution(step: step, samples: 8), into: .buffer(output))
      return output.array
    }

    var residual: [Float] { exchange.remembered?.array ?? [] }
  }

  private static let model = TensorLayout([
    ("filters", [20, 3, 5, 5]), ("first.bias", [20]), ("weights", [33, 50]), ("bias", [33]), ("small", [3, 4]),
    ("last", [10, 64]),
  ])

  /// The gradient of a rank: normal, of this magnitude.
  private func draw(_ count: Int, step: Int, rank: Int, magnitude: Float = 1) -> [Float] {
    let random = Philox(seed: 41, purpose: .tests, step: step, stream: rank)
    return (0..<count).map { i in
      magnitude * ((random.uniform(i) - 0.5) + (random.uniform(i, tensor: 1) - 0.5) + (random.uniform(i, tensor: 2) - 0.5))
    }
  }

  /// Places a matrix of three rows and two columns at the start of one of sixteen by sixteen zeros.
  private func padded(_ values: [Float]) -> [Float] {
    var matrix = [Float](repeating: 0, count: 256)
    for (i, value) in values.enumerated() { matrix[i / 2 * 16 + i % 2] = value }
    return matrix
  }

  @Test(.ranks(atLeast: 2)) func theTraceOfTheSpecification() throws {
    // Q begins with (1, −1), or with signs of which it differs: those of the columns with zeros do not matter.
    let seed = try #require(
      (1...100).first { (seed: UInt64) in
        let signs = LowRankReference.signs(0, count: 16, seed: seed)
        return signs[0] != signs[1]
      })
    let run = try Run("low-rank:rank=1,refresh=0", TensorLayout([("weights", [16, 16])]), seed: seed)
    let own: [Float] = allRanks.rank == 0 ? [1, 2, 3, 4, 5, 6] : allRanks.rank == 1 ? [1, 0, 0, 1, 1, 1] : [0, 0, 0, 0, 0, 0]
    let steps: [(p: [Double], q: [Double])] = [
      ([0, -0.89442719, -0.4472136], [-2.68328157, -3.80131556]),
      ([-0.3572181, -0.21186729, -0.90967438], [-5.20799361, -5.87469809]),
    ]
    for (step, (p, q)) in steps.enumerated() {
      let sum = try run(padded(own), step: step)
      for row in 0..<3 {
        for column in 0..<2 {
          // The trace has means of two.
          #expect(abs(Double(sum[row * 16 + column]) - 2 * p[row] * q[column]) < 2e-5, "step \(step)")
        }
      }
    }
  }

  @Test(arguments: transports, [1, 2, 4]) func theFormulasInFP64(_ transport: Transport, _ rank: Int) throws {
    let (rows, columns) = (24, 40)
    let run = try Run("low-rank:rank=\(rank),refresh=0", TensorLayout([("weights", [rows, columns])]), transport)
    var reference = LowRankReference(
      rows: rows, columns: columns, right: (0..<rank).map { LowRankReference.signs($0, count: columns) },
      rankCount: allRanks.count)
    for step in 0..<6 {
      let gradients = (0..<allRanks.count).map { draw(rows * columns, step: step, rank: $0) }
      let sum = try run(gradients[allRanks.rank], step: step)
      if allRanks.count == 1 {
        #expect(sum == gradients[0])
        continue
      }
      let expected = reference.run(gradients)
      for i in sum.indices {
        #expect(abs(Double(sum[i]) - expected[i]) < 1e-3, "step \(step), value \(i)")
        #expect(abs(Double(run.residual[i]) - reference.residuals[allRanks.rank][i]) < 1e-3, "step \(step), value \(i)")
      }
    }
  }

  @Test(arguments: [1e-42, 1e-30, 1, 1e25] as [Double]) func nothingIsLost(_ size: Double) throws {
    let magnitude = Float(size)
    let layout = Self.model
    let run = try Run("low-rank:rank=2,refresh=2", layout)
    var before = [Double](repeating: 0, count: layout.count)
    for step in 0..<8 {
      let own = draw(layout.count, step: step, rank: allRanks.rank, magnitude: magnitude)
      let sum = try run(own, step: step)
      let all = try allRanks.allGather(own + run.residual)
      var after = [Double](repeating: 0, count: layout.count)
      var given = before
      for rank in 0..<allRanks.count {
        for i in 0..<layout.count {
          given[i] += Double(all[2 * rank * layout.count + i])
          after[i] += Double(all[(2 * rank + 1) * layout.count + i])
        }
      }
      for i in 0..<layout.count {
        let bound = 1e-4 * Double(magnitude) * Double(allRanks.count) + 0x1p-140
        #expect(abs(Double(sum[i]) + after[i] - given[i]) <= bound, "step \(step), value \(i)")
      }
      before = after
      // Vectors and what is too small are sums.
      for name in ["first.bias", "bias", "small"] {
        for i in try #require(layout[name]).range { #expect(run.residual[i] == 0) }
      }
    }
    #expect(run.exchange.nonFiniteGroups == 0)
    #expect((run.exchange.residualSquares > 0) == (allRanks.count > 1))
  }

  @Test func aMatrixOfThatRankArrivesWhole() throws {
    let (rows, columns) = (30, 40)
    let layout = TensorLayout([("weights", [rows, columns])])
    let run = try Run("low-rank:rank=2,refresh=0", layout)
    let (a, b) = (draw(2 * rows, step: 0, rank: 0), draw(2 * columns, step: 1, rank: 0))
    let matrix = (0..<rows * columns).map { i in
      a[i / columns] * b[i % columns] + a[rows + i / columns] * b[columns + i % columns]
    }
    for step in 0..<3 {
      let sum = try run(matrix, step: step)
      let wanted = matrix.map { $0 * Float(allRanks.count) }
      #expect(zip(sum, wanted).allSatisfy { abs($0 - $1) <= 1e-4 }, "step \(step)")
    }
    // Alone, it is the gradient itself.
    if allRanks.count == 1 {
      let sum = try run(matrix)
      #expect(sum == matrix)
    }
  }

  /// What the factors leave out comes with a column that is drawn anew, and without one never.
  @Test(.ranks(atLeast: 2)) func aNewColumnFindsWhatIsLeftOut() throws {
    let layout = TensorLayout([("weights", [16, 16])])
    let own = (0..<256).map { Float(allRanks.rank == 0 && ($0 == 0 || $0 == 17) ? 1 : 0) }
    func residual(_ refresh: Int) throws -> Double {
      let run = try Run("low-rank:rank=1,refresh=\(refresh)", layout)
      for step in 0..<20 { _ = try run(own, step: step) }
      return try allRanks.allReduce(run.exchange.residualSquares.squareRoot(), .sum)
    }
    let (without, with) = (try residual(0), try residual(3))
    #expect(without > 18)
    #expect(with < 10)
  }

  /// A plan measures the work of a rank by itself: sums are then products, too, and what they lack waits.
  @Test func aSingleRankCanWorkLikeSeveral() throws {
    guard allRanks.count == 1 else { return }
    let layout = TensorLayout([("weights", [24, 40])])
    let run = try Run("low-rank:rank=1,refresh=0", layout, worksAlone: true)
    let own = draw(layout.count, step: 0, rank: 0)
    var reference = LowRankReference(
      rows: 24, columns: 40, right: [LowRankReference.signs(0, count: 40)], rankCount: 1)
    for (found, wanted) in zip(try run(own), reference.run([own])) { #expect(abs(Double(found) - wanted) < 1e-5) }
    #expect(run.residual.contains { $0 != 0 })
    let passing = try Run("low-rank:rank=1,refresh=0", layout)
    #expect(try passing(own) == own)
  }

  @Test func zerosStayZeros() throws {
    let run = try Run("low-rank", Self.model)
    let zeros = [Float](repeating: 0, count: Self.model.count)
    for step in 0..<3 {
      let sum = try run(zeros, step: step)
      #expect(sum.allSatisfy { $0 == 0 })
    }
    // And do not hinder what comes.
    let own = draw(Self.model.count, step: 5, rank: allRanks.rank)
    let sum = try run(own, step: 3)
    #expect(sum.allSatisfy { $0.isFinite })
    #expect(sum.contains { $0 != 0 })
  }

  @Test(.ranks(atLeast: 2)) func whatIsTooLargeWaits() throws {
    let layout = TensorLayout([("weights", [24, 40]), ("others", [24, 40])])
    let run = try Run("low-rank:rank=1", layout)
    var own = draw(layout.count, step: 0, rank: allRanks.rank)
    _ = try run(own, step: 0)
    let before = run.residual
    if allRanks.rank == 1 { own[7] = 3e38 }
    let sum = try run(own, step: 1)
    #expect(sum.allSatisfy { $0.isFinite })
    if allRanks.rank == 1 {
      #expect(Array(run.residual[..<960]) == Array(before[..<960]) && run.exchange.nonFiniteGroups == 1)
    } else {
      #expect(run.exchange.nonFiniteGroups == 0)
    }
    #expect(Array(run.residual[960...]) != Array(before[960...]))
  }

  @Test(arguments: transports) func bytesAreThoseOfTheFactors(_ transport: Transport) throws {
    let run = try Run("low-rank:rank=2", Self.model, transport)
    for step in 0..<3 { _ = try run(draw(Self.model.count, step: step, rank: allRanks.rank), step: step) }
    #expect(run.exchange.traffic == run.exchange.predictedTraffic * 3)
    // Matrices of 20 × 75, 33 × 50 and 10 × 64; 20 + 33 + 12 floats.
    let values = 2 * (20 + 75 + 33 + 50 + 10 + 64) + 65
    let sent = try allRanks.allReduce(run.exchange.traffic.bytesSent, .sum)
    #expect(sent == 3 * 2 * (allRanks.count - 1) * 4 * values)
  }

  @Test func keysAreChecked() {
    for text in ["low-rank:rank=0", "low-rank:rank=65", "low-rank:refresh=-1", "low-rank:columns=2", "low-rank:2"] {
      #expect(throws: SpecificationError.self) { try aggregations.make(text) }
    }
  }
}
