internal import Buffers

/// How the gradient of a step crosses between ranks.
public enum WarmStartPhase: Hashable, Sendable {
  /// Not at all: every rank computes the whole gradient.
  case replicated
  /// As floats.
  case floats
  /// By so many bits for a value.
  case bits(Int)
  /// By the codec of the run.
  case codec
}

/// Which way the gradient of each step takes: some phases at the start, and the codec of the run after them.
///
/// Phases are counted in positions, steps of the minibatch that was asked for (``RunPlan/position(of:)``).
public struct WarmStartPhases: Hashable, Sendable {
  private struct Phase: Hashable {
    let phase: WarmStartPhase
    /// The position that it does not reach.
    var end: Double
  }

  private var phases: [Phase] = []
  /// Whether no option says where the warm start ends.
  private var followsFromTheRun = false
  /// Whether the end of the warm start is still to be decided, and ``end`` is only the latest.
  public private(set) var isOpen = false

  /// A warm start of a run of `horizon` steps.
  ///
  /// Nil is a tenth of the run as floats. An automatic one lasts a quarter of the run at most.
  public init(_ start: WarmStart?, horizon: Int) {
    followsFromTheRun = start == nil || start == .automatic
    switch start {
    case nil: append(.floats, horizon / 10)
    case .floats(let steps): append(.floats, steps)
    case .replicated(let steps): append(.replicated, steps)
    case .bits(let list): for phase in list { append(phase.bits == 32 ? .floats : .bits(phase.bits), phase.steps) }
    case .automatic:
      append(.floats, horizon / 4)
      isOpen = end > 0
    }
  }

  private mutating func append(_ phase: WarmStartPhase, _ steps: Int) {
    if steps > 0 { phases.append(Phase(phase: phase, end: end + Double(steps))) }
  }

  /// The position at which the codec of the run takes over, or at the latest does.
  public var end: Double { phases.last?.end ?? 0 }

  /// The way at a position.
  public func phase(at position: Double) -> WarmStartPhase { phases.first { position < $0.end }?.phase ?? .codec }

  /// Whether a phase takes this way.
  public func contains(_ phase: WarmStartPhase) -> Bool { phases.contains { $0.phase == phase } }

  /// The numbers of bits of the phases that have some for each value.
  public var bitCounts: [Int] {
    phases.compactMap { if case .bits(let count) = $0.phase { count } else { nil } }
  }

  /// Ends an automatic warm start at `position`.
  mutating func close(at position: Double) {
    require(isOpen, "only an automatic warm start is ended")
    setEnd(position)
    isOpen = false
  }

  private mutating func setEnd(_ position: Double) {
    phases = position > 0 ? [Phase(phase: .floats, end: position)] : []
  }
}

// MARK: - Checkpoints

extension WarmStartPhases {
  /// What a resumed run must know, beside its options.
  var counters: [String: String] { ["warmStart": String(end), "warmStartIsOpen": String(isOpen)] }

  /// Takes back where the warm start ends, for one whose length follows from the length of the run or from what was measured; the
  /// others follow from the options.
  mutating func restore(_ counters: [String: String]) {
    guard followsFromTheRun, let end = counters["warmStart"].flatMap({ Double($0) }) else { return }
    setEnd(end)
    isOpen = isOpen && counters["warmStartIsOpen"] == "true"
  }
}
