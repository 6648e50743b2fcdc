import Buffers
import Codecs

/// The hash functions as they are published, in plain arithmetic on 128 bits: nothing is shared with the code under test.
struct ReferenceHashes {
  static let prime = UInt128(1) << 61 - 1
  let family: SketchHashes.Family
  let columns: Int
  /// The length of a block.
  var length: Int { columns >= 262_144 ? 4096 : columns >= 16_384 ? 1024 : 256 }
  /// a, b, c₃, c₂, c₁, c₀ of each row.
  let coefficients: [[UInt128]]

  init(_ family: SketchHashes.Family, rows: Int, columns: Int, seed: UInt64, shard: Int = 0, bucket: Int = 0, epoch: Int = 0) {
    (self.family, self.columns) = (family, columns)
    coefficients = (0..<rows).map { row in
      (0..<3).flatMap { pair -> [UInt128] in
        let counter = SIMD4<UInt32>(UInt32(shard * 64 + row * 3 + pair), UInt32(bucket) << 16, UInt32(epoch), 0x10 << 24)
        let key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        let x = Philox.block(counter: counter, key: key)
        return [(x[0], x[1]), (x[2], x[3])].map { high, low in
          let number = (UInt128(high) << 32 + UInt128(low)) >> 3
          return number == Self.prime ? 0 : number
        }
      }
    }
  }

  static func affine(_ c: [UInt128], _ x: UInt128) -> UInt128 { (c[0] * x + c[1]) % prime }

  static func cubic(_ c: [UInt128], _ x: UInt128) -> UInt128 {
    c[3...].reduce(c[2]) { value, next in (value * x + next) % prime }
  }

  func cell(_ i: Int, row: Int) -> Int {
    let c = coefficients[row]
    switch family {
    case .mersenne61: return Int(Self.affine(c, UInt128(i)) % UInt128(columns))
    case .block: return (Int((Self.cubic(c, UInt128(i / length)) * UInt128(columns)) >> 61) + i % length) % columns
    }
  }

  func sign(_ i: Int, row: Int) -> Int {
    let c = coefficients[row]
    switch family {
    case .mersenne61: return Self.cubic(c, UInt128(i)) % 2 == 1 ? 1 : -1
    case .block:
      var z = UInt64(Self.cubic(c, UInt128(i / length))) &+ UInt64(i % length / 64 + 1) &* 0x9E37_79B9_7F4A_7C15
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      z ^= z >> 31
      let bit = Int(z >> UInt64(i % 64) & 1) ^ Int(Self.affine(c, UInt128(i / length)) & 1)
      return bit == 1 ? -1 : 1
    }
  }

  /// The table of a vector: every value by itself, in the order of the indices.
  func table(_ values: [Float], at first: Int = 0) -> [Float] {
    var table = [Float](repeating: 0, count: coefficients.count * columns)
    for j in coefficients.indices {
      for (e, value) in values.enumerated() {
        table[j * columns + cell(first + e, row: j)] += Float(sign(first + e, row: j)) * value
      }
    }
    return table
  }

  /// The estimate of one value.
  func estimate(_ table: [Float], _ i: Int) -> Float {
    let terms = coefficients.indices.map { Float(sign(i, row: $0)) * table[$0 * columns + cell(i, row: $0)] }
    return terms.sorted()[terms.count / 2] + 0
  }
}

/// Vectors that sketches are tried on: one without structure, and those that a bad hash function fails on.
enum SketchedVectors: String, CaseIterable {
  case random, stride16, stride256, stride1025, runs64, runs4096, oneHot, powerLaw, equal

  func values(_ count: Int, seed: UInt64 = 1) -> [Float] {
    let noise = Gradients.normal.values(count, seed: seed)
    return (0..<count).map { i in
      let sign: Float = noise[i] < 0 ? -1 : 1
      switch self {
      case .random: return noise[i]
      case .stride16: return i % 16 == 3 ? sign : 0
      case .stride256: return i % 256 == 0 ? sign : 0
      case .stride1025: return i % 1025 == 0 ? 1 : 0
      case .runs64: return i / 64 % 37 == 0 ? sign : 0
      case .runs4096: return i / 4096 == 1 ? sign : 0
      case .oneHot: return i == count / 3 ? -3 : 0
      case .powerLaw: return sign / Float((i * 7919) % count + 1)
      case .equal: return 0.25
      }
    }
  }
}

extension CountSketch {
  /// A sketch of these values.
  convenience init(_ hashes: SketchHashes, of values: [Cell], at first: Int = 0) {
    self.init(hashes)
    insert(values, count: values.count, at: first)
  }

  /// The table, copied.
  var cells: [Cell] { withExtendedLifetime(self) { Array(table) } }

  /// All estimates.
  func estimates(_ count: Int, at first: Int = 0) -> [Cell] {
    var estimates = [Cell](repeating: 7, count: count)
    estimates.withUnsafeMutableBufferPointer { estimate($0.base, count: count, at: first) }
    return estimates
  }
}

extension UnsafeMutableBufferPointer where Element: SketchCell {
  /// The address, also of nothing.
  var base: UnsafeMutablePointer<Element> { baseAddress ?? UnsafeMutablePointer.allocate(capacity: 1) }
}

/// The norm.
func norm(_ values: [Float]) -> Double { values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() }
