internal import Files
internal import Glibc
package import Reporting
internal import Synchronization

/// Pauses or kills one rank, or makes it throw, at a phase of a run, for tests.
///
/// The phases are those of the timeline, at the points where the training thread reaches them.
package final class FaultInjector: Sendable {
  /// What happens.
  enum Kind: String, CaseIterable {
    /// The process stops, with all its threads, and continues after some seconds.
    case pause
    /// The process is killed.
    case kill
    /// An error is thrown.
    case `throw`
  }

  /// `KIND:rank=R,phase=P[,step=S][,time=N][,seconds=T]`.
  struct Fault: Sendable {
    var kind = Kind.pause
    var rank = 0
    var phase = Timeline.Activity.step
    /// The step, from 1, at or after which it happens.
    var step = 0
    /// The occurrence of the phase, counted from then on, at which it happens.
    var time = 1
    /// The length of a pause in seconds.
    var seconds = 2.0

    /// Parses a fault; nil if the text is not one.
    init?(_ text: String) {
      let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
      guard parts.count == 2, let kind = Kind(rawValue: parts[0]) else { return nil }
      self.kind = kind
      var keys: Set<String> = []
      for pair in parts[1].split(separator: ",") {
        let words = pair.split(separator: "=").map(String.init)
        guard words.count == 2, keys.insert(words[0]).inserted else { return nil }
        let number = Int(words[1])
        switch (words[0], number) {
        case ("rank", let number?) where number >= 0: rank = number
        case ("step", let number?) where number >= 0: step = number
        case ("time", let number?) where number > 0: time = number
        case ("phase", _):
          guard let phase = Timeline.Activity(rawValue: words[1]) else { return nil }
          self.phase = phase
        case ("seconds", _):
          guard let seconds = Double(words[1]), seconds >= 0, seconds < 1e6 else { return nil }
          self.seconds = seconds
        default: return nil
        }
      }
      guard keys.contains("rank"), keys.contains("phase") else { return nil }
    }
  }

  /// This process's injector; nil if nothing is to happen.
  private static let current = Mutex<FaultInjector?>(nil)

  private let fault: Fault
  /// The current step, and how often the phase was reached.
  private let course = Mutex((step: 0, times: 0))

  private init(_ fault: Fault) { self.fault = fault }

  /// Installs the fault `text`, already validated, if it concerns this rank.
  package static func install(_ text: String?, rank: Int) {
    let fault = text.flatMap(Fault.init)
    current.withLock { $0 = fault.flatMap { $0.rank == rank ? FaultInjector($0) : nil } }
  }

  /// Called when the training thread reaches a phase.
  package static func reach(_ phase: Timeline.Activity, _ number: Int? = nil) throws {
    guard let injector = current.withLock({ $0 }) else { return }
    try injector.reach(phase, number)
  }

  private func reach(_ phase: Timeline.Activity, _ number: Int?) throws {
    let (isDue, step) = course.withLock { course in
      if phase == .step { course.step = number ?? course.step }
      guard phase == fault.phase, course.step >= fault.step else { return (false, course.step) }
      course.times += 1
      return (course.times == fault.time, course.step)
    }
    guard isDue else { return }
    let place = "rank \(fault.rank) at \(phase.rawValue), step \(step)"
    var now = timespec()
    _ = clock_gettime(CLOCK_REALTIME, &now)
    let time = Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    if fault.kind != .pause { Terminal.write("fault: \(fault.kind.rawValue) of \(place) at \(time)\n") }
    switch fault.kind {
    case .pause:
      Terminal.write("fault: pause of \(place)\n")
      stop()
      Terminal.write("fault: \(place) goes on\n")
    case .kill: _ = kill(getpid(), SIGKILL)
    case .throw: throw InjectedFault(description: "an injected fault of \(place)")
    }
  }

  /// Stops this process with SIGSTOP; a child process wakes it.
  private func stop() {
    guard let alarm = try? ChildProcess(["/bin/sh", "-c", "sleep \(fault.seconds); kill -CONT \(getpid())"]) else { return }
    _ = raise(SIGSTOP)
    alarm.wait()
  }
}

/// An error thrown for a test.
struct InjectedFault: Error, CustomStringConvertible {
  let description: String
}
