extension CountSketch where Cell == Float {
  /// Estimates that are looked at while they are in the cache.
  private static var step: Int { 32 * SketchHashes.blockLength }

  /// The `k` largest estimates of a vector of `count` values, in the order of ``MagnitudeThreshold``: Top_k(U(S)).
  ///
  /// A sketch of zeros gives none.
  /// - Cost: one estimate per index, which is never stored.
  public func largestEstimates(_ k: Int, of count: Int, atLeast key: UInt32 = 1) -> SparseVector {
    var selection = LargestMagnitudes(k: min(k, count), atLeast: key)
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
