import Buffers
import Codecs
import Collectives

/// All ranks of an exchange by a test codec, in plain scalar code, on the shards and routes of the exchange.
struct VaryingReference {
  let codec: any ComparableCodec
  let layout: TensorLayout
  let geometry: ExchangeGeometry
  let routes: ExchangeRoutes
  let seed: UInt64
  private(set) var residuals: [[Float]]
  private var ownerResidual: [Float]
  /// By owner: the bytes of each contributor's codes, and those of the sum.
  private var contributed: [[Int: Int]]
  private var summed: [Int]
  private var steps = 0
  /// By group: its tensor, and its number there.
  private let addresses: [(tensor: Int, number: Int)]

  init(
    _ codec: any ComparableCodec, _ layout: TensorLayout, _ geometry: ExchangeGeometry, _ routes: ExchangeRoutes, seed: UInt64
  ) {
    (self.codec, self.layout, self.geometry, self.routes, self.seed) = (codec, layout, geometry, routes, seed)
    residuals = Array(repeating: Array(repeating: 0, count: layout.count), count: routes.rankCount)
    ownerResidual = residuals[0]
    contributed = Array(repeating: [:], count: routes.rankCount)
    summed = Array(repeating: 0, count: routes.rankCount)
    var next = Array(repeating: 0, count: layout.tensors.count)
    addresses = geometry.groupStarts.dropLast().map { start in
      let tensor = layout.tensors.firstIndex { $0.range.contains(start) }!
      next[tensor] += 1
      return (tensor, next[tensor] - 1)
    }
  }

  mutating func run(_ gradients: [[Float]], step: Int) -> [Float] {
    steps += 1
    if gradients.count == 1 { return gradients[0] }
    var output = [Float](repeating: .nan, count: layout.count)
    for (owner, segments) in geometry.segments.enumerated() {
      for group in segments.flatMap({ Array($0.groups) }) {
        let range = geometry.groupStarts[group]..<geometry.groupStarts[group + 1]
        var sum: [Float] = []
        for contributor in routes.contributors(toShard: owner) {
          var own: [Float] = []
          for member in routes.parties[routes.partyOfRank[contributor]] {
            let part = Array(gradients[member][range])
            own = own.isEmpty ? part : zip(own, part).map { $0 + $1 }
          }
          let byteCount = send(&own, group, step: step, stream: 2 * contributor, leaving: &residuals[contributor])
          contributed[owner][contributor, default: 0] += byteCount
          sum = sum.isEmpty ? own : zip(sum, own).map { $0 + $1 }
        }
        summed[owner] += send(&sum, group, step: step, stream: 2 * owner + 1, leaving: &ownerResidual)
        output.replaceSubrange(range, with: sum)
      }
    }
    return output
  }

  /// Replaces values by what arrives of them; returns the bytes sent.
  private func send(
    _ values: inout [Float], _ group: Int, step: Int, stream: Int, leaving residual: inout [Float]
  ) -> Int {
    let range = geometry.groupStarts[group]..<geometry.groupStarts[group + 1]
    let raw = 4 * values.count
    let most = codec.codeByteCount(of: values.count) + (codec.hasVaryingLength ? 4 : 0)
    if raw <= most {
      values = zip(values, residual[range]).map { ($0 + $1) + 0 }
      for index in range { residual[index] = 0 }
      return raw
    }
    let (tensor, number) = addresses[group]
    let random = Philox(seed: seed, purpose: .stochasticRounding, step: step, stream: stream)
    let v = zip(values, residual[range]).map { $0 + $1 }
    let (byteCount, arrived, rest) = codec.transfer(v) { random.words(quad: (number << 16) + $0 / 4, tensor: tensor)[$0 % 4] }!
    values = arrived
    residual.replaceSubrange(range, with: rest)
    return codec.hasVaryingLength ? 4 + (byteCount + 3) / 4 * 4 : byteCount
  }

  /// The bytes that a rank sent and received so far, in a flat exchange.
  func bytes(of rank: Int) -> (sent: Int, received: Int) {
    var (sent, received) = (0, 0)
    for owner in 0..<routes.rankCount where routes.rankCount > 1 {
      let headers = 64 * geometry.segments[owner].count * steps
      for peer in 0..<routes.rankCount where peer != owner {
        let header = routes.areOnOneHost(peer, owner) ? 0 : headers
        let (up, down) = ((contributed[owner][peer] ?? 0) + header, summed[owner] + header)
        if peer == rank { (sent, received) = (sent + up, received + down) }
        if owner == rank { (sent, received) = (sent + down, received + up) }
      }
    }
    return (sent, received)
  }
}
