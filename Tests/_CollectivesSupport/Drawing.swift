import Buffers

/// SplitMix64: numbers for tests, drawn apart from the generator that the project itself uses.
struct SplitMix {
  var state: UInt64

  init(_ words: Int...) {
    state = 0x5851_F42D_4C95_7F2D
    for word in words {
      state = (state ^ UInt64(bitPattern: Int64(word))) &* 0xD134_2543_DE82_EF95 &+ 1
      _ = next()
    }
  }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  mutating func next(below bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

/// The gradient of a rank at a step: signs and magnitudes over twelve powers of two, some zeros of either sign, some denormals.
///
/// Every rank can draw the gradients of all.
func drawGradient(count: Int, seed: Int, step: Int, rank: Int) -> [Float] {
  var random = SplitMix(seed, step, rank)
  return (0..<count).map { _ in
    let word = random.next()
    let sign: Float = word & 1 == 0 ? 1 : -1
    switch word >> 1 & 0xFF {
    case 0, 1, 2: return 0
    case 3: return -0.0
    case 4: return sign * Float(bitPattern: UInt32(truncatingIfNeeded: word >> 40) & 0xFFFF)
    default:
      let scale = Float(bitPattern: UInt32(127 - Int(word >> 9 & 0xF) * 3 / 4) << 23)
      return sign * scale * (Float(word >> 40) * 0x1p-24 + 0.001)
    }
  }
}

/// The gradients of all ranks at a step.
func drawGradients(count: Int, seed: Int, step: Int, rankCount: Int) -> [[Float]] {
  (0..<rankCount).map { drawGradient(count: count, seed: seed, step: step, rank: $0) }
}

/// Values from −256 to 255 in turn, times `factor`.
func drawSawtooth(count: Int, times factor: Float = 1) -> [Float] { (0..<count).map { factor * (Float($0 % 512) - 256) } }

/// Where two vectors differ first, bit for bit; nil where they are equal.
func firstDifference(_ found: [Float], _ expected: [Float]) -> String? {
  guard found.count == expected.count else { return "\(found.count) values instead of \(expected.count)" }
  for index in found.indices where found[index].bitPattern != expected[index].bitPattern {
    return "value \(index) of \(found.count) is \(found[index]) instead of \(expected[index])"
  }
  return nil
}

/// Where two vectors differ first by more than `bound`; nil where they do not.
func firstDifference(_ found: [Float], _ expected: [Double], within bound: Double) -> String? {
  firstDifference(found.map(Double.init), expected, within: bound)
}

/// Where two vectors differ first by more than `bound`; nil where they do not.
func firstDifference(_ found: [Double], _ expected: [Double], within bound: Double) -> String? {
  guard found.count == expected.count else { return "\(found.count) values instead of \(expected.count)" }
  for index in found.indices where !(abs(found[index] - expected[index]) <= bound) {
    return "value \(index) of \(found.count) is \(found[index]) instead of \(expected[index])"
  }
  return nil
}

extension FloatBuffer {
  /// A copy.
  var array: [Float] { Array(values) }

  /// Sets all values.
  func set(_ array: [Float]) {
    precondition(array.count == count)
    for index in array.indices { baseAddress[index] = array[index] }
  }

  /// Sets the values of `range` to those of `array` there.
  func set(_ array: [Float], in range: Range<Int>) {
    for index in range { baseAddress[index] = array[index] }
  }

  /// Sets the values of `range`, of which each was NaN: those that had been set already become infinite.
  func setOnce(_ range: Range<Int>, _ source: UnsafePointer<Float>) {
    for (offset, index) in range.enumerated() { baseAddress[index] = baseAddress[index].isNaN ? source[offset] : .infinity }
  }

  /// Sets all values to `value`.
  func fill(_ value: Float) {
    for index in 0..<count { baseAddress[index] = value }
  }
}
