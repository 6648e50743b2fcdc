import Buffers

/// The rotated code of a group by its definition, in fp64: every entry of the Hadamard matrix is the parity of two indices.
struct RotatedReference {
  private let bits: Int
  private let size: Int
  private let signs: [Double]
  private let z: [Double]
  private let scale: Double

  private static let levels: [Int: [Double]] = [
    1: [1], 2: [0.4527800346, 1.5104176085],
    4: [0.1283950299, 0.3880482995, 0.6567591185, 0.9423404565, 1.2562311973, 1.6180463860, 2.0690172265, 2.7325895710],
  ]

  init(_ values: [Float], bits: Int, isUnbiased: Bool) {
    self.bits = bits
    var size = 1
    while size < values.count { size *= 2 }
    self.size = size
    let philox = Philox(seed: 1, purpose: .rotation)
    let signs: [Double] = (0..<size).map { philox.word($0 / 32) >> UInt32($0 % 32) & 1 == 1 ? -1 : 1 }
    self.signs = signs
    let mixed = values.enumerated().map { signs[$0] * Double($1) }
    let root = Double(size).squareRoot()
    let z: [Double] = (0..<size).map { row in
      var sum = 0.0
      for (i, value) in mixed.enumerated() { sum += (row & i).nonzeroBitCount % 2 == 0 ? value : -value }
      return sum / root
    }
    self.z = z
    let levels = Self.levels[bits]!
    let unit = (z.reduce(0) { $0 + $1 * $1 } / Double(size)).squareRoot()
    let chosen = z.map { levels[Self.level(of: $0.magnitude / unit, levels)] }
    let product = zip(chosen, z).reduce(0) { $0 + $1.0 * $1.1.magnitude }
    scale = isUnbiased ? z.reduce(0) { $0 + $1 * $1 } / product : product / chosen.reduce(0) { $0 + $1 * $1 }
  }

  private static func level(of magnitude: Double, _ levels: [Double]) -> Int {
    levels.indices.min { (levels[$0] - magnitude).magnitude < (levels[$1] - magnitude).magnitude }!
  }

  private func word(_ code: [UInt32], _ e: Int, plane: Int) -> Int {
    Int(code[1 + e / 32 * bits + plane] >> UInt32(e % 32) & 1)
  }

  private func level(_ code: [UInt32], _ e: Int) -> Int {
    (1..<max(bits, 2)).reduce(0) { bits == 1 ? 0 : $0 | word(code, e, plane: $1) << ($1 - 1) }
  }

  /// √P/2^⌈b/2⌉.
  private var unit: Double {
    let b = size.trailingZeroBitCount
    return Double(size).squareRoot() / Double(1 << ((b + 1) / 2))
  }

  /// The number of values whose sign or level is another one, though rounding cannot have decided, and 1 for another scale.
  func disagreements(with code: [UInt32]) -> Int {
    let (levels, largest) = (Self.levels[bits]!, z.reduce(0) { max($0, $1.magnitude) })
    let rms = (z.reduce(0) { $0 + $1 * $1 } / Double(size)).squareRoot()
    let wrong = (0..<size).count { e in
      let near = 1e-5 * largest
      if z[e].magnitude > near, (word(code, e, plane: 0) == 1) != (z[e] > 0) { return true }
      let magnitude = z[e].magnitude / rms
      let isNearLimit = zip(levels, levels.dropFirst()).contains { (($0 + $1) / 2 - magnitude).magnitude < 1e-4 }
      return !isNearLimit && level(code, e) != Self.level(of: magnitude, levels)
    }
    let found = Double(Float(bitPattern: code[0]))
    let isScaled = (found - scale * unit).magnitude <= 1e-4 * scale * unit + 0x1p-149
    return wrong + (isScaled ? 0 : 1)
  }

  /// What the words and the scale of a code stand for.
  func decoded(_ code: [UInt32]) -> [Double] {
    let levels = Self.levels[bits]!
    let factor = Double(Float(bitPattern: code[0])) / unit / Double(size).squareRoot()
    let q = (0..<size).map { (word(code, $0, plane: 0) == 1 ? 1.0 : -1.0) * levels[level(code, $0)] }
    return (0..<size).map { i in
      signs[i] * factor * (0..<size).reduce(0) { $0 + ((i & $1).nonzeroBitCount % 2 == 0 ? q[$1] : -q[$1]) }
    }
  }
}
