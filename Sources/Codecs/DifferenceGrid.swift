internal import Buffers

/// A code of what has changed since the last message: each difference on a grid of 2ᵇ points between −R and R, where R is the largest.
///
///     R = max|g − q|      code = ⌊(g − q + R)/(2τR) + ½⌋      q ← q − R + 2τR·code      τ = 1/(2ᵇ − 1)
///
/// Sender and receiver move the same q, by the same function, so that nothing is lost that a later difference does not hold. With a
/// radius of 0 nothing moves.
/// - Source: Sun et al. 2019, "Lazily aggregated quantized gradients", equations 5 and 6; algorithms §5.6.
/// - Errors: |g − q| ≤ τR, up to the rounding of q.
/// - Cost: 4 bytes, and b bits a value in whole words of 4 bytes.
public struct DifferenceGrid: Hashable, Sendable {
  /// The bits of a value, 1 to 16.
  public let bits: Int
  /// The steps of the grid, 2ᵇ − 1.
  private let steps: Double

  /// A grid of `bits` bits.
  public init(bits: Int) {
    require((1...16).contains(bits), "a grid has 1 to 16 bits, not \(bits)")
    self.bits = bits
    steps = Double(1 << bits - 1)
  }

  /// The floats that a message of `count` values takes: none without values.
  public func floatCount(of count: Int) -> Int { count == 0 ? 0 : 1 + (count * bits + 31) / 32 }

  /// R of the differences between `values` and `known`, finite also where they are not.
  public func radius(of values: UnsafePointer<Float>, from known: UnsafePointer<Float>, count: Int) -> Float {
    var largest = 0.0
    for index in 0..<count {
      let magnitude = abs(Double(values[index]) - Double(known[index]))
      if magnitude > largest { largest = magnitude }
    }
    return min(Float(largest), .greatestFiniteMagnitude)
  }

  /// The point nearest to a difference.
  private func code(of difference: Double, radius: Double) -> UInt64 {
    guard radius > 0 else { return 0 }
    let place = ((difference + radius) * steps / (2 * radius) + 0.5).rounded(.down)
    // A value that is not a number has the lowest point.
    return place >= steps ? UInt64(steps) : place > 0 ? UInt64(place) : 0
  }

  /// The value at a point of the grid around `known`.
  private func value(at code: UInt64, around known: Float, radius: Double) -> Float {
    guard radius > 0 else { return known }
    let most = Float.greatestFiniteMagnitude
    return min(max(Float(Double(known) + (2 * radius * Double(code) / steps - radius)), -most), most)
  }

  /// What a message of `values` would change, and leave: ‖q′ − q‖² and ‖values − q′‖².
  public func preview(
    of values: UnsafePointer<Float>, from known: UnsafePointer<Float>, count: Int, radius: Float
  ) -> (change: Double, error: Double) {
    let radius = Double(radius)
    var (change, error) = (0.0, 0.0)
    for index in 0..<count {
      let point = code(of: Double(values[index]) - Double(known[index]), radius: radius)
      let next = Double(value(at: point, around: known[index], radius: radius))
      let (moved, left) = (next - Double(known[index]), Double(values[index]) - next)
      change += moved * moved
      error += left * left
    }
    return (change, error)
  }

  /// Writes a message of `values`, and moves `known` to what it says.
  public func encode(
    _ values: UnsafePointer<Float>, moving known: UnsafeMutablePointer<Float>, count: Int, radius: Float,
    into message: UnsafeMutablePointer<Float>
  ) {
    guard count > 0 else { return }
    message[0] = radius
    var (word, filled, place) = (UInt64(0), 0, 1)
    for index in 0..<count {
      let point = code(of: Double(values[index]) - Double(known[index]), radius: Double(radius))
      known[index] = value(at: point, around: known[index], radius: Double(radius))
      word |= point << UInt64(filled)
      filled += bits
      if filled >= 32 {
        message[place] = Float(bitPattern: UInt32(truncatingIfNeeded: word))
        (word, filled, place) = (word >> 32, filled - 32, place + 1)
      }
    }
    if filled > 0 { message[place] = Float(bitPattern: UInt32(truncatingIfNeeded: word)) }
  }

  // Words are unpacked here: a loop over `BitReader` takes up to a quarter longer.

  /// Moves `known` to what a message says.
  public func decode(_ message: UnsafePointer<Float>, moving known: UnsafeMutablePointer<Float>, count: Int) {
    guard count > 0 else { return }
    let (radius, mask) = (Double(message[0]), UInt64(1 << bits - 1))
    var (word, filled, place) = (UInt64(0), 0, 1)
    for index in 0..<count {
      if filled < bits {
        word |= UInt64(message[place].bitPattern) << UInt64(filled)
        (filled, place) = (filled + 32, place + 1)
      }
      known[index] = value(at: word & mask, around: known[index], radius: radius)
      (word, filled) = (word >> UInt64(bits), filled - bits)
    }
  }
}
