internal import Kernels

/// Chooses the k values of largest magnitude of a chunk, in the order of ``MagnitudeThreshold``.
///
/// A limit guessed from a sample leaves a few times k candidates, among which the choice is exact.
/// - Cost: About one read of the chunk, and a few of the candidates.
enum ChunkSelection {
  /// The values of a chunk that are looked at for a limit.
  private static let sampleCount = 256

  /// Writes the chosen values with their indices, ascending, and returns their number: `k`, or fewer if fewer are nonzero.
  ///
  /// There must be room for `count + 16` of each. A value that is not finite is among those chosen, if there is one.
  static func choose(
    _ k: Int, of values: UnsafePointer<Float>, count: Int, indices: UnsafeMutablePointer<UInt32>,
    chosen: UnsafeMutablePointer<Float>
  ) -> Int {
    let guess = limit(k, of: values, count: count)
    var found = selectAtLeast(values, count: count, key: guess, first: 0, indices: indices, selected: chosen)
    if found < k, guess > 1 {
      found = selectAtLeast(values, count: count, key: 1, first: 0, indices: indices, selected: chosen)
    }
    guard found > k else { return found }
    return threshold(of: chosen, count: found, k: k).compact(indices, chosen, count: found)
  }

  /// The threshold of the `k` largest of more than `k` nonzero values.
  private static func threshold(of values: UnsafePointer<Float>, count: Int, k: Int) -> MagnitudeThreshold {
    let (key, reaching) = magnitudeLimit(of: values, count: count, reachedBy: k...k)
    guard reaching > k else { return MagnitudeThreshold(key: key) }
    var larger = 0
    for place in 0..<count where MagnitudeThreshold.key(of: values[place]) > key { larger += 1 }
    return MagnitudeThreshold(key: key, tieCount: k - larger)
  }

  /// A magnitude, as a pattern, that a few times k values are likely to reach; 1 if a sample would not pay off.
  private static func limit(_ k: Int, of values: UnsafePointer<Float>, count: Int) -> UInt32 {
    guard count >= 4 * sampleCount, count < 1 << 31 else { return 1 }
    let expected = Float(k) / Float(count) * Float(sampleCount)
    let rank = Int(expected + 3 * expected.squareRoot() + 3)
    guard rank < sampleCount / 2 else { return 1 }
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: sampleCount) { sample in
      // One anywhere in each equal share, so that no stride in the values meets them all.
      let share = UInt64(count / sampleCount)
      for n in 0..<sampleCount {
        let offset = (UInt64(UInt32(truncatingIfNeeded: n) &* 0x9E37_79B9) &* share) &>> 32
        sample[n] = values[n &* Int(share) &+ Int(offset)]
      }
      let reached = rank...rank + rank / 8
      return max(1, magnitudeLimit(of: sample.baseAddress!, count: sampleCount, reachedBy: reached).key)
    }
  }
}
