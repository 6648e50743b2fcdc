import Buffers
import Codecs
import MPI
import PointToPoint
import Testing
import Transport
import _TestSupport
@testable import _CollectivesSupport

/// The traces of the guide to their printed digits, and references of a few lines, on any number of ranks.
@Suite(.serialized, .ranks(atMost: 4)) struct GossipTraceTests {
  private func expect(
    _ found: [[Float]], _ right: [Float], within slack: Float = 5e-6, at place: SourceLocation = #_sourceLocation
  ) {
    for (model, value) in zip(found, right) where abs(model[0] - value) > slack {
      Issue.record("\(found.map { $0[0] }) is not \(right)", sourceLocation: place)
      return
    }
  }

  private static let starts: [[Float]] = [[0], [1], [2], [5]]
  private static let ring = MixingMatrix(metropolis: GossipGraph(.ring, count: 4))

  /// D-PSGD on a ring of 4 (algorithms §10.2).
  @Test(.enabled(if: [1, 2, 4].contains(World.count), "4 workers")) func meansOfModels() throws {
    for combinesFirst in [true, false] {
      let trial = try GossipTrial(.mixing(Self.ring), workers: 4, count: 1, combinesFirst: combinesFirst)
      try trial.set(Self.starts)
      try trial.run(0..<1)
      expect(try trial.models(), [2, 1, 8 / 3, 7 / 3])
      try trial.run(1..<2)
      expect(try trial.models(), [16 / 9, 17 / 9, 2, 7 / 3])
    }
    // The gradient at the old model: the sums are of what was before.
    let trial = try GossipTrial(.mixing(Self.ring), workers: 4, count: 1, combinesFirst: true)
    try trial.set(Self.starts)
    try trial.run(0..<1) { _, _, _, x in 0.1 * x }
    expect(try trial.models(), [2, 0.9, 2.46667, 1.83333])
    // And at the new one: 0.9 times the means.
    let after = try GossipTrial(.mixing(Self.ring), workers: 4, count: 1)
    try after.set(Self.starts)
    try after.run(0..<1) { _, _, _, x in 0.1 * x }
    expect(try after.models(), [1.8, 0.9, 2.4, 2.1])
  }

  /// CHOCO with the largest value of a pair of workers (algorithms §10.3); two more values are zero, or a code would be no smaller.
  @Test(.enabled(if: World.count <= 2, "2 workers")) func meansOfPublicCopies() throws {
    let half = MixingMatrix(metropolis: GossipGraph(.ring, count: 2))
    let trial = try GossipTrial(.compressedMixing(half, codec: Largest(kept: 1, size: 4), gamma: 0.5), workers: 2, count: 4)
    try trial.set([[1, 0.2, 0, 0], [0, -1, 0, 0]])
    let rounds: [[[Float]]] = [
      [[0.75, -0.05], [0.25, -0.75]], [[0.625, -0.3], [0.375, -0.5]], [[0.5, -0.35], [0.5, -0.45]],
    ]
    for (step, right) in rounds.enumerated() {
      try trial.run(step..<step + 1)
      let found = try trial.models()
      for (model, values) in zip(found, right) {
        #expect(abs(model[0] - values[0]) < 1e-6 && abs(model[1] - values[1]) < 1e-6, "round \(step): \(found)")
      }
      #expect(found[0][0] + found[1][0] == 1 && abs(found[0][1] + found[1][1] + 0.8) < 1e-6 && found[0][2] == 0)
    }
  }

  /// Push-sum to one peer (algorithms §10.5): exact after log₂K steps.
  @Test(.enabled(if: [1, 2, 4].contains(World.count), "4 workers")) func pushes() throws {
    let trial = try GossipTrial(.pushSum(.onePeer), workers: 4, count: 1)
    try trial.set(Self.starts)
    try trial.run(0..<1)
    #expect(try trial.models() == [[2.5], [0.5], [1.5], [3.5]])
    try trial.run(1..<2)
    #expect(try trial.models() == [[2], [2], [2], [2]])
  }

  /// NoLoCo (frontier F1.7): pairs (01)(23), (02)(13), (03)(12) with a seed that draws them.
  @Test(.enabled(if: [1, 2, 4].contains(World.count), "4 workers")) func outerSteps() throws {
    let pairs = [[[1], [0], [3], [2]], [[2], [3], [0], [1]], [[3], [2], [1], [0]]]
    let seed = try #require(
      (0..<2000).first { seed in
        let routes = GossipRoutes(.pairs(every: 2), count: 4, seed: UInt64(seed))
        return (0..<3).allSatisfy { routes.receivers(in: 2 * $0 + 1) == pairs[$0] }
      })
    let trial = try GossipTrial(
      .outerPairs(every: 2, OuterPairStep(rate: 0.7, momentum: 0.5, gamma: 0.7)), workers: 4, count: 1, seed: UInt64(seed))
    try trial.set(Self.starts, "slowModels")
    try trial.set([[1], [1], [2], [4]])
    let rounds: [[Float]] = [[0.7, 1, 2.7, 3.6], [1.75, 1.91, 2.35, 1.99], [2.359, 2.519, 2.021, 1.101]]
    for (round, right) in rounds.enumerated() {
      // Nothing is exchanged in between.
      let before = try trial.models()
      try trial.run(2 * round..<2 * round + 1)
      #expect(try trial.models() == before)
      try trial.run(2 * round + 1..<2 * round + 2)
      expect(try trial.models(), right)
      #expect(abs(try trial.sums()[0] - 8) < 1e-5)
    }
  }

  private static func gradient(_ worker: Int, _ step: Int, _ place: Int, _ x: Float) -> Float {
    0.1 * (x - Float((worker + step + place) % 5))
  }

  /// The models of 12 workers are those of plain arrays, bit for bit, on any number of ranks and by messages or not.
  @Test func modelsAreThoseOfPlainArrays() throws {
    let (workers, count) = (12, 517)
    let starts = normalModels(workers: workers, count: 512)
    for (matrix, combinesFirst) in [
      (MixingMatrix(metropolis: GossipGraph(.exponential, count: workers)), true),
      (MixingMatrix(metropolis: GossipGraph(torusOf: workers)), false),
    ] {
      let trial = try GossipTrial(
        .mixing(matrix), workers: workers, count: count, combinesFirst: combinesFirst,
        hosts: HostMap(allRanks, transport: .messages))
      let codes = try GossipTrial(
        .compressedMixing(matrix, codec: Largest(kept: 3, size: 64), gamma: 0.3), workers: workers, count: count,
        combinesFirst: combinesFirst)
      for other in [trial, codes] {
        try other.set(starts)
        try other.run(0..<3, gradient: Self.gradient)
      }
      try codes.run(3..<5, gradient: Self.gradient)
      var (x, y, known) = (starts, starts, starts.map { $0.map { _ in Float(0) } })
      func descend(_ models: inout [[Float]], _ step: Int, at read: [[Float]]) {
        for worker in 0..<workers {
          for place in models[worker].indices {
            models[worker][place] -= Self.gradient(worker, step, place, read[worker][place])
          }
        }
      }
      for step in 0..<5 {
        let (readX, readY) = (x, y)
        if !combinesFirst {
          descend(&x, step, at: readX)
          descend(&y, step, at: readY)
        }
        let old = x
        for worker in 0..<workers {
          for place in 0..<trial.count {
            x[worker][place] = Float(
              (0..<workers).reduce(0.0) { $0 + Double(matrix.numerators[worker][$1]) * Double(old[$1][place]) }
                / Double(matrix.denominator))
          }
        }
        for worker in 0..<workers {
          for start in stride(from: 0, to: trial.count, by: 64) {
            let rest = (start..<start + 64).map { y[worker][$0] - known[worker][$0] }
            for place in (0..<64).sorted(by: { (-rest[$0].magnitude, $0) < (-rest[$1].magnitude, $1) }).prefix(3) {
              known[worker][start + place] += rest[place]
            }
          }
        }
        for worker in 0..<workers {
          for place in 0..<trial.count {
            let pull = (0..<workers).filter { $0 != worker }.reduce(0.0) {
              $0 + Double(matrix.numerators[worker][$1]) * (Double(known[$1][place]) - Double(known[worker][place]))
            }
            y[worker][place] = Float(Double(y[worker][place]) + 0.3 / Double(matrix.denominator) * pull)
          }
        }
        if combinesFirst {
          descend(&x, step, at: readX)
          descend(&y, step, at: readY)
        }
        if step == 2 { #expect(try trial.models() == x, "combine first: \(combinesFirst)") }
      }
      #expect(try codes.models() == y, "combine first: \(combinesFirst)")
    }
  }
}
