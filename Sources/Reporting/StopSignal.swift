internal import Glibc
internal import Synchronization

/// The signals that ask this process to stop.
///
/// They are SIGTERM, SIGINT from the keyboard, SIGUSR1 or SIGUSR2, SIGHUP from a closed terminal, and SIGXCPU at a CPU time
/// limit.
///
/// `mpirun` kills ranks a few seconds after it forwards SIGTERM. It forwards SIGUSR1 at once and then gives them time, so
/// SIGUSR1 is the one for large checkpoints and for batch systems that warn before the end; some of these send SIGUSR2.
///
/// The first signal sets a flag that the loop reads after each step, so that a checkpoint can be written before the end; a
/// second SIGINT ends the process at once. Ranks receive the signal at different steps, so they must agree before they stop.
public enum StopSignal {
  private static let received = Atomic<Int32>(0)
  private static let currentAnswer = Atomic<Int>(Answer.none.rawValue)

  /// From now on, signals set the flag instead of ending the process.
  public static func install() {
    // Initialized before a handler can need it: first use of a global is not safe inside one.
    received.store(0, ordering: .relaxed)
    var action = sigaction()
    action.__sigaction_handler.sa_handler = { number in
      let earlier = StopSignal.received.exchange(number, ordering: .relaxed)
      guard earlier != 0 && number == SIGINT else { return }
      _ = signal(SIGINT, SIG_DFL)
      _ = raise(SIGINT)
    }
    // System calls resume after the handler; otherwise every read and write would have to expect the interruption. It has a stack of
    // its own: oneDNN's products keep their stack pointer in a block of the heap, and what a signal saves below it destroys the heap.
    setAlternateStack()
    action.sa_flags = SA_RESTART | SA_ONSTACK
    for number in names.keys where number != SIGHUP || !isIgnored(SIGHUP) { _ = sigaction(number, &action, nil) }
    // A reader of the output that goes away does not end the run.
    _ = signal(SIGPIPE, SIG_IGN)
  }

  /// Gives this thread, which is the first and gets the signals of the process, a stack for handlers; it stays to the end.
  private static func setAlternateStack() {
    let size = 1 << 16
    var stack = stack_t()
    stack.ss_sp = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
    stack.ss_size = size
    _ = sigaltstack(&stack, nil)
  }

  /// Whether the parent process wants a signal to be ignored, as `nohup` does.
  private static func isIgnored(_ number: Int32) -> Bool {
    var action = sigaction()
    guard sigaction(number, nil, &action) == 0 else { return false }
    return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
      == unsafeBitCast(SIG_IGN, to: Int.self)
  }

  /// The signals that ask to stop.
  private static let names: [Int32: String] = [
    SIGTERM: "SIGTERM", SIGINT: "SIGINT", SIGUSR1: "SIGUSR1", SIGUSR2: "SIGUSR2", SIGHUP: "SIGHUP", SIGXCPU: "SIGXCPU",
  ]

  /// Whether a signal has arrived.
  public static var isRequested: Bool { received.load(ordering: .relaxed) != 0 }

  /// How the run responds to a signal.
  public enum Answer: Int, Sendable {
    /// Not at all: it is starting, and the flag is not read yet.
    case none
    /// The loop reads the flag after each step.
    case awaited
    /// The run ends in order and reports how to resume.
    case given
  }

  /// How the run responds to a signal at this moment.
  public package(set) static var answer: Answer {
    get { Answer(rawValue: currentAnswer.load(ordering: .relaxed)) ?? .none }
    set { currentAnswer.store(newValue.rawValue, ordering: .relaxed) }
  }

  /// The name of the last signal that arrived, for example `SIGTERM`.
  public static var name: String? { names[received.load(ordering: .relaxed)] }
}
