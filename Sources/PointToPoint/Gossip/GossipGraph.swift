internal import Buffers

/// Which workers exchange models with which: an undirected graph.
///
/// Source: algorithms §10.1.
public struct GossipGraph: Hashable, Sendable {
  /// The usual graphs of workers in a circle.
  public enum Shape: String, CaseIterable, Sendable {
    /// Neighbours are one place apart.
    case ring
    /// All are neighbours.
    case complete
    /// Neighbours are 1, 2, 4, … places apart.
    case exponential
  }

  /// The neighbours of each worker, in ascending order.
  public let neighbours: [[Int]]

  /// The number of workers.
  public var count: Int { neighbours.count }

  /// A graph of `count` workers with these edges; edges that are named twice, in whatever direction, count once.
  public init(count: Int, edges: some Sequence<(Int, Int)>) {
    require(count > 0, "a graph has workers")
    var neighbours = Array(repeating: Set<Int>(), count: count)
    for (a, b) in edges {
      require((0..<count).contains(a) && (0..<count).contains(b) && a != b, "no edge \(a)-\(b) among \(count) workers")
      neighbours[a].insert(b)
      neighbours[b].insert(a)
    }
    self.neighbours = neighbours.map { $0.sorted() }
  }

  /// A graph of `count` workers in a circle, whose neighbours are `distances` places away.
  public init(count: Int, distances: [Int]) {
    let edges = (0..<count).flatMap { worker in distances.map { (worker, (worker + $0) % count) } }
    self.init(count: count, edges: edges.filter { $0.0 != $0.1 })
  }

  /// A graph of `count` workers of a usual shape.
  public init(_ shape: Shape, count: Int) {
    self.init(count: count, distances: GossipGraph.distances(shape, count: count))
  }

  /// A graph of `count` workers on a torus of rows and columns, as square as their number allows; neighbours are next to each other in a
  /// row or in a column.
  ///
  /// Of a prime number of workers it is a ring.
  package init(torusOf count: Int) {
    let rows = (1...count).last { $0 * $0 <= count && count % $0 == 0 } ?? 1
    let columns = count / rows
    let edges = (0..<count).flatMap { worker in
      let (row, column) = worker.quotientAndRemainder(dividingBy: columns)
      return [(worker, row * columns + (column + 1) % columns), (worker, (row + 1) % rows * columns + column)]
    }
    self.init(count: count, edges: edges.filter { $0.0 != $0.1 })
  }

  /// How many places apart neighbours are, up to half the circle.
  private static func distances(_ shape: Shape, count: Int) -> [Int] {
    switch shape {
    case .ring: [1]
    case .complete: count < 2 ? [] : Array(1...count / 2)
    case .exponential: Array(sequence(first: 1) { 2 * $0 }.prefix { $0 <= count / 2 })
    }
  }

  /// Whether every worker can be reached from every other.
  public var isConnected: Bool {
    var reached: Set<Int> = [0]
    var open = [0]
    while let worker = open.popLast() {
      for neighbour in neighbours[worker] where reached.insert(neighbour).inserted { open.append(neighbour) }
    }
    return reached.count == count
  }

  /// Whether the workers have two sides, such that all edges lead from one to the other.
  public var hasTwoSides: Bool {
    var sides = Array(repeating: Int?.none, count: count)
    for start in 0..<count where sides[start] == nil {
      sides[start] = 0
      var open = [start]
      while let worker = open.popLast() {
        for neighbour in neighbours[worker] {
          if sides[neighbour] == nil { open.append(neighbour) }
          guard sides[neighbour] ?? (1 - sides[worker]!) != sides[worker]! else { return false }
          sides[neighbour] = 1 - sides[worker]!
        }
      }
    }
    return true
  }
}
