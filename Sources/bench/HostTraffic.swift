internal import Collectives
internal import MPI

extension HostMap {
  /// The bytes that leave the busiest host, where every rank says what it sends by messages.
  ///
  /// Collective.
  func bytesLeavingHost(sentByThisRank byteCount: Int) throws -> Int {
    var sums: [Int: Int] = [:]
    let all = try enter("a result") { try world.allGather([Int64(byteCount)]) }
    for (rank, sent) in all.enumerated() { sums[leaders[rank], default: 0] += Int(sent) }
    return sums.values.max() ?? 0
  }
}
