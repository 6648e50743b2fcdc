internal import CKernels

/// What the scales of codes are made of: reductions over gradient + residual, the same bits on every processor.
///
/// Sums are taken in fp64 over 32 lanes (lane l adds the elements l, l + 32, …) that are combined by halves.
package struct GroupStatistics {
  private let gradient: UnsafePointer<Float>
  private let residual: UnsafePointer<Float>
  private let count: Int

  /// The statistics of `count` values; nothing is computed yet.
  package init(_ gradient: UnsafePointer<Float>, _ residual: UnsafePointer<Float>, count: Int) {
    (self.gradient, self.residual, self.count) = (gradient, residual, count)
  }

  /// The sum of magnitudes; not finite if a value is not.
  package var magnitudeSum: Double { ck_codes().pointee.magnitude_sum(gradient, residual, count) }

  /// The sum of squares; not finite if a value is not.
  package var squareSum: Double { ck_codes().pointee.square_sum(gradient, residual, count) }

  /// The largest magnitude; not finite if a value is not.
  package var largestMagnitude: Float { Float(bitPattern: ck_codes().pointee.largest(gradient, residual, count)) }

  /// The least and the largest value, if all are finite.
  package var range: (low: Float, high: Float) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 2) { bounds in
      guard let base = bounds.baseAddress else { return (0, 0) }
      ck_codes().pointee.range(gradient, residual, count, base)
      return (base[0], base[1])
    }
  }
}
