internal import Buffers

/// How momentum is applied.
public struct MomentumStyle: Hashable, Sendable {
  /// Whether the new gradient enters with 1 − ρ, which makes the momentum a low-pass filter.
  public var hasUnitGain = false
  /// Whether the update looks ahead by one momentum step.
  public var isNesterov = false
  /// τ in samples: an update of N samples keeps exp(−N/τ) of the momentum; nil if ρ is given per update instead.
  public var timeConstant: Double?

  /// Creates a style; classic momentum by default.
  public init(hasUnitGain: Bool = false, isNesterov: Bool = false, timeConstant: Double? = nil) {
    self.hasUnitGain = hasUnitGain
    self.isNesterov = isNesterov
    self.timeConstant = timeConstant
  }

  /// Reads the keys of a specification.
  init(_ specification: Specification) throws(SpecificationError) {
    self.init(
      hasUnitGain: try specification.choice("gain", default: Gain.classic) == .unit,
      isNesterov: try specification.flag("nesterov", default: false))
    if specification.options["time-constant"] != nil {
      timeConstant = try specification.number("time-constant", default: 0, in: 1e-3...1e15)
    }
  }

  private enum Gain: String, CaseIterable { case classic, unit }

  /// The keys of a specification, for `train list`.
  static let keys = [
    (name: "gain", meaning: "classic: u ← ρu + g (default); unit: u ← ρu + (1−ρ)g, the paper's momentum smoothing"),
    (name: "nesterov", meaning: "true: w ← w − η(g + ρu), with u already updated (false)"),
    (
      name: "time-constant",
      meaning: "τ in samples instead of --momentum: ρ = exp(−N/τ) at N samples; 2429.8 is 0.9 at 256"
    ),
  ]

  /// What gives the momentum; nil if the settings do.
  var source: String? { timeConstant == nil ? nil : "time constant" }

  /// Whether there is a momentum, at ρ if the settings give it.
  @Sendable func remembersDirection(momentum: Double) -> Bool { timeConstant != nil || momentum != 0 }

  /// The number of floats per parameter that momentum takes at ρ, if the settings give it.
  func bufferCount(momentum: Double) -> Int { remembersDirection(momentum: momentum) ? 1 : 0 }

  /// ρ for an update of `samples` samples: exp(−N/τ), bit-identical on every machine; `otherwise` without a time constant.
  func momentum(samples: Int, otherwise momentum: Float) -> Float {
    // 1/e in fp64.
    timeConstant.map { Float(power(0x1.78b56362cef38p-2, Double(samples) / $0)) } ?? momentum
  }
}
