import Buffers

/// All ranks of an exchange in one process, step by step, in plain scalar code.
struct ReferenceExchange {
  let geometry: ReferenceGeometry
  let rankCount: Int
  /// The residual of each rank.
  private(set) var residuals: [[Float]]
  /// The residuals of all owners, one after another.
  private(set) var ownerResidual: [Float]
  /// The groups that each rank sent as zeros.
  private(set) var nonFiniteGroups: [Int]

  init(_ layout: TensorLayout, _ codec: ReferenceCodec, rankCount: Int) {
    geometry = ReferenceGeometry(layout, codec, rankCount: rankCount, isShared: false)
    self.rankCount = rankCount
    let count = layout.count
    residuals = Array(repeating: Array(repeating: 0, count: count), count: rankCount)
    ownerResidual = Array(repeating: 0, count: count)
    nonFiniteGroups = Array(repeating: 0, count: rankCount)
  }

  /// What every rank gets for the gradients of all.
  mutating func run(_ gradients: [[Float]]) -> [Float] {
    precondition(gradients.count == rankCount)
    if rankCount == 1 { return gradients[0] }
    let codec = geometry.codec
    var output = [Float](repeating: 0, count: ownerResidual.count)
    for (owner, shard) in geometry.shards.enumerated() {
      for group in shard.joined().map({ geometry.groups[$0] }) {
        var sum: [Float] = []
        for rank in 0..<rankCount {
          let part = Self.send(
            gradients[rank][group], group, by: codec, leaving: &residuals[rank], failures: &nonFiniteGroups[rank])
          sum = rank == 0 ? part : zip(sum, part).map { $0 + $1 }
        }
        let result = Self.send(
          sum[...], group, by: codec, leaving: &ownerResidual, failures: &nonFiniteGroups[owner])
        output.replaceSubrange(group, with: result)
      }
    }
    return output
  }

  /// What every rank gets where ranks are on `hosts`: the hosts' sums are exchanged as one gradient each.
  mutating func run(_ gradients: [[Float]], hosts: [Int]) -> [Float] {
    var parties: [[Float]] = []
    for host in Set(hosts).sorted(by: { hosts.firstIndex(of: $0)! < hosts.firstIndex(of: $1)! }) {
      let members = gradients.indices.filter { hosts[$0] == host }
      var sum = gradients[members[0]]
      for member in members.dropFirst() { for index in sum.indices { sum[index] += gradients[member][index] } }
      parties.append(sum)
    }
    return run(parties)
  }

  /// What arrives of a group; the rest becomes the residual.
  private static func send(
    _ values: ArraySlice<Float>, _ group: Range<Int>, by codec: ReferenceCodec, leaving residual: inout [Float],
    failures: inout Int
  ) -> [Float] {
    guard let (arrived, rest) = codec.transfer(values, residual: codec == .none ? [] : residual[group]) else {
      failures += 1
      return Array(repeating: 0, count: group.count)
    }
    if !rest.isEmpty { residual.replaceSubrange(group, with: rest) }
    return arrived
  }
}
