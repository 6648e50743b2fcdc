internal import Collectives
internal import Glibc
internal import MPI

/// Turns instants of this rank into nanoseconds since the beginning of a timeline, by the clock of rank 0.
///
/// The ranks of a host read the same clock. Those of another host ask rank 0 for its time again and again at the start, and take
/// the answer that came fastest: it was given in the middle of its way, give or take half of that.
/// Source: Cristian 1989, "Probabilistic clock synchronization".
package struct TraceClock {
  /// How far the clock of rank 0 is ahead of this host's, as measured at the start.
  let offset: Offset
  private let anchor: ContinuousClock.Instant
  /// The timeline's nanoseconds at the anchor.
  private let start: Int

  /// The difference of two clocks.
  package struct Offset: Equatable {
    /// What must be added to a reading here, in nanoseconds.
    package var nanoseconds = 0
    /// The time of the way to rank 0 and back, half of which bounds the error; 0 on the host of rank 0.
    package var roundTrip = 0

    /// That of the fastest of several answers, each with the times of the question and of its arrival, and rank 0's time.
    package init(_ answers: [(asked: Int, answer: Int, arrived: Int)]) {
      guard let best = answers.min(by: { $0.arrived - $0.asked < $1.arrived - $1.asked }) else { return }
      roundTrip = best.arrived - best.asked
      nanoseconds = best.answer - best.asked - roundTrip / 2
    }

    /// Nothing to add.
    init() {}
  }

  /// Measures the offsets of hosts; collective.
  ///
  /// - Parameters:
  ///   - hosts: All ranks.
  ///   - age: How long ago the timeline began, in nanoseconds; that of rank 0 counts.
  ///   - skew: Added to this rank's clock, for tests.
  /// - Communication: 100 messages of 8 bytes to and from the first rank of each other host, and two small collectives.
  init(_ hosts: HostMap, age: Int, skew: Int = 0) throws {
    let world = hosts.world
    let (anchor, reading) = TraceClock.anchor()
    self.anchor = anchor
    let firsts = hosts.firstRanks
    var own = Offset()
    for asker in Set(firsts).sorted() where asker != 0 {
      if asker == world.rank { own = try TraceClock.ask(world, skew: skew) }
      if world.rank == 0 {
        for _ in 0..<TraceClock.rounds {
          _ = try world.receiveValue(Int64.self, from: asker, tag: TraceClock.tag)
          try world.send(Int64(TraceClock.reading()), to: asker, tag: TraceClock.tag)
        }
      }
    }
    let words = [own.nanoseconds, own.roundTrip, reading - age].map(Int64.init)
    let all = try world.allGather(words).map { Int($0) }
    let first = firsts[world.rank]
    var offset = Offset()
    (offset.nanoseconds, offset.roundTrip) = (all[first * words.count], all[first * words.count + 1])
    self.offset = offset
    start = reading + skew + offset.nanoseconds - all[2]
  }

  /// Nanoseconds since the beginning of the timeline.
  func nanoseconds(_ instant: ContinuousClock.Instant) -> Int {
    let (seconds, attoseconds) = anchor.duration(to: instant).components
    return start + Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000)
  }

  private static let rounds = 100
  private static let tag = 7

  private static func ask(_ world: Communicator, skew: Int) throws -> Offset {
    var answers: [(asked: Int, answer: Int, arrived: Int)] = []
    for _ in 0..<rounds {
      let asked = reading() + skew
      try world.send(Int64(0), to: 0, tag: tag)
      let answer = Int(try world.receiveValue(Int64.self, from: 0, tag: tag))
      answers.append((asked, answer, reading() + skew))
    }
    return Offset(answers)
  }

  /// The clock that all processes of a host share, in nanoseconds.
  private static func reading() -> Int {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_BOOTTIME, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// An instant and what the clock of the host says then: instants do not tell their numbers.
  private static func anchor() -> (ContinuousClock.Instant, Int) {
    (0..<5).map { _ in
      let before = reading()
      let instant = ContinuousClock.now
      return (instant, before, reading())
    }.min { $0.2 - $0.1 < $1.2 - $1.1 }.map { ($0.0, ($0.1 + $0.2) / 2) }!
  }
}

extension HostMap {
  /// For every rank the first rank of its host.
  var firstRanks: [Int] { hostNames.map { hostNames.firstIndex(of: $0)! } }
}
