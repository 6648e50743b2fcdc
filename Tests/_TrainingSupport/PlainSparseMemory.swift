import Buffers
import Codecs

/// What sparse strategies remember of the sum of all ranks' gradients, in plain loops: the changes of each step.
enum PlainSparseMemory {
  /// u ← ρu + g, e ← e + ηu, and the k largest values leave e; momentum is forgotten where they were, or not.
  static func descent(_ gradients: [[Float]], k: Int, momentum: Double, rates: [Float], masks: Bool) -> [[Float]] {
    let count = gradients[0].count
    var (u, e) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: count))
    return zip(gradients, rates).map { gradient, rate in
      for i in 0..<count {
        u[i] = momentum * u[i] + Double(gradient[i])
        e[i] += Double(rate) * u[i]
      }
      var change = [Float](repeating: 0, count: count)
      for i in (0..<count).sorted(by: { (abs(e[$0]), $1) > (abs(e[$1]), $0) }).prefix(k) where e[i] != 0 {
        change[i] = Float(e[i])
        e[i] = 0
        if masks { u[i] = 0 }
      }
      return change
    }
  }

  /// The loop of FetchSGD on one table for each shard: S_u ← ρS_u + S(g), S_e ← S_e + ηS_u for all tables of the window, the heavy
  /// values leave them, and their momentum too where it is masked.
  static func fetchSGD(
    _ gradients: [[Float]], k: [Int], code: SketchCode, zeroes: Bool, window: Int, momentum: Double, rates: [Float], masks: Bool
  ) -> [[Float]] {
    let shards = code.shards
    var changes = gradients.map { [Float](repeating: 0, count: $0.count) }
    for shard in 0..<shards.shardCount {
      let hashes = code.hashes[shard]!
      let count = shards.count(of: shard)
      let u = CountSketch<Double>(hashes)
      let errors = (0..<max(window, 1)).map { _ in CountSketch<Double>(hashes) }
      for (step, rate) in rates.enumerated() {
        u.multiply(by: momentum)
        u.insert((0..<count).map { Double(gradients[step][shards.place(of: $0, in: shard)]) }, count: count)
        for error in errors {
          let share = CountSketch<Double>(hashes)
          share.copy(from: u)
          share.multiply(by: Double(rate))
          error.add(share)
        }
        let oldest = errors[step % errors.count]
        let rounded = CountSketch<Float>(hashes)
        rounded.round(from: oldest)
        let change = rounded.largestEstimates(k[shard], of: count)
        for (index, value) in zip(change.indices.map(Int.init), change.values) {
          changes[step][shards.place(of: index, in: shard)] = value
        }
        let momenta = change.indices.map { Float(u.estimate(at: Int($0))) }
        for (index, value) in zip(change.indices.map(Int.init), change.values) {
          for error in errors { if zeroes { error.clear(at: index) } else { error.insert(-Double(value), at: index) } }
        }
        for (index, value) in zip(change.indices.map(Int.init), momenta) where masks {
          if zeroes { u.clear(at: index) } else { u.insert(-Double(value), at: index) }
        }
        if window > 0 { oldest.clear() }
      }
    }
    return changes
  }

  /// Two rounds on one vector for each shard: u ← ρu + g, v ← v + ηu, candidates by the sketch of v, and the largest of their values.
  static func twoRounds(
    _ gradients: [[Float]], k: [Int], candidates: Int, code: SketchCode, isHeavyMix: Bool, momentum: Float, rates: [Float]
  ) -> [[Float]] {
    let shards = code.shards
    var changes = gradients.map { [Float](repeating: 0, count: $0.count) }
    for shard in 0..<shards.shardCount {
      let count = shards.count(of: shard)
      var (u, v) = ([Float](repeating: 0, count: count), [Float](repeating: 0, count: count))
      for (step, rate) in rates.enumerated() {
        for i in 0..<count {
          u[i] = momentum * u[i] + gradients[step][shards.place(of: i, in: shard)]
          v[i] += rate * u[i]
        }
        let sketch = CountSketch<Float>(code.hashes[shard]!)
        sketch.insert(v, count: count)
        let found =
          isHeavyMix
          ? sketch.heavyMix(candidates * k[shard], of: count, seed: 5, step: step, shard: shard)
          : sketch.largestEstimates(candidates * k[shard], of: count).indices
        for i in found.map(Int.init).sorted(by: { (abs(v[$0]), $1) > (abs(v[$1]), $0) }).prefix(k[shard]) {
          changes[step][shards.place(of: i, in: shard)] = v[i]
          (u[i], v[i]) = (0, 0)
        }
      }
    }
    return changes
  }
}
