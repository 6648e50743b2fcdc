public import Buffers
internal import MPI

/// Gathers the slices of a flat buffer, one from each rank of a group, on the group's first rank.
///
/// Every range is received in place. A missing rank is named.
///
/// - Cost: the bytes of all slices but the first, one message for each range.
public final class SliceGather {
  private let hosts: HostMap
  private let mailbox: Mailbox

  /// Prepares to gather from the ranks of `hosts`; collective.
  ///
  /// - Parameters:
  ///   - hosts: The ranks.
  ///   - patience: How long a rank may stay away; that of `hosts` by default.
  public init(_ hosts: HostMap, patience: Patience? = nil) throws {
    self.hosts = hosts
    mailbox = try Mailbox(hosts, slotCount: 0, receiveCount: 0, sendCount: 0, patience: patience)
  }

  /// Fills `whole` on the first rank; collective.
  ///
  /// - Parameters:
  ///   - own: This rank's slice, its ranges one after another.
  ///   - places: For each rank, the ranges of the whole buffer that its slice holds, the same number for each rank.
  ///   - whole: Where the slices go; used on the first rank only.
  /// - Throws: `ExchangeError.timedOut` if a rank stays away.
  public func gather(_ own: FloatBuffer, places: [[Range<Int>]], into whole: FloatBuffer?) throws {
    let rank = hosts.world.rank
    func pieceCount(_ places: some Sequence<[Range<Int>]>) -> Int {
      places.joined().reduce(0) { $0 + Mailbox.pieceCount(of: 4 * $1.count) }
    }
    mailbox.reserve(
      slotCount: places.first?.count ?? 0, receiveCount: rank == 0 ? pieceCount(places.dropFirst()) : 0,
      sendCount: rank == 0 ? 0 : pieceCount([places[rank]]))
    var start = 0
    for (index, place) in places[rank].enumerated() where !place.isEmpty {
      let values = own.values(in: start..<start + place.count)
      start += place.count
      if let whole, rank == 0 {
        whole.values(in: place).baseAddress!.update(from: values.baseAddress!, count: place.count)
      } else {
        try mailbox.send(UnsafeRawBufferPointer(values), to: 0, slot: index)
      }
    }
    if let whole, rank == 0 {
      for peer in places.indices.dropFirst() {
        for (index, place) in places[peer].enumerated() where !place.isEmpty {
          try mailbox.receive(into: UnsafeMutableRawBufferPointer(whole.values(in: place)), from: peer, slot: index)
        }
      }
    }
    do { try mailbox.wait(for: "the gathering of the model") { !mailbox.isUnderWay } } catch {
      mailbox.abandon(keeping: self)
      throw error
    }
  }
}
