package import MPI

extension HostMap {
  /// The values of all ranks, equally many of each, concatenated; collective, and counted in `traffic`.
  package func gather<T: Datatype>(_ own: [T], activity: String, counting traffic: inout Traffic) throws -> [T] {
    let all = try enter(activity) { try world.allGather(own) }
    traffic.addGather(Array(repeating: MemoryLayout<T>.stride * own.count, count: world.count), of: world.rank)
    return all
  }

  /// The values of each rank, of any number; collective, and counted in `traffic`.
  package func gather<T: Datatype>(varying own: [T], activity: String, counting traffic: inout Traffic) throws -> [[T]] {
    let all = try enter(activity) { try world.allGather(varying: own) }
    // The numbers cross first.
    traffic.addGather(Array(repeating: MemoryLayout<Int>.stride, count: world.count), of: world.rank)
    traffic.addGather(all.map { MemoryLayout<T>.stride * $0.count }, of: world.rank)
    return all
  }
}

extension Traffic {
  /// Counts a gather of blocks of these bytes, by rank, in which `rank` takes part: its own goes to each of the others.
  package mutating func addGather(_ blocks: [Int], of rank: Int) {
    add(sent: Array(repeating: blocks[rank], count: blocks.count), received: blocks, of: rank)
  }

  /// Counts a collective call in which `rank` sends a block to each other rank and receives one: their bytes, by rank.
  package mutating func add(sent: [Int], received: [Int], of rank: Int) {
    networkBytesSent += sent.reduce(0, +) - sent[rank]
    networkBytesReceived += received.reduce(0, +) - received[rank]
    messagesSent += sent.count - 1
  }
}
