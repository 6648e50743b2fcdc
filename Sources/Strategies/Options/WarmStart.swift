internal import Files

/// The warm start of a run, before its codec takes over: `117`, `replicated:117`, `bits:32x60+8x60+2x60` or `auto`.
///
/// Source: Seide et al. 2014, whose first 24 hours of data are processed without parallelism and quantization; algorithms
/// §1.10.
public enum WarmStart: Codable, Hashable, Sendable {
  /// N steps of floats; 0 for none.
  case floats(Int)
  /// N steps in which every rank processes the whole minibatch, and no gradient is exchanged.
  case replicated(Int)
  /// Phases with decreasing numbers of bits per value; 32 bits are floats.
  case bits([BitPhase])
  /// Floats until little of the gradient is signal, but for at most a quarter of the run (`GradientNoise`).
  case automatic

  /// A number of steps with the same number of bits per value.
  public struct BitPhase: Codable, Hashable, Sendable {
    /// 32, or a number of bits of the codec `multi-bit`.
    public var bits: Int
    /// The number of steps.
    public var steps: Int

    /// Creates a phase of `steps` steps with `bits` bits per value.
    public init(bits: Int, steps: Int) { (self.bits, self.steps) = (bits, steps) }
  }

  /// The syntax of each form, with a line of explanation.
  public static let forms = [
    (name: "N", summary: "N steps of floats; 0 for none, a tenth of the run by default"),
    (name: "replicated:N", summary: "N steps in which every rank computes the whole minibatch, and no gradient is exchanged"),
    (name: "bits:8xN+2xN", summary: "phases of 32 (floats), 16, 8, 4 or 2 bits for a value, fewer in each"),
    (name: "auto", summary: "floats until the gradient is 80 % noise, for a quarter of the run at most"),
  ]
}

extension WarmStart: ExpressibleByIntegerLiteral {
  public init(integerLiteral steps: Int) { self = .floats(steps) }
}

extension WarmStart: OptionValue {
  init?(optionText: String) {
    let parts = optionText.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    switch (parts[0], parts.count) {
    case ("auto", 1): self = .automatic
    case ("replicated", 2):
      guard let steps = Int(parts[1]) else { return nil }
      self = .replicated(steps)
    case ("bits", 2):
      let texts = parts[1].split(separator: "+", omittingEmptySubsequences: false)
      let phases = texts.compactMap(BitPhase.init(text:))
      guard phases.count == texts.count else { return nil }
      self = .bits(phases)
    default:
      guard let steps = Int(optionText) else { return nil }
      self = .floats(steps)
    }
  }

  var optionText: String? {
    switch self {
    case .floats(let steps): String(steps)
    case .replicated(let steps): "replicated:\(steps)"
    case .bits(let phases): "bits:" + phases.map { "\($0.bits)x\($0.steps)" }.joined(separator: "+")
    case .automatic: "auto"
    }
  }

  var optionJSON: JSONValue {
    if case .floats(let steps) = self { .integer(steps) } else { .string(optionText ?? "") }
  }

  static var mayBeginWithDash: Bool { true }

  static var expectation: String { "a number of steps, replicated:STEPS, bits:BITSxSTEPS+BITSxSTEPS… or auto" }

  /// The fault of the numbers, as the end of a sentence about the option, or nil.
  var fault: String? {
    switch self {
    case .automatic: return nil
    case .floats(let steps), .replicated(let steps):
      return steps >= 0 ? nil : "is a number of steps from 0, not \(steps)"
    case .bits(let phases):
      if let phase = phases.first(where: { ![32, 16, 8, 4, 2].contains($0.bits) }) {
        return "has phases of 32, 16, 8, 4 or 2 bits, not \(phase.bits)"
      }
      if let phase = phases.first(where: { $0.steps < 1 || $0.steps > 1_000_000_000_000 }) {
        return "has phases of at least one step, not \(phase.steps)"
      }
      return zip(phases, phases.dropFirst()).allSatisfy { $0.bits > $1.bits } ? nil : "has phases of fewer and fewer bits"
    }
  }
}

extension WarmStart.BitPhase {
  /// Reads `8x60`.
  fileprivate init?(text: some StringProtocol) {
    let numbers = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let bits = numbers[0], let steps = numbers[1] else { return nil }
    self.init(bits: bits, steps: steps)
  }
}
