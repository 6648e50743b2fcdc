internal import Buffers

/// How the gradient of a step is exchanged between ranks.
public enum WarmStartPhase: Hashable, Sendable {
  /// Not at all: each rank computes the whole gradient.
  case replicated
  /// As floats.
  case floats
  /// With the given number of bits per value.
  case bits(Int)
  /// With the codec of the run.
  case codec
}

/// How the gradient of each step is exchanged: the phases of the warm start, then the codec of the run.
///
/// Phases are measured in positions, that is, steps of the requested minibatch (``RunPlan/position(of:)``).
public struct WarmStartPhases: Hashable, Sendable {
  private struct Phase: Hashable {
    let phase: WarmStartPhase
    /// The position at which it ends, exclusive.
    var end: Double
  }

  private var phases: [Phase] = []
  /// Whether no option sets the end of the warm start.
  private var followsFromTheRun = false
  /// Whether the end of the warm start is undecided, and ``end`` is only the latest.
  public private(set) var isOpen = false

  /// A warm start of a run of `horizon` steps.
  ///
  /// Nil means a tenth of the run as floats. An automatic one lasts at most a quarter of the run.
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

  /// The position at which the codec of the run takes over; the latest one while ``isOpen``.
  public var end: Double { phases.last?.end ?? 0 }

  /// The phase at a position.
  public func phase(at position: Double) -> WarmStartPhase { phases.first { position < $0.end }?.phase ?? .codec }

  /// Whether the warm start has this phase.
  public func contains(_ phase: WarmStartPhase) -> Bool { phases.contains { $0.phase == phase } }

  /// The bits per value of the phases that send bits.
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
  /// What a resumed run must know besides its options.
  var counters: [String: String] { ["warmStart": String(end), "warmStartIsOpen": String(isOpen)] }

  /// Restores the end of a warm start whose length follows from the length of the run or from measurements; the others follow
  /// from the options.
  mutating func restore(_ counters: [String: String]) {
    guard followsFromTheRun, let end = counters["warmStart"].flatMap({ Double($0) }) else { return }
    setEnd(end)
    isOpen = isOpen && counters["warmStartIsOpen"] == "true"
  }
}
