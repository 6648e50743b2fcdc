import Buffers
import Codecs

/// Sums with shared scales in one place, group by group and value by value: signs, or a grid of ±m rounded to the nearest or at random.
struct SharedScaleReference {
  /// The groups, all of which are coded.
  let groups: [(range: Range<Int>, tensor: Int, index: Int)]
  let rankCount: Int
  /// m; nil for signs.
  let levels: Int?
  let isStochastic: Bool
  let seed: UInt64
  /// e of each rank.
  var residuals: [[Float]]

  init(_ layout: TensorLayout, _ grouping: Grouping, rankCount: Int, levels: Int?, isStochastic: Bool, seed: UInt64) {
    (self.rankCount, self.levels, self.isStochastic, self.seed) = (rankCount, levels, isStochastic, seed)
    let ranges = grouping.groups(of: layout)
    groups = ranges.map { range in
      let tensor = layout.tensors.firstIndex { $0.range.contains(range.lowerBound) }!
      return (
        range, tensor, ranges.count { layout.tensors[tensor].range.contains($0.lowerBound) && $0.lowerBound < range.lowerBound }
      )
    }
    residuals = Array(repeating: Array(repeating: 0, count: layout.count), count: rankCount)
  }

  /// The scale of a group by itself.
  private func scale(_ v: [Float]) -> Float {
    if levels != nil { return v.reduce(0) { max($0, $1.magnitude) } }
    return Float(v.reduce(0.0) { $0 + Double($1.magnitude) } / Double(v.count))
  }

  /// The integer of a value.
  private func integer(_ v: Float, _ scale: Float, _ u: Float) -> Float {
    guard let levels else { return v >= 0 ? 1 : -1 }
    let place = min(v.magnitude / scale * Float(levels), Float(levels))
    let below = place.rounded(.down)
    let number = isStochastic ? below + (u < place - below ? 1 : 0) : place.rounded(.toNearestOrEven)
    return v < 0 ? -number : number
  }

  /// Σ q and s of each group, from the gradients of all ranks; what is lost stays in the residuals, unless it is rounded at random.
  mutating func sums(_ gradients: [[Float]], step: Int) -> (sums: [Float], scales: [Float]) {
    var (sums, scales): ([Float], [Float]) = (Array(repeating: 0, count: gradients[0].count), [])
    for group in groups {
      let v = (0..<rankCount).map { rank in group.range.map { (gradients[rank][$0] + residuals[rank][$0]) + 0 } }
      let own = v.map(scale)
      let present = own.filter { $0 > 0 }
      let shared = (levels == nil ? present.min() : present.max()) ?? 0
      scales.append(shared)
      for rank in 0..<rankCount {
        let numbers = EncodingContext(
          seed: seed, step: step, stream: CodeStreams().contributions(of: rank), tensor: group.tensor, group: group.index
        ).random(.stochasticRounding)
        for (offset, i) in group.range.enumerated() {
          let q = own[rank] > 0 ? integer(v[rank][offset], shared, numbers.uniform(offset)) : 0
          sums[i] += q
          residuals[rank][i] = isStochastic ? 0 : own[rank] > 0 ? v[rank][offset] - (value(q, shared) + 0) : v[rank][offset]
        }
      }
    }
    return (sums, scales)
  }

  /// What a whole number stands for.
  func value(_ number: Float, _ scale: Float) -> Float { (number * (1 / Float(levels ?? 1))) * scale }

  /// The sums as they arrive if they are exact.
  mutating func run(_ gradients: [[Float]], step: Int) -> [Float] {
    var (sums, scales) = sums(gradients, step: step)
    for (group, scale) in zip(groups, scales) { for i in group.range { sums[i] = value(sums[i], scale) } }
    return sums
  }
}
