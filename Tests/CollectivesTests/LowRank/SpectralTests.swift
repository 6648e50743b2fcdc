import Buffers
import Collectives
import MPI
import Testing
import Transport
import _TestSupport

/// Sums by singular values against their formulas, and their laws.
@Suite(.serialized) struct SpectralTests {
  /// A sum of this job's ranks.
  private struct Run {
    let gradient: SharedGradient
    let exchange: any Aggregation
    let layout: TensorLayout

    init(_ specification: String, _ layout: TensorLayout, _ transport: Transport = .auto, worksAlone: Bool = false) throws {
      let hosts = try HostMap(allRanks, transport: transport)
      self.layout = layout
      gradient = try SharedGradient(count: layout.count, hosts: hosts, isShared: false)
      var parts = AggregationParts(hosts: hosts, layout: layout, gradients: [gradient])
      (parts.seed, parts.worksAlone) = (7, worksAlone)
      exchange = try aggregations.make(specification)(parts)
    }

    func callAsFunction(_ values: [Float], step: Int = 0) throws -> [Float] {
      gradient.values.set(values)
      let output = FloatBuffer(count: layout.count)
      output.fill(.nan)
      try exchange.run(Contribution(step: step, samples: 8), into: .buffer(output))
      return output.array
    }

    /// What waits on this rank: of its own contributions, and of its sums, each at its place in the flat buffer.
    var waiting: (own: [Float], sums: [Float]) {
      var inventory = StateInventory()
      exchange.contribute(to: &inventory)
      var (own, sums) = ([Float](repeating: 0, count: layout.count), [Float](repeating: 0, count: layout.count))
      if let tensor = inventory.tensor("residual") { own = Array(tensor.values) }
      if let tensor = inventory.tensor("ownerResidual"), case .owned(let ranges) = tensor.placement {
        var place = 0
        for range in ranges {
          for i in range { sums[i] = tensor.values[place + i - range.lowerBound] }
          place += range.count
        }
      }
      return (own, sums)
    }
  }

  private static let model = TensorLayout([
    ("filters", [20, 3, 5, 5]), ("first.bias", [20]), ("weights", [33, 50]), ("bias", [33]), ("small", [3, 4]),
    ("last", [10, 64]),
  ])

  /// The gradient of a rank: normal, of this magnitude.
  private func draw(_ count: Int, step: Int, rank: Int, magnitude: Float = 1) -> [Float] {
    let random = Philox(seed: 43, purpose: .tests, step: step, stream: rank)
    return (0..<count).map { i in
      magnitude * ((random.uniform(i) - 0.5) + (random.uniform(i, tensor: 1) - 0.5) + (random.uniform(i, tensor: 2) - 0.5))
    }
  }

  @Test(arguments: transports, [1, 2, 4]) func theFormulasInFP64(_ transport: Transport, _ rank: Int) throws {
    for (rows, columns) in [(24, 40), (40, 24)] {
      let run = try Run("svd:rank=\(rank)", TensorLayout([("weights", [rows, columns])]), transport)
      var reference = SpectralReference(rows: rows, columns: columns, rank: rank, rankCount: allRanks.count)
      for step in 0..<4 {
        let gradients = (0..<allRanks.count).map { draw(rows * columns, step: step, rank: $0) }
        let sum = try run(gradients[allRanks.rank], step: step)
        if allRanks.count == 1 {
          #expect(sum == gradients[0])
          continue
        }
        let (expected, waiting) = (reference.run(gradients), run.waiting)
        // The only block has the first rank as its owner, or another one, which alone keeps something.
        let keeps = waiting.sums.contains { $0 != 0 }
        for i in sum.indices {
          #expect(abs(Double(sum[i]) - expected[i]) < 1e-4, "step \(step), value \(i)")
          #expect(abs(Double(waiting.own[i]) - reference.residuals[allRanks.rank][i]) < 1e-4, "step \(step), value \(i)")
          if keeps { #expect(abs(Double(waiting.sums[i]) - reference.ownerResidual[i]) < 1e-4, "step \(step), value \(i)") }
        }
        #expect(try allRanks.allReduce(keeps ? 1 : 0, .sum) == 1)
      }
    }
  }

  /// A matrix that is cut is several, of as many rows.
  @Test func blocksAreMatrices() throws {
    let (rows, columns) = (25, 40)
    let cut = try Run("svd:rank=1,side=9", TensorLayout([("weights", [rows, columns])]))
    let parts = [9, 8, 8].enumerated().map { ("part.\($0)", [$1, columns]) }
    let whole = try Run("svd:rank=1", TensorLayout(parts))
    for step in 0..<3 {
      let own = draw(rows * columns, step: step, rank: allRanks.rank)
      #expect(try cut(own, step: step) == whole(own, step: step), "step \(step)")
    }
  }

  @Test(arguments: [1e-42, 1e-30, 1, 1e25] as [Double]) func nothingIsLost(_ size: Double) throws {
    let (magnitude, layout) = (Float(size), Self.model)
    let run = try Run("svd:side=16", layout)
    var before = [Double](repeating: 0, count: layout.count)
    for step in 0..<6 {
      let own = draw(layout.count, step: step, rank: allRanks.rank, magnitude: magnitude)
      let sum = try run(own, step: step)
      let waiting = run.waiting
      let all = try allRanks.allGather(own + waiting.own + waiting.sums)
      var (after, given) = ([Double](repeating: 0, count: layout.count), before)
      for rank in 0..<allRanks.count {
        for i in 0..<layout.count {
          given[i] += Double(all[3 * rank * layout.count + i])
          after[i] += Double(all[(3 * rank + 1) * layout.count + i]) + Double(all[(3 * rank + 2) * layout.count + i])
        }
      }
      for i in 0..<layout.count {
        let bound = 1e-4 * Double(magnitude) * Double(allRanks.count) + 0x1p-140
        #expect(abs(Double(sum[i]) + after[i] - given[i]) <= bound, "step \(step), value \(i)")
      }
      before = after
      for name in ["first.bias", "bias", "small"] {
        for i in try #require(layout[name]).range { #expect(waiting.own[i] == 0) }
      }
    }
    #expect(run.exchange.nonFiniteGroups == 0)
    #expect((run.exchange.residualSquares > 0) == (allRanks.count > 1))
  }

  @Test func aMatrixOfThatRankArrivesWhole() throws {
    let (rows, columns) = (30, 40)
    for specification in ["svd", "spectral"] {
      let run = try Run(specification, TensorLayout([("weights", [rows, columns])]))
      let (a, b) = (draw(2 * rows, step: 0, rank: 0), draw(2 * columns, step: 1, rank: 0))
      let matrix = (0..<rows * columns).map { i in
        a[i / columns] * b[i % columns] + a[rows + i / columns] * b[columns + i % columns]
      }
      for step in 0..<3 {
        let sum = try run(matrix, step: step)
        for i in sum.indices { #expect(abs(sum[i] - Float(allRanks.count) * matrix[i]) <= 1e-5 * Float(allRanks.count)) }
      }
    }
  }

  /// Drawn values are right on average, though ranks and owners draw.
  @Test(.ranks(atMost: 4)) func drawnSumsAreUnbiased() throws {
    guard allRanks.count > 1 else { return }
    let layout = TensorLayout([("weights", [10, 24])])
    let run = try Run("spectral:rank=2", layout)
    let gradients = (0..<allRanks.count).map { draw(layout.count, step: 0, rank: $0) }
    var (sums, squares) = ([Double](repeating: 0, count: layout.count), [Double](repeating: 0, count: layout.count))
    let steps = 2000
    for step in 0..<steps {
      let found = try run(gradients[allRanks.rank], step: step)
      for i in found.indices {
        let difference = Double(found[i]) - gradients.reduce(0.0) { $0 + Double($1[i]) }
        sums[i] += difference
        squares[i] += difference * difference
      }
    }
    for i in sums.indices {
      let mean = sums[i] / Double(steps), variance = squares[i] / Double(steps) - mean * mean
      #expect(mean.magnitude <= 4.5 * (max(0, variance) / Double(steps)).squareRoot(), "value \(i): \(mean)")
    }
    #expect(squares.allSatisfy { $0 > 0 })
    #expect(run.exchange.residualSquares == 0)
  }

  /// A plan measures the work of a rank by itself: sums are then products, too.
  @Test func aSingleRankCanWorkLikeSeveral() throws {
    guard allRanks.count == 1 else { return }
    let layout = TensorLayout([("weights", [24, 40])])
    let run = try Run("svd:rank=1", layout, worksAlone: true)
    let own = draw(layout.count, step: 0, rank: 0)
    var reference = SpectralReference(rows: 24, columns: 40, rank: 1, rankCount: 1)
    for (found, wanted) in zip(try run(own), reference.run([own])) { #expect(abs(Double(found) - wanted) < 1e-5) }
    #expect(run.exchange.residualSquares > 0)
    let passing = try Run("svd:rank=1", layout)
    #expect(try passing(own) == own)
  }

  @Test(arguments: ["svd", "spectral"]) func zerosStayZeros(_ name: String) throws {
    let run = try Run(name, Self.model)
    for step in 0..<2 {
      let sum = try run([Float](repeating: 0, count: Self.model.count), step: step)
      #expect(sum.allSatisfy { $0 == 0 })
    }
    let sum = try run(draw(Self.model.count, step: 5, rank: allRanks.rank), step: 3)
    #expect(sum.allSatisfy { $0.isFinite })
    #expect(sum.contains { $0 != 0 })
  }

  @Test(.ranks(atLeast: 2), arguments: ["svd:rank=1", "spectral:rank=1"], [3e38, .nan] as [Float])
  func whatIsTooLargeWaits(_ name: String, _ value: Float) throws {
    let layout = TensorLayout([("weights", [24, 40]), ("others", [24, 40])])
    let run = try Run(name, layout)
    var own = draw(layout.count, step: 0, rank: allRanks.rank)
    _ = try run(own, step: 0)
    let before = run.waiting.own
    if allRanks.rank == 1 { own[7] = value }
    let sum = try run(own, step: 1)
    #expect(sum.allSatisfy { $0.isFinite })
    #expect(run.exchange.nonFiniteGroups == (allRanks.rank == 1 ? 1 : 0))
    if allRanks.rank == 1 { #expect(Array(run.waiting.own[..<960]) == Array(before[..<960])) }
  }

  @Test(arguments: transports, ["svd", "spectral"]) func bytesAreThoseOfTheFactors(_ transport: Transport, _ name: String)
    throws
  {
    let run = try Run(name, Self.model, transport)
    for step in 0..<3 { _ = try run(draw(Self.model.count, step: step, rank: allRanks.rank), step: step) }
    #expect(run.exchange.traffic == run.exchange.predictedTraffic * 3)
    // Matrices of 20 × 75, 33 × 50 and 10 × 64; 20 + 33 + 12 floats.
    let values = 2 * (20 + 75 + 33 + 50 + 10 + 64) + 65
    let sent = try allRanks.allReduce(run.exchange.traffic.bytesSent, .sum)
    #expect(sent == 3 * 2 * (allRanks.count - 1) * 4 * values)
  }

  @Test func keysAreChecked() throws {
    #expect(try aggregations.make("svd").specification == "svd:rank=2,side=128")
    for text in ["svd:rank=0", "svd:rank=65", "svd:side=1", "spectral:columns=2", "spectral:2"] {
      #expect(throws: SpecificationError.self) { try aggregations.make(text) }
    }
  }
}
