/// How the chosen values of a chunk are written.
///
///     sign    bf16 m, then a bit for each value: ±m
///     two     bf16 a ≤ b, then two bits for each value: its sign, and whether it is ±a or ±b
///     bf16    the upper half of each value, rounded to the nearest
///     float   each value
///
/// m is the mean magnitude. a and b are the means of the smaller and the larger magnitudes, on either side of (a + b)/2 (Lloyd's
/// levels, from the mean on). Chosen values are bimodal, with nothing near zero, so that a sign and a magnitude are worth more than
/// a uniform scale of as many bits.
///
/// Source: frontier F1.6.
public enum ChunkValues: String, CaseIterable, Sendable {
  case sign
  case two
  case bf16
  case float

  /// The bits of `count` values.
  func bitCount(of count: Int) -> Int {
    switch self {
    case .sign: 16 + count
    case .two: 32 + 2 * count
    case .bf16: 16 * count
    case .float: 32 * count
    }
  }

  /// The levels of `values`; nil if they are so small that nothing would arrive.
  func levels(of values: UnsafeBufferPointer<Float>) -> ChunkLevels? {
    let levels = self == .sign || self == .two ? ChunkLevels(of: values, count: self == .sign ? 1 : 2) : ChunkLevels()
    guard self == .float || values.contains(where: { arriving($0, levels) != 0 }) else { return nil }
    return levels
  }

  /// What arrives of a value.
  @inline(__always)
  func arriving(_ value: Float, _ levels: ChunkLevels) -> Float {
    switch self {
    case .sign: levels.low * (value < 0 ? -1 : 1) + 0
    case .two: levels.nearest(to: value.magnitude) * (value < 0 ? -1 : 1) + 0
    case .bf16: Float(bitPattern: upperHalf(of: value) << 16) + 0
    case .float: value
    }
  }

  /// Writes values.
  func write(_ values: UnsafeBufferPointer<Float>, _ levels: ChunkLevels, to writer: inout BitWriter) {
    switch self {
    case .sign:
      writer.write(UInt64(upperHalf(of: levels.low)), 16)
      for first in stride(from: 0, to: values.count, by: 32) {
        let count = min(32, values.count - first)
        var signs: UInt64 = 0
        // Chosen values are not zero.
        for place in 0..<count { signs |= UInt64(values[first + place].bitPattern &>> 31) &<< UInt64(place) }
        writer.write(signs, count)
      }
    case .two:
      writer.write(UInt64(upperHalf(of: levels.low)), 16)
      writer.write(UInt64(upperHalf(of: levels.high)), 16)
      for value in values {
        writer.write((value < 0 ? 1 : 0) | (levels.isHigh(value.magnitude) ? 2 : 0), 2)
      }
    case .bf16: for value in values { writer.write(UInt64(upperHalf(of: value)), 16) }
    case .float: for value in values { writer.write(UInt64(value.bitPattern), 32) }
    }
  }

  /// Reads `count` values and calls `body` with each.
  @inline(__always)
  func read(_ count: Int, from reader: inout BitReader, _ body: (_ place: Int, _ value: Float) -> Void) {
    func half() -> Float { Float(bitPattern: UInt32(reader.read(16)) << 16) }
    switch self {
    case .sign:
      let low = half()
      let pair = (low + 0, -low + 0)
      for place in 0..<count { body(place, reader.read(1) == 0 ? pair.0 : pair.1) }
    case .two:
      let levels = (half(), half())
      for place in 0..<count {
        let code = reader.read(2)
        body(place, (code >= 2 ? levels.1 : levels.0) * (code & 1 == 0 ? 1 : -1) + 0)
      }
    case .bf16: for place in 0..<count { body(place, half() + 0) }
    case .float: for place in 0..<count { body(place, Float(bitPattern: UInt32(reader.read(32)))) }
    }
  }
}

/// One or two magnitudes of the chosen values of a chunk, numbers of the format bf16.
///
/// Sums are taken in fp64 in the order of the values, so that they are finite and the same on every processor.
struct ChunkLevels: Hashable {
  private(set) var low: Float = 0
  private(set) var high: Float = 0
  private var middle: Float = 0

  /// No levels.
  init() {}

  /// The mean magnitude, or Lloyd's two levels from there on.
  init(of values: UnsafeBufferPointer<Float>, count: Int) {
    let mean = values.reduce(0) { $0 + Double($1.magnitude) } / Double(max(values.count, 1))
    var (low, high) = (mean, mean)
    if count == 2 {
      var split = mean
      for _ in 0..<ChunkLevels.mostRounds {
        var (sums, counts) = ((0.0, 0.0), (0.0, 0.0))
        for value in values {
          let magnitude = Double(value.magnitude)
          if magnitude < split {
            sums.0 += magnitude
            counts.0 += 1
          } else {
            sums.1 += magnitude
            counts.1 += 1
          }
        }
        guard counts.0 > 0, counts.1 > 0 else { break }
        (low, high) = (sums.0 / counts.0, sums.1 / counts.1)
        guard (low + high) / 2 != split else { break }
        split = (low + high) / 2
      }
    }
    (self.low, self.high) = (ChunkLevels.rounded(low), ChunkLevels.rounded(high))
    middle = Float((Double(self.low) + Double(self.high)) / 2)
  }

  private static let mostRounds = 16

  private static func rounded(_ value: Double) -> Float { Float(bitPattern: upperHalf(of: Float(value)) << 16) }

  /// Whether a magnitude is as near to the larger level as to the smaller one.
  @inline(__always)
  func isHigh(_ magnitude: Float) -> Bool { magnitude >= middle }

  /// The nearer level.
  @inline(__always)
  func nearest(to magnitude: Float) -> Float { isHigh(magnitude) ? high : low }
}

/// The pattern of the nearest number of the format bf16, ties to even; the largest finite one for what is beyond.
@inline(__always)
private func upperHalf(of value: Float) -> UInt32 {
  let pattern = value.bitPattern
  let rounded = (pattern &+ 0x7FFF &+ (pattern &>> 16 & 1)) &>> 16
  return rounded & 0x7FFF == 0x7F80 ? rounded &- 1 : rounded
}
