public import Buffers
internal import MPI

/// Brings the stripes of a flat buffer, one from each rank of a group, to the group's first rank.
///
/// Every range is received where it belongs. A rank that stays away is named.
///
/// - Cost: the bytes of all stripes but the first, a message for each range.
public final class StripeGather {
  private let hosts: HostMap
  private let world: Communicator
  private var watchdog: Watchdog

  /// Prepares to gather from the ranks of `hosts`; collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks.
  ///   - patience: How long a rank may stay away; that of `hosts` where nothing else is said.
  public init(_ hosts: HostMap, patience: Patience? = nil) throws {
    self.hosts = hosts
    world = try hosts.duplicate()
    watchdog = Watchdog(hosts.waitingRanks(with: patience ?? hosts.patience))
  }

  /// Fills `whole` on the first rank; collective.
  ///
  /// - Parameters:
  ///   - own: This rank's stripe, its ranges one after another.
  ///   - places: For each rank the ranges of the whole buffer that its stripe holds, as many for each rank.
  ///   - whole: Where the stripes go; used on the first rank alone.
  /// - Throws: `ExchangeError.timedOut` where a rank stays away.
  public func gather(_ own: FloatBuffer, places: [[Range<Int>]], into whole: FloatBuffer?) throws {
    let rangeCount = places.first?.count ?? 0
    let messages = RequestTable(on: world, slotCount: world.rank == 0 ? world.count * rangeCount : rangeCount)
    var start = 0
    for (index, place) in places[world.rank].enumerated() {
      let values = own.values(in: start..<start + place.count)
      start += place.count
      guard !place.isEmpty else { continue }
      if let whole, world.rank == 0 {
        whole.values(in: place).baseAddress!.update(from: values.baseAddress!, count: place.count)
      } else {
        try messages.send(UnsafeRawBufferPointer(values), to: 0, tag: index, slot: index)
      }
    }
    if let whole, world.rank == 0 {
      for rank in 1..<max(world.count, 1) {
        for (index, place) in places[rank].enumerated() where !place.isEmpty {
          try messages.receive(
            into: UnsafeMutableRawBufferPointer(whole.values(in: place)), from: rank, tag: index,
            slot: rank * rangeCount + index)
        }
      }
    }
    try wait(for: messages) { slot in self.world.rank == 0 ? slot / rangeCount : 0 }
  }

  private func wait(for messages: RequestTable, peer: (_ slot: Int) -> Int) throws {
    watchdog.progress()
    while messages.activeCount > 0 {
      if try messages.testSome({ _, _ in }) > 0 {
        watchdog.progress()
        continue
      }
      do {
        try watchdog.idle { seconds in
          let awaited = Set((0..<messages.slotCount).filter { messages.isActive(slot: $0) }.map(peer)).sorted()
          return .timedOut(activity: "the gathering of the model", awaited: awaited.map(hosts.name), seconds: seconds)
        }
      } catch {
        messages.cancelAll()
        throw error
      }
    }
  }
}
