import Buffers
import PointToPoint
import Testing
import _TestSupport

/// Who mixes with whom, and how fast that makes models equal.
@Suite(.oneProcess) struct GossipGraphTests {
  /// The second eigenvalues of the guide (experiments §5.1), and those that are known in closed form.
  @Test func matricesHaveTheirEigenvalues() {
    let cases: [(GossipGraph.Shape, Int, Double)] = [
      (.ring, 4, 1.0 / 3), (.ring, 8, 0.80474), (.ring, 16, 0.94925), (.exponential, 8, 1.0 / 3), (.exponential, 16, 0.5),
      (.ring, 2, 0), (.ring, 3, 0), (.complete, 5, 0), (.complete, 1, 0),
    ]
    for (shape, count, eigenvalue) in cases {
      let matrix = MixingMatrix(metropolis: GossipGraph(shape, count: count))
      #expect(matrix.fault == nil, "\(shape) \(count)")
      #expect(abs(matrix.secondEigenvalue - eigenvalue) < 2e-5, "\(shape) \(count): \(matrix.secondEigenvalue)")
    }
    // A star: 1/K for each edge, and the eigenvalue of what is orthogonal to the hub.
    let star = MixingMatrix(metropolis: GossipGraph(count: 6, edges: (1..<6).map { (0, $0) }))
    #expect(star.fault == nil && abs(star.secondEigenvalue - 5.0 / 6) < 1e-6)
  }

  /// The trace of the guide: ring of 4, x = (0, 1, 2, 5).
  @Test func aMixingIsThatOfTheGuide() {
    let matrix = MixingMatrix(metropolis: GossipGraph(.ring, count: 4))
    func mix(_ x: [Double]) -> [Double] { x.indices.map { row in x.indices.reduce(0) { $0 + matrix[row, $1] * x[$1] } } }
    let (one, two) = (mix([0, 1, 2, 5]), mix(mix([0, 1, 2, 5])))
    for (value, right) in zip(one + two, [2, 1, 8.0 / 3, 7.0 / 3, 16.0 / 9, 17.0 / 9, 2, 7.0 / 3]) {
      #expect(abs(value - right) < 1e-12, "\(one) \(two)")
    }
  }

  @Test func wrongMatricesAreFound() {
    let cases: [([[Int]], Int, String)] = [
      ([[1, 1], [1, 2]], 2, "sum to 1"), ([[3, -1], [-1, 3]], 2, "below 0"), ([[1, 0], [0, 1]], 1, "never hear"),
      ([[0, 1], [1, 0]], 1, "two sides"), ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], 2, ""),
      ([[1, 1, 0], [0, 1, 1], [1, 0, 1]], 2, "not symmetric"),
    ]
    for (numerators, denominator, word) in cases {
      let fault = MixingMatrix(numerators: numerators, denominator: denominator).fault
      #expect(word.isEmpty ? fault == nil : fault?.contains(word) == true, "\(numerators): \(fault ?? "none")")
    }
    #expect(!GossipGraph(count: 4, edges: [(0, 1), (2, 3)]).isConnected)
    #expect(GossipGraph(.ring, count: 6).hasTwoSides && !GossipGraph(.ring, count: 5).hasTwoSides)
  }

  /// Pairs lead from one side to the other, and connect all; who is asked is drawn with equal probability, and the same again.
  @Test func pairsHaveTwoSides() {
    for shape in GossipGraph.Shape.allCases {
      for count in 1...17 {
        let pairs = PairGraph(shape, count: count)
        #expect(pairs.graph.hasTwoSides && pairs.graph.isConnected, "\(shape) \(count)")
        for worker in 0..<count {
          for other in pairs.graph.neighbours[worker] { #expect(pairs.isActive(worker) != pairs.isActive(other)) }
          var drawn: [Int: Int] = [:]
          for minibatch in 0..<400 {
            let partner = pairs.partner(of: worker, minibatch: minibatch, seed: 3)
            #expect((partner != nil) == pairs.isActive(worker))
            if let partner { drawn[partner, default: 0] += 1 }
            #expect(pairs.partner(of: worker, minibatch: minibatch, seed: 3) == partner)
          }
          guard pairs.isActive(worker) else { continue }
          let degree = Double(pairs.graph.neighbours[worker].count)
          #expect(Set(drawn.keys) == Set(pairs.graph.neighbours[worker]))
          // Five standard deviations.
          let slack = 5 * (400 / degree).squareRoot()
          #expect(drawn.values.allSatisfy { abs(Double($0) - 400 / degree) <= slack }, "\(shape) \(count): \(drawn)")
        }
      }
    }
    #expect(PairGraph(.exponential, count: 16).graph.neighbours[1] == [0, 2, 4, 6, 12, 14])
    #expect(PairGraph(.ring, count: 5).graph.neighbours == [[1], [0, 2], [1, 3], [2, 4], [3]])
    #expect(PairGraph(.complete, count: 5).graph.neighbours[1] == [0, 2, 4])
  }

  /// One average shrinks Σ‖x_i − x̄‖² by what the matrix of its mean says, exactly, and keeps Σx_i.
  @Test func averagesShrinkDistancesByTheirMatrix() {
    for (shape, count) in [(GossipGraph.Shape.ring, 8), (.complete, 5), (.exponential, 8), (.ring, 3), (.ring, 2)] {
      let (pairs, random) = (PairGraph(shape, count: count), Philox(seed: 5, purpose: .tests))
      let x = (0..<count).map { Double(random.uniform($0)) - 0.5 }
      let mean = x.reduce(0, +) / Double(count)
      let active = (0..<count).filter(pairs.isActive)
      // The mean over all that can be drawn.
      var after = 0.0
      for worker in active {
        for other in pairs.graph.neighbours[worker] {
          var y = x
          (y[worker], y[other]) = ((x[worker] + x[other]) / 2, (x[worker] + x[other]) / 2)
          let distance = y.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
          after += distance / Double(active.count * pairs.graph.neighbours[worker].count)
        }
      }
      let matrix = pairs.meanMixing
      #expect(matrix.fault == nil)
      let predicted = x.indices.reduce(0) { sum, row in
        sum + x.indices.reduce(0) { $0 + (x[row] - mean) * matrix[row, $1] * (x[$1] - mean) }
      }
      #expect(abs(after - predicted) < 1e-12, "\(shape) \(count): \(after) \(predicted)")
      let before = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      #expect(after <= matrix.secondEigenvalue * before + 1e-9)
    }
  }
}
