internal import Buffers

extension CountSketch where Cell == Float {
  /// Candidates for the `k` largest values of a vector of `count` values: the estimated heavy ones, filled up at random.
  ///
  ///     H = {i : x̂_i² ≥ ℓ̂²/k}      ℓ̂² the sketch's estimate of ‖x‖²
  ///     more than k of them          the k largest, in the order of ``MagnitudeThreshold``
  ///     fewer                        and k − |H| of the others, each set of these equally likely
  ///     k ≥ count                    every index
  ///     ℓ̂² = 0                       none
  ///
  /// The random ones make the choice a contraction by k/count even if nothing is heavy, provided that the exact values of the
  /// candidates are fetched afterwards; their estimates are mostly noise. Every value with x_i² ≥ 2‖x‖²/k is in H if the
  /// estimates are accurate enough, which needs about 140 k columns.
  ///
  /// The other arguments are the address of the random numbers: ranks that pass the same ones make the same choice.
  ///
  /// - Returns: The indices, ascending.
  /// - Cost: One estimate per index, and one random number per index if the choice is filled up.
  ///
  /// Source: Ivkin et al. 2019, "Communication-efficient distributed SGD with sketching", algorithm 1, made total; algorithms
  /// §2.5.
  public func heavyMix(_ k: Int, of count: Int, seed: UInt64, step: Int = 0, bucket: Int = 0, shard: Int = 0) -> [UInt32] {
    require(k >= 0, "a choice of \(k) values")
    if k >= count { return (0..<UInt32(count)).map { $0 } }
    let energy = squaredNorm()
    guard k > 0, energy > 0 else { return [] }
    let heavy = largestEstimates(k, of: count, atLeast: Self.key(ofSquareAtLeast: energy / Double(k))).indices
    let random = Philox(seed: seed, purpose: .heavyMixFill, step: step, stream: shard)
    return (heavy + drawn(k - heavy.count, of: count, outside: heavy) { random.words(quad: $0, tensor: bucket) }).sorted()
  }

  /// The pattern of the smallest magnitude whose square is at least `square`.
  private static func key(ofSquareAtLeast square: Double) -> UInt32 {
    var magnitude = Float(square.squareRoot())
    while Double(magnitude) * Double(magnitude) < square, magnitude.isFinite { magnitude = magnitude.nextUp }
    while magnitude > 0, Double(magnitude.nextDown) * Double(magnitude.nextDown) >= square { magnitude = magnitude.nextDown }
    return max(1, magnitude.bitPattern)
  }
}

/// `number` of the indices 0..<count that are not in `excluded` (ascending), each set equally likely: those with the smallest
/// random 64-bit keys; ties go to the lowest index.
private func drawn(
  _ number: Int, of count: Int, outside excluded: [UInt32], _ words: (Int) -> SIMD4<UInt32>
) -> [UInt32] {
  guard number > 0 else { return [] }
  // Keys below this bound almost certainly suffice; the choice does not depend on it.
  var expected = Double(number) + 6 * Double(number).squareRoot() + 16
  while true {
    let share = min(1, expected / Double(count - excluded.count))
    let bound = share < 1 ? UInt64(share * 0x1p64) : .max
    var candidates: [(key: UInt64, index: UInt32)] = []
    var next = 0
    for index in 0..<UInt32(count) {
      if next < excluded.count, excluded[next] == index {
        next += 1
        continue
      }
      let four = words(Int(index))
      let key = UInt64(four[0]) << 32 | UInt64(four[1])
      if key <= bound { candidates.append((key, index)) }
    }
    if candidates.count >= number {
      return candidates.sorted { ($0.key, $0.index) < ($1.key, $1.index) }.prefix(number).map(\.index)
    }
    expected *= 2
  }
}
