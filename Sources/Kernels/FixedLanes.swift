package import Buffers

/// Reductions that are bitwise identical on every machine.
package enum FixedLanes {
  /// Σ x², in fp64 over 8 lanes: lane l sums elements l, l + 8, …; lanes are combined in a fixed tree.
  ///
  /// Source: algorithms A3, rule R4.
  package static func sumOfSquares(_ values: UnsafeBufferPointer<Float>) -> Double {
    guard let base = values.baseAddress else { return 0 }
    var lanes = SIMD8<Double>.zero
    let whole = values.count / 8 * 8
    var index = 0
    while index < whole {
      let x = SIMD8<Double>(UnsafeRawPointer(base + index).loadUnaligned(as: SIMD8<Float>.self))
      lanes += x * x
      index += 8
    }
    for index in whole..<values.count {
      let x = Double(base[index])
      lanes[index - whole] += x * x
    }
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
  }

  /// Whether all values are finite: only a finite value times zero is zero.
  package static func areFinite(_ values: UnsafeBufferPointer<Float>) -> Bool {
    guard let base = values.baseAddress else { return true }
    var (first, second) = (SIMD16<Float>.zero, SIMD16<Float>.zero)
    let whole = values.count / 32 * 32
    var index = 0
    while index < whole {
      first += UnsafeRawPointer(base + index).loadUnaligned(as: SIMD16<Float>.self) * 0
      second += UnsafeRawPointer(base + index + 16).loadUnaligned(as: SIMD16<Float>.self) * 0
      index += 32
    }
    var sum = (first + second).sum()
    for index in whole..<values.count { sum += base[index] * 0 }
    return sum == 0
  }

  /// Replaces non-finite values with zero.
  ///
  /// - Returns: the number of values replaced.
  package static func clearNonFinite(_ values: UnsafeMutableBufferPointer<Float>) -> Int {
    var count = 0
    for index in values.indices where !values[index].isFinite {
      values[index] = 0
      count += 1
    }
    return count
  }
}

extension FloatBuffer {
  /// The square of the Euclidean norm, in fp64, bitwise identical on every machine.
  package var sumOfSquares: Double { FixedLanes.sumOfSquares(UnsafeBufferPointer(values)) }

  /// Whether all values in `range` are finite.
  package func isFinite(in range: Range<Int>) -> Bool { FixedLanes.areFinite(UnsafeBufferPointer(values(in: range))) }
}
