internal import Glibc
internal import Synchronization

/// Whether somebody asked this process to stop: SIGTERM, SIGINT from the keyboard, SIGUSR1 or SIGUSR2, SIGHUP from a terminal that was
/// closed, or SIGXCPU at a limit of processor time.
///
/// `mpirun` kills ranks a few seconds after it has passed SIGTERM on; SIGUSR1 it passes on at once and then leaves them their
/// time, so that this is the one for large checkpoints and for batch systems that warn before the end; some send SIGUSR2.
///
/// A first signal sets a flag that the loop reads after each step, so that a checkpoint can be written before the end; a second
/// SIGINT ends the process at once. Ranks hear of it at different steps: they have to agree before they stop.
public enum StopSignal {
  private static let received = Atomic<Int32>(0)
  private static let currentAnswer = Atomic<Int>(Answer.none.rawValue)

  /// From now on, signals set the flag instead of ending the process.
  public static func install() {
    // Made before a handler can need it: first use of a global is not safe inside one.
    received.store(0, ordering: .relaxed)
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { number in
      let earlier = StopSignal.received.exchange(number, ordering: .relaxed)
      guard earlier != 0 && number == SIGINT else { return }
      _ = signal(SIGINT, SIG_DFL)
      _ = raise(SIGINT)
    }
    // Waits in the system go on after the handler; otherwise every read and write would have to expect it.
    action.sa_flags = SA_RESTART
    for number in names.keys where number != SIGHUP || !isIgnored(SIGHUP) { _ = unsafe sigaction(number, &action, nil) }
    // Whoever read what the run says may go away; that ends nothing.
    _ = signal(SIGPIPE, SIG_IGN)
  }

  /// Whether whoever started this process wants a signal to be ignored: `nohup` does.
  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard unsafe sigaction(number, nil, &action) == 0 else { return false }
    return unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  /// The signals that ask to stop.
  private static let names: [Int32: String] = [
    SIGTERM: "SIGTERM", SIGINT: "SIGINT", SIGUSR1: "SIGUSR1", SIGUSR2: "SIGUSR2", SIGHUP: "SIGHUP", SIGXCPU: "SIGXCPU",
  ]

  /// Whether a signal has come.
  public static var isRequested: Bool { received.load(ordering: .relaxed) != 0 }

  /// What the run does about a signal.
  public enum Answer: Int, Sendable {
    /// Nothing: it prepares its start, and nobody looks at the flag yet.
    case none
    /// The loop looks at the flag after each step.
    case awaited
    /// The run ends in order and says itself how to go on.
    case given
  }

  /// What the run does about a signal at this moment.
  public package(set) static var answer: Answer {
    get { Answer(rawValue: currentAnswer.load(ordering: .relaxed)) ?? .none }
    set { currentAnswer.store(newValue.rawValue, ordering: .relaxed) }
  }

  /// The name of the last signal that came, for example `SIGTERM`.
  public static var name: String? { names[received.load(ordering: .relaxed)] }
}
