internal import CKernels

/// The loops over one group for codes of a few bits per value with a short header.
///
/// A header is a few words that the decoder reads before the codes of the values. These follow block by block of 32, the last block
/// shorter: a block of k values of b bits has w = ⌈k b/32⌉ words; the code of its value e is in word e % w, from bit b × ⌊e/w⌋
/// on; the bits after it are 0.
package protocol CodeLoops: Sendable {
  /// The number of bytes before the codes of the values, a multiple of 4.
  var headerByteCount: Int { get }
  /// The number of bits of a value.
  var bits: Int { get }

  /// Writes the code of gradient + residual, and leaves the remainder as the new residual, or zeros if it does not keep it.
  func encode(
    _ gradient: UnsafePointer<Float>, _ residual: UnsafeMutablePointer<Float>, count: Int, into code: UnsafeMutableRawPointer)

  /// Decodes a group, whose scale its header has.
  func decode(_ code: UnsafeRawPointer, count: Int, into values: UnsafeMutablePointer<Float>, _ mode: DecodingMode)
}

extension CodeLoops {
  /// The number of bytes of the code of `count` values.
  package func byteCount(of count: Int) -> Int { headerByteCount + 4 * ((count * bits + 31) / 32) }
}

/// What is done with decoded values.
package enum DecodingMode: Int32, Sendable {
  /// They replace what was there.
  case set
  /// The same, past the cache (``finishStreaming()``).
  case stream
  /// They are added to what was there.
  case add
}

/// How a value becomes one of the two levels beside it.
package enum Rounding: UInt32, Sendable {
  /// The nearer one.
  case nearest
  /// The farther one with a probability in proportion to the distance, so that the mean is right.
  case stochastic
  /// The one nearer to zero.
  case down
  /// The nearer one of the value plus dither, which the decoder subtracts again.
  case dithered
}

/// Where the random numbers of a group begin.
package struct RandomStart: Hashable, Sendable {
  var counter: SIMD4<UInt32>
  var key: SIMD2<UInt32>

  /// The numbers of consecutive quads of Philox4x32-10 from a counter on.
  package init(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) { (self.counter, self.key) = (counter, key) }

  /// No random numbers.
  package static let none = RandomStart(counter: .zero, key: .zero)

  var forLoops: ck_random {
    ck_random(counter: (counter[0], counter[1], counter[2], counter[3]), key: (key[0], key[1]))
  }
}

extension UnsafeRawPointer {
  /// A float of a header.
  func float(at offset: Int) -> Float { Float(bitPattern: UInt32(littleEndian: load(fromByteOffset: offset, as: UInt32.self))) }
}

extension UnsafeMutableRawPointer {
  /// Writes a float of a header.
  func store(_ value: Float, at offset: Int) {
    storeBytes(of: value.bitPattern.littleEndian, toByteOffset: offset, as: UInt32.self)
  }
}
