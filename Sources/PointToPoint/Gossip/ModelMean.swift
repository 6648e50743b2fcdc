package import Buffers
internal import Kernels
internal import MPI
package import Transport

/// The mean of the models of workers, on every rank, and how far they are from it.
///
/// The owner of each shard adds the values of all workers in the order of their numbers, in fp64: the bits do not depend on the number of ranks,
/// and the mean of equal models is that model.
/// - Cost: a rank sends the models of its workers to the owners of shards, its shard of the mean to all others, and 8 bytes of each worker's
///   distance.
package final class ModelMean {
  /// Room for a shard of each worker, or for the models of this rank's workers: free between means.
  let memory: FloatBuffer
  /// The traffic counted so far.
  package private(set) var traffic = Traffic()

  private let hosts: HostMap
  private let localCount: Int
  private let shards: [Range<Int>]

  /// Prepares means of `localCount` models of each rank; worker w is on rank w mod ranks.
  package init(_ hosts: HostMap, localCount: Int, count: Int) {
    (self.hosts, self.localCount) = (hosts, localCount)
    shards = Partition(count: count, into: hosts.world.count).ranges
    let largest = shards.map(\.count).max() ?? 0
    memory = FloatBuffer(count: max(localCount * count, localCount * hosts.world.count * largest))
  }

  /// Sets `result` to the mean of `models` and of those of the other ranks; returns the mean of ‖x_i − x̄‖² over all workers, in which
  /// x_i are the models `shown` if there are any.
  ///
  /// Collective.
  package func take(_ models: [FloatBuffer], into result: FloatBuffer, shown: [FloatBuffer]? = nil) throws -> Double {
    let (rank, rankCount) = (hosts.world.rank, hosts.world.count)
    let (size, shardBytes) = (shards[rank].count, shards.map { 4 * $0.count })
    let distances = try hosts.enter("the mean of the workers' models") {
      for (local, model) in models.enumerated() {
        try hosts.world.allToAll(
          varying: UnsafeBufferPointer(model.values), ranges: shards, into: memory.values,
          ranges: (0..<rankCount).map { (local * rankCount + $0) * size..<(local * rankCount + $0 + 1) * size })
        traffic.add(sent: shardBytes, received: Array(repeating: 4 * size, count: rankCount), on: hosts)
      }
      let terms = (0..<localCount * rankCount).map { UnsafePointer(memory.baseAddress + $0 * size) }
      for index in 0..<size {
        let sum = terms.reduce(0.0) { $0 + Double($1[index]) }
        result.baseAddress[shards[rank].lowerBound + index] = Float(sum / Double(terms.count))
      }
      try hosts.world.allGather(varying: nil, into: result.values, ranges: shards)
      traffic.addGather(shardBytes, on: hosts)
      let own = (shown ?? models).map { squaredDistance(of: $0, to: result) }
      traffic.addGather(Array(repeating: 8 * own.count, count: rankCount), on: hosts)
      return try hosts.world.allGather(own)
    }
    let sum = (0..<localCount * rankCount).reduce(0.0) { $0 + distances[$1 % rankCount * localCount + $1 / rankCount] }
    return sum / Double(localCount * rankCount)
  }

  /// ‖a − b‖², of differences in fp32.
  private func squaredDistance(of a: FloatBuffer, to b: FloatBuffer) -> Double {
    let difference = memory.values(in: 0..<a.count)
    for index in 0..<a.count { difference[index] = a.baseAddress[index] - b.baseAddress[index] }
    return FixedLanes.sumOfSquares(UnsafeBufferPointer(difference))
  }

  /// The traffic of a mean on this rank, by the format alone.
  package var predictedTraffic: Traffic {
    let (own, distances) = (shards[hosts.world.rank].count, 8 * localCount)
    var traffic = Traffic()
    for (rank, insideHost) in hosts.insideHost.enumerated() where rank != hosts.world.rank {
      traffic.addSent(4 * (localCount * shards[rank].count + own) + distances, insideHost: insideHost)
      traffic.addReceived(4 * (localCount * own + shards[rank].count) + distances, insideHost: insideHost)
      traffic.messagesSent += localCount + 2
    }
    return traffic
  }
}
