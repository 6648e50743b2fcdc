package import MPI

extension HostMap {
  /// The values of all ranks, equally many of each, concatenated; collective, and counted in `traffic`.
  package func gather<T: Datatype>(_ own: [T], activity: String, counting traffic: inout Traffic) throws -> [T] {
    let all = try enter(activity) { try world.allGather(own) }
    traffic.addGather(Array(repeating: MemoryLayout<T>.stride * own.count, count: world.count), on: self)
    return all
  }

  /// The values of each rank, of any number; collective, and counted in `traffic`.
  package func gather<T: Datatype>(varying own: [T], activity: String, counting traffic: inout Traffic) throws -> [[T]] {
    let all = try enter(activity) { try world.allGather(varying: own) }
    // The numbers cross first.
    traffic.addGather(Array(repeating: MemoryLayout<Int>.stride, count: world.count), on: self)
    traffic.addGather(all.map { MemoryLayout<T>.stride * $0.count }, on: self)
    return all
  }
}

extension Traffic {
  /// Counts a gather of blocks of these bytes, by rank: that of this rank goes to each of the others.
  package mutating func addGather(_ blocks: [Int], on hosts: HostMap) {
    add(sent: Array(repeating: blocks[hosts.world.rank], count: blocks.count), received: blocks, on: hosts)
  }

  /// Counts a collective call in which this rank sends a block to each other rank and receives one: their bytes, by rank.
  package mutating func add(sent: [Int], received: [Int], on hosts: HostMap) {
    for (rank, insideHost) in hosts.insideHost.enumerated() where rank != hosts.world.rank {
      addSent(sent[rank], insideHost: insideHost)
      addReceived(received[rank], insideHost: insideHost)
      messagesSent += 1
    }
  }
}
