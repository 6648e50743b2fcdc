internal import Kernels

extension CountSketch where Cell == Float {
  /// Estimates that are looked at while they are in the cache.
  private static var step: Int { BlockPlaces.mostValues }

  /// The `k` largest estimates of a vector of `count` values, in the order of ``MagnitudeThreshold``: Top_k(U(S)).
  ///
  /// Only those whose pattern is at least `key` are chosen; a sketch of zeros gives none.
  /// - Cost: one estimate per index, which is never stored.
  public func largestEstimates(_ k: Int, of count: Int, atLeast key: UInt32 = 1) -> SparseVector {
    let k = min(k, count)
    let guess = max(key, limitGuess(k, of: count))
    let chosen = estimates(k, of: count, atLeast: guess)
    return chosen.count == k || guess == key ? chosen : estimates(k, of: count, atLeast: key)
  }

  /// What the k-th largest is likely to reach, from the estimates of some blocks.
  private func limitGuess(_ k: Int, of count: Int) -> UInt32 {
    let (length, blocks) = (hashes.blockLength, LimitGuess.sampleCount / hashes.blockLength)
    return LimitGuess.limit(k: k, of: count) { sample in
      for n in 0..<blocks {
        let block = LimitGuess.place(n, of: blocks, below: count / length)
        estimate(sample + n * length, count: length, at: block * length)
      }
    }
  }

  private func estimates(_ k: Int, of count: Int, atLeast key: UInt32) -> SparseVector {
    var selection = LargestMagnitudes(k: k, atLeast: key)
    withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.step) { room in
      let estimates = room.baseAddress!
      for start in stride(from: 0, to: count, by: Self.step) {
        let length = min(Self.step, count - start)
        estimate(estimates, count: length, at: start)
        selection.add(estimates, count: length, at: start)
      }
    }
    return selection.chosen()
  }
}
