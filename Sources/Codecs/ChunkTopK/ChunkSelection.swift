internal import Kernels

/// Chooses the k values of largest magnitude of a chunk, in the order of ``MagnitudeThreshold``.
///
/// A limit guessed from a sample leaves a few times k candidates, among which the choice is exact.
/// - Cost: About one read of the chunk, and a few of the candidates.
enum ChunkSelection {
  /// The values of a chunk that are looked at for a limit.
  private static let sampleCount = 256
  /// The most values among which the threshold is found by parting them; more are counted by their digits.
  private static let mostParted = 512

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
    let threshold = threshold(of: chosen, count: found, k: k)
    var (kept, ties) = (0, threshold.tieCount)
    for place in 0..<found {
      let key = MagnitudeThreshold.key(of: chosen[place])
      if key == threshold.key { ties -= 1 }
      // Written in any case, so that nothing depends on an unpredictable branch.
      indices[kept] = indices[place]
      chosen[kept] = chosen[place]
      kept += key > threshold.key || key == threshold.key && ties >= 0 ? 1 : 0
    }
    return kept
  }

  /// The threshold of the `k` largest of more than `k` nonzero values.
  private static func threshold(of values: UnsafePointer<Float>, count: Int, k: Int) -> MagnitudeThreshold {
    guard count <= mostParted else { return MagnitudeThreshold(of: values, count: count, k: k) }
    return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: mostParted) { keys in
      for place in 0..<count { keys[place] = MagnitudeThreshold.key(of: values[place]) }
      let (key, tieCount) = kthLargest(k, of: keys.baseAddress!, count: count)
      return MagnitudeThreshold(key: key, tieCount: tieCount)
    }
  }

  /// A magnitude, as a pattern, that a few times k values are likely to reach; 1 if a sample would not pay off.
  private static func limit(_ k: Int, of values: UnsafePointer<Float>, count: Int) -> UInt32 {
    guard count >= 4 * sampleCount, count < 1 << 31 else { return 1 }
    let expected = Float(k) / Float(count) * Float(sampleCount)
    let rank = Int(expected + 3 * expected.squareRoot() + 3)
    guard rank < sampleCount / 2 else { return 1 }
    return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: sampleCount) { keys in
      // One anywhere in each equal share, so that no stride in the values meets them all.
      let share = UInt64(count / sampleCount)
      for n in 0..<sampleCount {
        let offset = (UInt64(UInt32(truncatingIfNeeded: n) &* 0x9E37_79B9) &* share) &>> 32
        keys[n] = MagnitudeThreshold.key(of: values[n &* Int(share) &+ Int(offset)])
      }
      return max(1, kthLargest(rank, of: keys.baseAddress!, count: sampleCount).key)
    }
  }

  /// The k-th largest of `count` keys, and how many of the k largest are equal to it; moves the keys.
  ///
  /// Source: Hoare 1961, "Find", with three parts.
  private static func kthLargest(
    _ k: Int, of keys: UnsafeMutablePointer<UInt32>, count: Int
  ) -> (key: UInt32, tieCount: Int) {
    var (low, high, wanted) = (0, count, k)
    while true {
      let (first, middle, last) = (keys[low], keys[(low + high) / 2], keys[high - 1])
      let pivot = max(min(first, middle), min(max(first, middle), last))
      // Larger ones lie before `above`, equal ones before `next`, smaller ones from `below` on.
      var (above, next, below) = (low, low, high)
      while next < below {
        let key = keys[next]
        if key > pivot {
          (keys[next], keys[above]) = (keys[above], key)
          above += 1
          next += 1
        } else if key == pivot {
          next += 1
        } else {
          below -= 1
          (keys[next], keys[below]) = (keys[below], key)
        }
      }
      if wanted <= above - low {
        high = above
      } else if wanted <= below - low {
        return (pivot, wanted - (above - low))
      } else {
        wanted -= below - low
        low = below
      }
    }
  }
}
