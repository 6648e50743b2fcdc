/// What the owner of a shard did in one segment, up to its last push: how many pushes it took when, and how many bytes came and went.
public struct ServiceRecord: Hashable, Sendable {
  /// Seconds from the beginning of the segment until each push was applied, and answered if its worker may go on.
  public internal(set) var pushTimes: [Double] = []
  /// The bytes of pushes and answers, with headers, those of this rank's own workers among them.
  public internal(set) var pushByteCount = 0
  public internal(set) var answerByteCount = 0
  /// The bytes of pushes and answers that this rank sent to other hosts, as a worker and as an owner.
  public internal(set) var bytesLeavingHost = 0
  /// Seconds of the segment until this rank had nothing left to do but meet the others.
  public internal(set) var seconds = 0.0
  /// The seconds of those in which this rank took pushes, answered and took answers between the layers of a gradient.
  public internal(set) var secondsBetweenLayers = 0.0

  /// A record of pushes that were applied at these times.
  public init(pushTimes: [Double] = []) { self.pushTimes = pushTimes }

  /// Pushes per second while all workers are at work: without the first and the last `aside` pushes, when some have not begun or are
  /// done; nil if there are too few.
  public func pushesPerSecond(aside: Int) -> Double? {
    guard pushTimes.count > 2 * aside, aside > 0 else { return nil }
    let (first, last) = (pushTimes[aside - 1], pushTimes[pushTimes.count - aside - 1])
    return last > first ? Double(pushTimes.count - 2 * aside) / (last - first) : nil
  }
}
