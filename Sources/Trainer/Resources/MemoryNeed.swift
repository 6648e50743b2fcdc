package import Buffers
package import Checkpoints
internal import Codecs
internal import Collectives
internal import MPI
internal import Optimizers
internal import Transport

/// The memory that a run is known to need before it begins: everything the size of the model or the data set.
///
/// It is a lower bound: what is not counted here is small, or checked where it is allocated. Ranks that cannot have it fail
/// together, before anything is written and before arrays grow whose allocation cannot fail cleanly.
package struct MemoryNeed {
  /// The parts, each with its name.
  package private(set) var parts: [(name: String, byteCount: Int)] = []
  /// The bytes that other ranks of the host own, and this one maps.
  package var mappedByteCount = 0
  /// The bytes of this rank that others map.
  package var sharedByteCount = 0

  /// An empty need.
  package init() {}

  /// Adds `count` values of `size` bytes.
  package mutating func add(_ name: String, _ count: Int, of size: Int = 4) { parts.append((name, count * size)) }

  /// The bytes of all parts together.
  package var byteCount: Int { parts.reduce(0) { $0 + $1.byteCount } }

  /// Throws if one of the limits, those of this process by default, leaves less.
  package func checkLimits(_ limits: [MemoryLimit] = MemoryLimit.all) throws(OutOfMemory) {
    for limit in limits {
      var counted = self
      // What ranks share is data of none of them, but all of it takes addresses.
      if limit.kind == .addressSpace && mappedByteCount > 0 { counted.add("memory of other ranks", mappedByteCount, of: 1) }
      let need = counted.byteCount - (limit.kind == .data ? sharedByteCount : 0)
      guard need > limit.left else { continue }
      throw OutOfMemory("not enough memory: \(counted.sentence), and \(limit.sentence)")
    }
  }

  /// Throws on all ranks if one exceeds its limits, or the ranks of a host together exceed the host's free memory.
  ///
  /// Collective.
  package func check(over agreement: Agreement) throws {
    let host = agreement.world.processorName
    let needs = try agreement.gather([UInt64(byteCount), XXHash64.hash(host)])
    try together(agreement, otherwise: .inputOutput) {
      try checkLimits()
      let neighbours = needs.filter { $0[1] == XXHash64.hash(host) }
      let total = neighbours.reduce(0) { $0 + Int($1[0]) }
      guard let available = HostResources.availableMemory, total > available else { return }
      let ranks = neighbours.count == 1 ? "" : ", the \(neighbours.count) ranks on \(host) need \(MemoryLimit.text(total))"
      throw OutOfMemory(
        "not enough memory: \(sentence)\(ranks), and \(MemoryLimit.text(available)) are free; a smaller model or fewer ranks on a "
          + "host need less")
    }
  }

  /// Why the ranks cannot share memory, a sentence without a full stop; nil if every host has enough for it.
  ///
  /// Collective; the same on all ranks.
  package func obstacleToSharing(over agreement: Agreement) throws -> String? {
    let host = XXHash64.hash(agreement.world.processorName)
    let all = try agreement.gather([UInt64(sharedByteCount), UInt64(SharedWindow.availableByteCount), host])
    for rank in all.indices {
      let neighbours = all.filter { $0[2] == all[rank][2] }
      let total = neighbours.reduce(0) { $0 + Int($1[0]) }
      guard total > Int(all[rank][1]) else { continue }
      return "the \(neighbours.count) ranks of a host would share \(MemoryLimit.text(total)), and rank \(rank) finds "
        + "\(MemoryLimit.text(Int(all[rank][1]))) in /dev/shm: all exchange by messages, which takes longer; give it more, as with "
        + "docker run --shm-size"
    }
    return nil
  }

  /// The total and its largest parts.
  private var sentence: String {
    let largest = parts.sorted { $0.byteCount > $1.byteCount }.prefix(4)
    let text = largest.map { "\($0.name) \(MemoryLimit.text($0.byteCount))" }.joined(separator: ", ")
    return "a rank needs \(MemoryLimit.text(byteCount)) at least (\(text))"
  }
}
