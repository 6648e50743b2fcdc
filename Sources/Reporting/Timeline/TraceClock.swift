internal import Collectives
internal import Glibc
internal import MPI
internal import Transport

/// Converts instants of this rank to nanoseconds since the beginning of a timeline, on the clock of rank 0.
///
/// The ranks of a host read the same clock. At the start, each other host asks rank 0 for its time repeatedly and uses the
/// answer with the shortest round trip: it was given in the middle of the round trip, with an error of at most half of it.
/// Source: Cristian 1989, "Probabilistic clock synchronization".
package struct TraceClock {
  /// How far the clock of rank 0 is ahead of this host's, as measured at the start.
  let offset: Offset
  private let anchor: ContinuousClock.Instant
  /// The time of the timeline at the anchor, in nanoseconds.
  private let start: Int

  /// The difference between two clocks.
  package struct Offset: Equatable {
    /// What to add to a reading on this host, in nanoseconds.
    package var nanoseconds = 0
    /// The round-trip time to rank 0, half of which bounds the error; 0 on the host of rank 0.
    package var roundTrip = 0

    /// The offset from the fastest of several answers, each with the times of question and arrival, and rank 0's time.
    package init(_ answers: [(asked: Int, answer: Int, arrived: Int)]) {
      guard let best = answers.min(by: { $0.arrived - $0.asked < $1.arrived - $1.asked }) else { return }
      roundTrip = best.arrived - best.asked
      nanoseconds = best.answer - best.asked - roundTrip / 2
    }

    /// No offset.
    init() {}
  }

  /// Measures the clock offsets of the hosts.
  ///
  /// Collective.
  ///
  /// - Parameters:
  ///   - hosts: All ranks.
  ///   - age: How long ago the timeline began, in nanoseconds; rank 0's value is used.
  ///   - skew: Added to this rank's clock, for tests.
  /// - Communication: 100 messages of 8 bytes to and from the first rank of each other host, and a record.
  init(_ hosts: HostMap, age: Int, skew: Int = 0) throws {
    let world = hosts.world
    let (anchor, reading) = TraceClock.anchor()
    self.anchor = anchor
    let firsts = hosts.firstRanks
    let letters = try Letters(hosts, capacity: 8)
    var own = Offset()
    for asker in Set(firsts).sorted() where asker != 0 {
      if asker == world.rank { own = try TraceClock.ask(letters, skew: skew) }
      if world.rank == 0 {
        for _ in 0..<TraceClock.rounds {
          _ = try letters.receive(from: asker, activity: TraceClock.activity)
          try letters.send([TraceClock.reading()], to: asker, activity: TraceClock.activity)
        }
      }
    }
    let words = [own.nanoseconds, own.roundTrip, reading - age].map { UInt64(bitPattern: Int64($0)) }
    let all = try RecordExchange(hosts).gather(words, activity: TraceClock.activity).map {
      $0.map { Int(bitPattern: UInt($0)) }
    }
    let first = firsts[world.rank]
    var offset = Offset()
    (offset.nanoseconds, offset.roundTrip) = (all[first][0], all[first][1])
    self.offset = offset
    start = reading + skew + offset.nanoseconds - all[0][2]
  }

  /// Nanoseconds since the beginning of the timeline.
  func nanoseconds(_ instant: ContinuousClock.Instant) -> Int {
    let (seconds, attoseconds) = anchor.duration(to: instant).components
    return start + Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000)
  }

  private static let rounds = 100
  private static let activity = "the comparison of clocks"

  private static func ask(_ letters: Letters, skew: Int) throws -> Offset {
    var answers: [(asked: Int, answer: Int, arrived: Int)] = []
    for _ in 0..<rounds {
      let asked = reading() + skew
      try letters.send([0], to: 0, activity: activity)
      let answer = try letters.receiveWords(from: 0, activity: activity)[0]
      answers.append((asked, answer, reading() + skew))
    }
    return Offset(answers)
  }

  /// The clock that all processes of a host share, in nanoseconds.
  private static func reading() -> Int {
    var time = timespec()
    _ = clock_gettime(CLOCK_BOOTTIME, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// An instant and the reading of the host's clock at that instant, since instants do not expose their values.
  private static func anchor() -> (ContinuousClock.Instant, Int) {
    (0..<5).map { _ in
      let before = reading()
      let instant = ContinuousClock.now
      return (instant, before, reading())
    }.min { $0.2 - $0.1 < $1.2 - $1.1 }.map { ($0.0, ($0.1 + $0.2) / 2) }!
  }
}

extension HostMap {
  /// The first rank of each rank's host.
  var firstRanks: [Int] { hostNames.map { hostNames.firstIndex(of: $0)! } }
}
