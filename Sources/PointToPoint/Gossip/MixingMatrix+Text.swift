internal import Buffers

/// What is wrong with the text of a graph, in one sentence without a full stop.
package struct GossipTextError: Error, Hashable, CustomStringConvertible {
  package let description: String
}

extension MixingMatrix {
  /// Reads the edges of a graph of `count` workers: a line for each, `0 1`, or with its weight, `0 1 1/4`.
  ///
  /// A weight is a fraction or a decimal number, and holds in both directions; what the weights of a worker leave of 1 is its own. Without
  /// weights, all are those of Metropolis. Empty lines, and what follows a `#`, are left out; an edge stands once.
  package init(text: String, workerCount count: Int) throws(GossipTextError) {
    var weights: [Edge: Fraction?] = [:]
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      func fault(_ sentence: String) -> GossipTextError { GossipTextError(description: "line \(index + 1): \(sentence)") }
      let words = line.prefix { $0 != "#" }.split { $0.isWhitespace }
      guard !words.isEmpty else { continue }
      let ends = words.prefix(2).compactMap { Int($0) }
      guard (2...3).contains(words.count), ends.count == 2 else {
        throw fault("an edge is two workers, such as '0 1', or two and a weight, such as '0 1 1/4'")
      }
      guard ends.allSatisfy((0..<count).contains), ends[0] != ends[1] else {
        throw fault("there is no edge from \(ends[0]) to \(ends[1]) among \(count) workers, 0 to \(count - 1)")
      }
      let weight = words.count == 3 ? Fraction(words[2]) : nil
      guard words.count == 2 || weight != nil else {
        throw fault("a weight is a fraction or a decimal number above 0 and up to 1, not '\(words[2])'")
      }
      let edge = Edge(ends[0], ends[1])
      guard weights.updateValue(weight, forKey: edge) == nil else {
        throw fault("the edge from \(edge.low) to \(edge.high) stands there twice")
      }
    }
    let known = weights.values.compactMap { $0 }
    guard known.isEmpty || known.count == weights.count else {
      throw GossipTextError(description: "some edges have a weight and others none; give all of them one, or none")
    }
    let graph = GossipGraph(count: count, edges: weights.keys.map { ($0.low, $0.high) })
    self = known.isEmpty ? MixingMatrix(metropolis: graph) : try MixingMatrix(weights.mapValues { $0! }, count: count)
    if let fault { throw GossipTextError(description: fault) }
  }

  /// The matrix of these weights, each for both directions; what they leave of 1 is a worker's own.
  private init(_ weights: [Edge: Fraction], count: Int) throws(GossipTextError) {
    var denominator = 1
    for weight in weights.values {
      denominator = leastCommonMultiple(denominator, weight.denominator)
      guard denominator <= 1 << 24 else {
        throw GossipTextError(description: "the weights have no common denominator up to \(1 << 24)")
      }
    }
    var numerators = Array(repeating: Array(repeating: 0, count: count), count: count)
    for (edge, weight) in weights {
      let numerator = weight.numerator * (denominator / weight.denominator)
      (numerators[edge.low][edge.high], numerators[edge.high][edge.low]) = (numerator, numerator)
    }
    for worker in 0..<count {
      numerators[worker][worker] = denominator - numerators[worker].reduce(0, +)
      guard numerators[worker][worker] >= 0 else {
        throw GossipTextError(description: "the weights of worker \(worker) sum to more than 1")
      }
    }
    self.init(numerators: numerators, denominator: denominator)
  }
}

/// Two workers, whichever is named first.
private struct Edge: Hashable {
  let low: Int
  let high: Int

  init(_ a: Int, _ b: Int) { (low, high) = (min(a, b), max(a, b)) }
}

/// A number above 0 and up to 1 whose denominator is at most 2²⁴.
private struct Fraction {
  let numerator: Int
  let denominator: Int

  /// Reads `1/3` or `0.25`; nil if it is neither.
  init?(_ text: Substring) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let (over, under): (Int, Int)
    if parts.count == 2, let first = Int(parts[0]), let second = Int(parts[1]) {
      (over, under) = (first, second)
    } else {
      let digits = text.split(separator: ".", omittingEmptySubsequences: false)
      guard digits.count <= 2, text.allSatisfy({ "0123456789.".contains($0) }), text.count <= 9, let whole = Int(digits[0])
      else { return nil }
      let rest = digits.count == 2 ? digits[1] : ""
      under = rest.reduce(1) { scale, _ in 10 * scale }
      over = whole * under + (Int(rest) ?? 0)
    }
    guard over > 0, over <= under, under <= 1 << 24 else { return nil }
    let common = leastCommonMultiple(over, under)
    (numerator, denominator) = (common / under, common / over)
  }
}
