internal import Collectives
internal import MPI
import Transport

extension HostMap {
  /// The bytes that leave the busiest host, given the bytes that each rank sends by messages.
  ///
  /// Collective.
  func bytesLeavingHost(sentByThisRank byteCount: Int) throws -> Int {
    var sums: [Int: Int] = [:]
    let all = try enter("a result") { try world.allGather([Int64(byteCount)]) }
    for (rank, sent) in all.enumerated() { sums[leaders[rank], default: 0] += Int(sent) }
    return sums.values.max() ?? 0
  }
}
