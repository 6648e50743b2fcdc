internal import Buffers

/// Bits that say which values count, one for each, drawn from a counter: 1 with the probability of `keep`.
///
/// A draw has 16 bits, and a word two draws. Value *e* takes draw *e* mod 128 of block *e*/128, whose 64 words are those of 16
/// counters (`Philox.words(quad:tensor:)`): draw *d* is in quad 16 · block + *d* mod 16, in word *d*/16 mod 4 of it, in its low half
/// if *d* < 64, else in its high half. It counts if the draw is below ``threshold(keeping:)``.
struct RandomMask {
  /// The values drawn at a time.
  private static let blockCount = 128

  /// Bits by sixteen values.
  private(set) var bits: [UInt16] = []
  /// The sixteens of a row of values.
  private let stride: Int
  private let count: Int

  /// A mask for rows of `count` values.
  init(rowLength count: Int) { (self.count, stride) = (count, (count + 15) / 16) }

  /// The draws below this keep a value: a share of `keep` of 2¹⁶, to the nearest.
  static func threshold(keeping keep: Double) -> UInt32 { UInt32((keep * 0x1p16).rounded()) }

  /// Draws the bits of `rowCount` rows, each from its own random numbers.
  mutating func draw(rowCount: Int, keeping keep: Double, tensor: Int, from random: (_ row: Int) -> Philox) {
    if bits.count < rowCount * stride { bits = Array(repeating: 0, count: rowCount * stride) }
    let threshold = SIMD16<UInt32>(repeating: RandomMask.threshold(keeping: keep))
    let (stride, count) = (stride, count)
    bits.withUnsafeMutableBufferPointer { bits in
      for row in 0..<rowCount {
        let random = random(row)
        for block in 0..<(count + RandomMask.blockCount - 1) / RandomMask.blockCount {
          let words = random.words(quads: 16 * block, tensor: tensor)
          func keep(_ draws: SIMD16<UInt32>, _ number: Int) {
            guard 8 * block + number < stride else { return }
            bits[row * stride + 8 * block + number] = packed(draws .< threshold)
          }
          keep(words.0 & 0xFFFF, 0)
          keep(words.1 & 0xFFFF, 1)
          keep(words.2 & 0xFFFF, 2)
          keep(words.3 & 0xFFFF, 3)
          keep(words.0 &>> 16, 4)
          keep(words.1 &>> 16, 5)
          keep(words.2 &>> 16, 6)
          keep(words.3 &>> 16, 7)
        }
      }
    }
  }

  /// outputs = inputs · scale where the bit is 1, and · 0 elsewhere: NaN passes on.
  func apply(_ inputs: UnsafePointer<Float>, rowCount: Int, scale: Float, into outputs: UnsafeMutablePointer<Float>) {
    bits.withUnsafeBufferPointer { bits in
      for row in 0..<rowCount {
        for sixteen in 0..<stride {
          let place = row * count + 16 * sixteen
          let rest = min(16, count - 16 * sixteen)
          let factors = Lanes.zero.replacing(with: scale, where: unpacked(bits[row * stride + sixteen]))
          if rest == 16 {
            (Lanes(at: inputs + place) * factors).store(at: outputs + place)
          } else {
            (Lanes(at: inputs + place, count: rest, padding: 0) * factors).store(at: outputs + place, count: rest)
          }
        }
      }
    }
  }
}

/// 1, 2, 4 … by lanes.
private let powers = SIMD16<UInt32>(
  1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)

@inline(__always)
private func packed(_ mask: SIMDMask<SIMD16<Int32>>) -> UInt16 {
  UInt16(truncatingIfNeeded: SIMD16<UInt32>.zero.replacing(with: powers, where: mask).wrappedSum())
}

@inline(__always)
private func unpacked(_ bits: UInt16) -> SIMDMask<SIMD16<Int32>> {
  (SIMD16<UInt32>(repeating: UInt32(bits)) & powers) .!= 0
}
