internal import Transport

/// How much of a step's communication is hidden by its computation, by the OSU definition for non-blocking collectives.
///
/// - Source: OSU Micro-Benchmarks, "Overlap (%)": 100 · (1 − (t_total − t_compute)/t_pure), between 0 and 100.
public struct OverlapMeasurement: Hashable, Sendable {
  /// Seconds of a step: computation plus communication, less their overlap.
  public var total: Double
  /// Seconds of the computation alone.
  public var compute: Double
  /// Seconds of the communication alone.
  public var communication: Double

  /// Creates a measurement from three times in seconds, each measured separately.
  public init(total: Double, compute: Double, communication: Double) {
    (self.total, self.compute, self.communication) = (total, compute, communication)
  }

  /// The part of the communication hidden by the computation, in percent; nil if nothing is communicated.
  public var percentage: Double? {
    guard communication > 0 else { return nil }
    return min(max(100 * (1 - (total - compute) / communication), 0), 100)
  }
}
