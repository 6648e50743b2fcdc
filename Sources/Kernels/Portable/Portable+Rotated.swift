#if canImport(Glibc)
  internal import Glibc
#endif

/// Codes of rotated groups, as the codec `Rotated` describes them.
extension Portable {
  /// The most values of a group, after padding.
  static let mostRotated = 4096

  /// Magnitudes of the normal distribution in 1, 2 and 8 levels of least mean square error, and the limits between them.
  private static func levels(_ bits: Int) -> [Float] {
    switch bits {
    case 1: [1]
    case 2: [0.4527800346, 1.5104176085]
    default:
      [
        0.12839502985, 0.3880482995, 0.65675911853, 0.9423404565, 1.25623119735, 1.6180463860, 2.06901722653, 2.73258957100,
      ]
    }
  }

  private static func limits(_ bits: Int) -> [Float] {
    switch bits {
    case 1: []
    case 2: [0.98159882157]
    default: [0.25822166467, 0.52240370901, 0.79954978751, 1.09928582692, 1.43713879168, 1.84353180629, 2.40080339876]
    }
  }

  /// 2 to the power n, −149 ≤ n ≤ 127.
  private static func powerOfTwo(_ n: Int) -> Float {
    Float(bitPattern: n >= -126 ? UInt32(n + 127) << 23 : 1 << UInt32(n + 149))
  }

  private static func exponent(of magnitude: UInt32) -> Int { min(max(Int(magnitude >> 23) - 127, -126), 126) }

  /// The number of stages: the power of two that is at least `count`.
  static func rotationStages(of count: Int) -> Int { count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount }

  /// The Hadamard transform without its factor, in place, by the distances 1, 2, 4 and so on.
  static func rotate(_ z: UnsafeMutablePointer<Float>, stages: Int) {
    let count = 1 << stages
    var distance = 1
    while distance < count {
      for start in stride(from: 0, to: count, by: 2 * distance) {
        for e in start..<start + distance {
          let (a, b) = (z[e], z[e + distance])
          z[e] = a + b
          z[e + distance] = a - b
        }
      }
      distance *= 2
    }
  }

  /// Thirty-two lanes to one value by halves.
  private static func halved(_ lanes: [Float]) -> Float {
    var sums = lanes
    for half in [16, 8, 4, 2, 1] {
      for lane in 0..<half { sums[lane] += sums[lane + half] }
    }
    return sums[0]
  }

  private static func isFlipped(_ e: Int, _ signs: UnsafePointer<UInt32>) -> Bool { signs[e / 32] >> UInt32(e % 32) & 1 == 1 }

  /// Writes the code of rotated values; returns the factor of the levels.
  private static func quantize(
    _ z: UnsafePointer<Float>, _ size: Int, _ bits: Int, isUnbiased: Bool, _ code: UnsafeMutablePointer<UInt32>
  ) -> Float {
    let (levels, limits) = (levels(bits), limits(bits))
    var lanes = [Float](repeating: 0, count: 32)
    for e in 0..<size { lanes[e % 32] += z[e] * z[e] }
    let energy = halved(lanes)
    let unit = (energy / Float(size)).squareRoot()
    for word in 0..<(size + 31) / 32 * bits { code[word] = 0 }
    var (products, squares) = ([Float](repeating: 0, count: 32), [Float](repeating: 0, count: 32))
    for e in 0..<size {
      let place = e / 32 * bits
      if z[e] >= 0 { code[place] |= 1 << UInt32(e % 32) }
      let level = limits.count { z[e].magnitude >= $0 * unit }
      for plane in 1..<max(bits, 1) where bits > 1 && level >> (plane - 1) & 1 == 1 {
        code[place + plane] |= 1 << UInt32(e % 32)
      }
      products[e % 32] += bits == 1 ? z[e].magnitude : levels[level] * z[e].magnitude
      squares[e % 32] += levels[level] * levels[level]
    }
    let product = halved(products)
    return isUnbiased ? energy / product : bits == 1 ? product / Float(size) : product / halved(squares)
  }

  /// The sum of codes in `z`, rotated back except for signs and a factor, which is returned; 0 if all is zero.
  private static func decodedRotation(
    _ codes: UnsafePointer<UnsafeRawPointer>, _ codeCount: Int, _ count: Int, _ bits: Int, _ z: UnsafeMutablePointer<Float>
  ) -> Float {
    let stages = rotationStages(of: count)
    func scale(_ k: Int) -> UInt32 { codes[k].load(as: UInt32.self).littleEndian }
    let largest = (0..<codeCount).reduce(UInt32(0)) { max($0, scale($1) & 0x7FFF_FFFF) }
    guard largest > 0 else { return 0 }
    guard largest < 0x7F80_0000 else { return .nan }
    let exponent = exponent(of: largest)
    let levels = levels(bits)
    for k in 0..<codeCount {
      let factor = Float(bitPattern: scale(k)) * powerOfTwo(-exponent)
      let words = (codes[k] + 4).assumingMemoryBound(to: UInt32.self)
      for e in 0..<1 << stages {
        let place = e / 32 * bits
        func bit(_ plane: Int) -> Int { Int(UInt32(littleEndian: words[place + plane]) >> UInt32(e % 32) & 1) }
        var level = 0
        for plane in stride(from: 1, to: bits, by: 1) { level |= bit(plane) << (plane - 1) }
        let magnitude = bits == 1 ? factor : levels[level] * factor
        let value = bit(0) == 1 ? magnitude : -magnitude
        z[e] = k == 0 ? value : z[e] + value
      }
    }
    rotate(z, stages: stages)
    return powerOfTwo(exponent - stages / 2)
  }

  private static func rotatedBack(_ z: UnsafePointer<Float>, _ e: Int, _ factor: Float, _ signs: UnsafePointer<UInt32>) -> Float
  {
    let y = z[e] * factor
    return (isFlipped(e, signs) ? -y : y) + 0
  }

  /// Sets `values` to the sum of decoded groups, or adds it.
  static func rotatedDecode(
    _ codes: UnsafePointer<UnsafeRawPointer>, _ codeCount: Int, _ count: Int, _ bits: Int, _ signs: UnsafePointer<UInt32>,
    _ values: UnsafeMutablePointer<Float>, adds: Bool
  ) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: mostRotated) { room in
      let z = room.baseAddress!
      let factor = decodedRotation(codes, codeCount, count, bits, z)
      for e in 0..<count {
        let y = factor.isNaN || factor == 0 ? factor : rotatedBack(z, e, factor, signs)
        values[e] = adds ? values[e] + y : y
      }
    }
  }

  /// Writes the code of gradient + feedback · residual and leaves the remainder; false, with the residual untouched, if it cannot.
  static func rotatedEncode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, _ count: Int, _ bits: Int,
    isUnbiased: Bool, feedback: Float, _ signs: UnsafePointer<UInt32>, _ code: UnsafeMutableRawPointer
  ) -> Bool {
    let stages = rotationStages(of: count)
    let size = 1 << stages
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: mostRotated) { room in
      let z = room.baseAddress!
      func v(_ e: Int) -> Float { (gradient[e] + feedback * residual[e]) + 0 }
      func whole(_ e: Int) -> Float { (gradient[e] + residual[e]) + 0 }
      let largest = (0..<count).reduce(UInt32(0)) { max($0, v($1).bitPattern & 0x7FFF_FFFF) }
      guard largest < 0x7F80_0000 else { return false }
      guard largest > 0 else {
        memset(code, 0, 4 + (size + 31) / 32 * 4 * bits)
        for e in 0..<count { residual[e] = whole(e) }
        return true
      }
      let exponent = exponent(of: largest)
      for e in 0..<size {
        let scaled = (e < count ? v(e) : 0) * powerOfTwo(-exponent)
        z[e] = isFlipped(e, signs) ? -scaled : scaled
      }
      rotate(z, stages: stages)
      let words = (code + 4).assumingMemoryBound(to: UInt32.self)
      let level = quantize(z, size, bits, isUnbiased: isUnbiased, words)
      for word in 0..<(size + 31) / 32 * bits { words[word] = words[word].littleEndian }
      let scale = level * powerOfTwo(-((stages + 1) / 2)) * powerOfTwo(exponent)
      code.storeBytes(of: scale.bitPattern.littleEndian, as: UInt32.self)
      let factor = withUnsafePointer(to: UnsafeRawPointer(code)) { decodedRotation($0, 1, count, bits, z) }
      guard !factor.isNaN else { return false }
      // From 2¹⁰⁰ on, what is decoded or remains may be too large for fp32.
      if largest >= 0x7180_0000 {
        for e in 0..<count {
          let y = rotatedBack(z, e, factor, signs)
          guard y.isFinite, (whole(e) - y).isFinite else { return false }
        }
      }
      for e in 0..<count { residual[e] = whole(e) - (factor == 0 ? 0 : rotatedBack(z, e, factor, signs)) }
      return true
    }
  }
}
