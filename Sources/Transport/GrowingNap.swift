#if canImport(Glibc)
  internal import Glibc
#endif

/// Sleeps of a rank that waits for answers while others use its core: an eighth of the wait so far, up to 0.4 ms.
///
/// A poll takes the time of a few system calls; ranks that share a core and poll every 0.1 ms take a tenth of it each from those that compute.
/// With naps in proportion a wait becomes an eighth longer at most, and one that ends within 0.4 ms no longer at all.
package struct GrowingNap {
  private static let share = 8
  private static let (least, longest) = (Duration.microseconds(50), Duration.microseconds(400))

  private var idleSince: ContinuousClock.Instant?

  package init() {}

  /// Something happened.
  package mutating func progress() { idleSince = nil }

  /// Nothing happened: sleeps.
  package mutating func take() {
    let now = ContinuousClock.now
    guard let idleSince else {
      idleSince = now
      return
    }
    let nap = min((now - idleSince) / GrowingNap.share, GrowingNap.longest)
    if nap >= GrowingNap.least { usleep(UInt32(nap / .microseconds(1))) }
  }
}
