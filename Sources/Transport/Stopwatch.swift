/// The wall time since its creation.
package struct Stopwatch {
  private let start = ContinuousClock.now

  /// Starts the stopwatch.
  package init() {}

  /// The seconds since the start.
  package var seconds: Double {
    let elapsed = (ContinuousClock.now - start).components
    return Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
  }
}
