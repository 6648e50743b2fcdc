internal import Collectives
internal import MPI
internal import Synchronization

extension TrainerOptions {
  /// How long nothing may come from a peer, where it may need `times` as long as for a step; disks are slower than gradients.
  func timeout(times: Double = 1) -> Duration {
    // What is not a number of seconds is refused later, in a sentence of its own.
    .seconds(times * (timeout > 0 && timeout <= 1_000_000 ? timeout : TrainerOptions().timeout))
  }

  /// Tells on standard error whom a rank has been waiting for longer than ``patience``.
  ///
  /// The lowest rank that is not awaited itself speaks for all, once a minute at most.
  func waitNotice(on hosts: HostMap) -> WaitNotice {
    let delay = patience > 0 && patience <= 1_000_000 ? patience : TrainerOptions().patience
    let (rank, rankCount) = (hosts.world.rank, hosts.world.count)
    let last = LastNotice()
    return WaitNotice(after: .seconds(delay)) { waiting in
      let awaited = waiting.awaited
      let speaker = (0..<rankCount).first { !awaited.contains(hosts.name(of: $0)) }
      guard speaker == rank, last.isDue else { return }
      // A line of progress may be open.
      Terminal.write("\(Terminal.width == nil ? "" : "\n")train: warning: \(hosts.name(of: rank)) sees \(waiting)\n")
    }
  }
}

/// When something was told last; exchanges that go on in different threads ask.
private final class LastNotice: Sendable {
  private let time = Mutex<ContinuousClock.Instant?>(nil)

  /// Whether the last notice is a minute old; this one is the last from now on.
  var isDue: Bool {
    time.withLock { last in
      let now = ContinuousClock.now
      if let last, last + .seconds(60) > now { return false }
      last = now
      return true
    }
  }
}
