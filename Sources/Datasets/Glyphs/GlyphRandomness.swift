internal import Buffers

/// The random numbers of one glyph: a stream for its shape, and a number for each pixel.
struct GlyphRandomness {
  private let philox: Philox
  private var words = SIMD4<UInt32>()
  private var next = 0
  /// The words of pixels are beyond any that a shape uses.
  private static let firstNoiseQuad = 1 << 20

  /// The stream of one sample.
  init(seed: UInt64, split: Split, index: Int) {
    philox = Philox(seed: seed, purpose: .drawing, step: index, stream: split.rawValue)
  }

  private mutating func word() -> UInt32 {
    if next & 3 == 0 { words = philox.words(quad: next >> 2) }
    defer { next += 1 }
    return words[next & 3]
  }

  /// 0 … `bound` − 1.
  mutating func integer(below bound: Int) -> Int {
    Int(word().multipliedFullWidth(by: UInt32(bound)).high)
  }

  /// In [0, 1).
  mutating func uniform() -> Float { Float(word() >> 8) * 0x1p-24 }

  /// In [−1, 1).
  mutating func symmetric() -> Float { Float(word() >> 8) * 0x1p-23 - 1 }

  /// The random words of pixels 16 `quad` to 16 `quad` + 255, a byte for each: the first words of sixteen quads, the second ones, and so on.
  func noise(_ quad: Int) -> (Philox.Words, Philox.Words, Philox.Words, Philox.Words) {
    philox.words(quads: Self.firstNoiseQuad + quad)
  }
}
