internal import Buffers

/// The weights with which workers mix models, x_i ← Σ_j w_ij x_j: symmetric, and each row sums to 1, exactly.
///
/// Entries are fractions of one denominator, so that what must hold is checked without rounding.
/// Source: algorithms §10.1.
public struct MixingMatrix: Hashable, Sendable {
  /// The denominator of all weights.
  public let denominator: Int
  /// The numerators, by row and column.
  public let numerators: [[Int]]

  /// The number of workers.
  public var count: Int { numerators.count }

  /// A matrix of these fractions; they are checked by ``fault``.
  public init(numerators: [[Int]], denominator: Int) {
    require(
      denominator > 0 && numerators.allSatisfy { $0.count == numerators.count }, "a mixing matrix is a square of fractions")
    (self.numerators, self.denominator) = (numerators, denominator)
  }

  /// The weights of Metropolis for any graph: w_ij = 1/(1 + max(deg i, deg j)) for neighbours, and the rest stays with each worker.
  public init(metropolis graph: GossipGraph) {
    let degrees = graph.neighbours.map(\.count)
    let denominator = Set(degrees.map { $0 + 1 }).reduce(1, leastCommonMultiple)
    numerators = graph.neighbours.indices.map { worker in
      var row = Array(repeating: 0, count: degrees.count)
      for other in graph.neighbours[worker] { row[other] = denominator / (1 + max(degrees[worker], degrees[other])) }
      row[worker] = denominator - row.reduce(0, +)
      return row
    }
    self.denominator = denominator
  }

  /// The weight w_ij.
  public subscript(row: Int, column: Int) -> Double { Double(numerators[row][column]) / Double(denominator) }

  /// The edges with a weight.
  package var graph: GossipGraph {
    GossipGraph(
      count: count, edges: (0..<count).flatMap { row in (0..<row).filter { numerators[row][$0] > 0 }.map { (row, $0) } })
  }

  /// Why workers that mix by it would not agree on their mean; nil if they do.
  public var fault: String? {
    for row in 0..<count {
      guard numerators[row].allSatisfy({ $0 >= 0 }) else { return "worker \(row) has a weight below 0" }
      guard numerators[row].reduce(0, +) == denominator else { return "the weights of worker \(row) do not sum to 1" }
      guard (0..<count).allSatisfy({ numerators[row][$0] == numerators[$0][row] }) else { return "it is not symmetric" }
    }
    let graph = graph
    guard graph.isConnected else { return "some workers never hear of others" }
    // Without a weight of its own somewhere, a graph of two sides exchanges them for ever.
    guard count == 1 || (0..<count).contains(where: { numerators[$0][$0] > 0 }) || !graph.hasTwoSides else {
      return "two sides exchange their models and never agree"
    }
    return nil
  }

  /// max(|λ₂|, |λ_K|): the most that a mixing leaves of the distance from the mean; 0 for one worker.
  ///
  /// It is the largest eigenvalue of W − 11ᵀ/K, found by squaring that.
  public var secondEigenvalue: Double {
    var matrix = (0..<count).map { row in (0..<count).map { self[row, $0] - 1 / Double(count) } }
    // ρ = lim ‖Aⁿ‖^(1/n) for n = 2ᵏ; each square is scaled so that none underflows.
    var (eigenvalue, exponent) = (1.0, 1.0)
    for _ in 0..<24 {
      let norm = matrix.map { $0.map { $0 * $0 }.reduce(0, +) }.reduce(0, +).squareRoot()
      guard norm > 1e-12 else { return 0 }
      eigenvalue *= power(norm, exponent)
      exponent /= 2
      matrix = matrix.map { row in
        (0..<count).map { column in (0..<count).reduce(0) { $0 + row[$1] * matrix[$1][column] } / (norm * norm) }
      }
    }
    return eigenvalue
  }
}

/// The least number that both divide.
func leastCommonMultiple(_ a: Int, _ b: Int) -> Int {
  var (large, small) = (a, b)
  while small > 0 { (large, small) = (small, large % small) }
  return a / large * b
}
