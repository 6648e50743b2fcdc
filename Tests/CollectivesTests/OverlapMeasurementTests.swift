import Collectives
import Testing
import Transport
import _TestSupport

/// The percentage against figures worked out by hand.
@Suite(.oneProcess) struct OverlapMeasurementTests {
  @Test(arguments: [
    // Hidden altogether, not at all, and three quarters of it.
    (total: 0.1, compute: 0.1, communication: 0.05, percentage: 100.0),
    (0.15, 0.1, 0.05, 0),
    (0.1125, 0.1, 0.05, 75),
    // An exchange that is longer than the computation hides no more than that.
    (0.2, 0.1, 0.2, 50),
    // Noise leaves the scale at neither end.
    (0.099, 0.1, 0.05, 100),
    (0.2, 0.1, 0.05, 0),
  ]) func percentage(_ times: (total: Double, compute: Double, communication: Double, percentage: Double)) throws {
    let measurement = OverlapMeasurement(total: times.total, compute: times.compute, communication: times.communication)
    #expect(abs(try #require(measurement.percentage) - times.percentage) < 1e-9)
  }

  @Test func nothingIsHiddenWhereNothingIsSent() {
    #expect(OverlapMeasurement(total: 0.1, compute: 0.1, communication: 0).percentage == nil)
  }
}
