import MPI

/// Deep gradient compression of all ranks in one place.
struct DeepGradientCompressionReference {
  let (k, ramp, momentum, masks): (Int, Int, Float, Bool)
  var clip: Double?
  var (u, v): ([[Float]], [[Float]])
  var exchanges = 0

  init(_ count: Int, k: Int, ramp: Int = 0, momentum: Float = 0, masks: Bool = true, clip: Double? = nil) {
    (self.k, self.ramp, self.momentum, self.masks, self.clip) = (k, ramp, momentum, masks, clip)
    u = Array(repeating: Array(repeating: 0, count: count), count: allRanks.count)
    v = u
  }

  /// The shares 1/4, 1/16, … of `count` values that are more than k, for equal times, then k.
  static func sent(_ exchange: Int, of count: Int, k: Int, ramp: Int) -> Int {
    var shares: [Int] = []
    var share = Double(count) / 4
    while share.rounded(.up) > Double(k) {
      shares.append(Int(share.rounded(.up)))
      share /= 4
    }
    guard exchange < ramp, !shares.isEmpty else { return k }
    return shares[exchange * shares.count / ramp]
  }

  mutating func run(_ gradients: [[Float]], rate: Float) -> [Float] {
    let count = gradients[0].count
    let k = Self.sent(exchanges, of: count, k: k, ramp: ramp)
    var sum = [Float](repeating: 0, count: count)
    for (rank, gradient) in gradients.enumerated() {
      var factor: Float = 1
      if let clip {
        let (norm, limit) = (
          gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot(), clip / Double(gradients.count).squareRoot()
        )
        if norm > limit { factor = Float(limit / norm) }
      }
      for i in 0..<count {
        u[rank][i] = momentum * u[rank][i] + factor * gradient[i]
        v[rank][i] += rate * u[rank][i]
      }
      let own = v[rank]
      let order = own.indices.sorted { (own[$0].magnitude, -$0) > (own[$1].magnitude, -$1) }
      for i in order.prefix(k) where own[i] != 0 {
        sum[i] += own[i]
        v[rank][i] = 0
        if masks { u[rank][i] = 0 }
      }
    }
    exchanges += 1
    return sum
  }

  /// The gradients of all ranks in a step: multiples of 2⁻⁸, a few of them large, so that norms are exact.
  static func gradients(_ count: Int, step: Int) -> [[Float]] {
    (0..<allRanks.count).map { rank in
      var random = SplitMix(417, step, rank)
      return (0..<count).map { _ in
        let word = random.next()
        return Float(Int(word % 2001) - 1000) / 256 * (word >> 40 % 20 == 0 ? 16 : 1)
      }
    }
  }
}
