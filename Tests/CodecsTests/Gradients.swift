import Buffers
import Codecs
import Testing

/// Families of awkward gradients, drawn by seed.
enum Gradients: String, CaseIterable, CustomTestStringConvertible {
  case normal, wide, positive, negative, alternating, zeros, negativeZeros, single, denormal, hugeAndTiny, integers

  var testDescription: String { rawValue }

  /// `count` values of this family.
  func values(_ count: Int, seed: UInt64 = 1) -> [Float] {
    let random = Philox(seed: seed, purpose: .tests)
    return (0..<count).map { i in
      let u = random.uniform(i)
      let centred = (u - 0.5) + (random.uniform(i, tensor: 1) - 0.5) + (random.uniform(i, tensor: 2) - 0.5)
      switch self {
      case .normal: return centred
      case .wide:
        return Float(sign: centred < 0 ? .minus : .plus, exponent: Int(u * 80) - 40, significand: 1 + centred.magnitude / 2)
      case .positive: return 0.375
      case .negative: return -0.375
      case .alternating: return i % 2 == 0 ? 1.25 : -0.75
      case .zeros: return 0
      case .negativeZeros: return -0.0
      case .single: return i == count / 2 ? -3.5 : 0
      case .denormal: return Float(bitPattern: UInt32(u * 4096)) * (centred < 0 ? -1 : 1)
      case .hugeAndTiny: return i == count / 3 ? 1e30 : (centred < 0 ? -1e-30 : 1e-30)
      case .integers: return (centred * 64).rounded()
      }
    }
  }
}

/// What a codec made of a group.
struct Encoded {
  var isFinite: Bool
  var code: [UInt32]
  var residual: [Float]
}

extension Codec {
  /// Encodes a group held in arrays, as it is sent.
  func encode(_ gradient: [Float], residual: [Float], context: EncodingContext = EncodingContext()) -> Encoded {
    precondition(encodedByteCount(of: gradient.count) % 4 == 0)
    // One word more than the code needs shows a store beyond the end.
    var code = [UInt32](repeating: 0xDEAD_BEEF, count: encodedByteCount(of: gradient.count) / 4 + 1)
    let rest = FloatBuffer(count: residual.count)
    for index in residual.indices { rest[index] = residual[index] }
    let coder = GroupCoder(self, residual: rest)
    let byteCount = gradient.withUnsafeBufferPointer { gradient in
      code.withUnsafeMutableBytes { code in
        coder.encode(gradient.base, at: 0, count: gradient.count, into: code.baseAddress!, context: context)
      }
    }
    precondition(code.removeLast() == 0xDEAD_BEEF, "the code is longer than it says")
    precondition(hasVaryingLength ? byteCount <= 4 * code.count : byteCount == 4 * code.count)
    return Encoded(
      isFinite: coder.nonFiniteGroups == 0, code: Array(code[..<(byteCount / 4)]), residual: Array(rest.values))
  }

  private var coder: GroupCoder { GroupCoder(self, count: 0) }

  /// The decoded group; `offset` values before it put it at another alignment.
  func decode(_ code: [UInt32], count: Int, streaming: Bool = false, offset: Int = 0) -> [Float] {
    var values = [Float](repeating: .nan, count: count + offset + 1)
    values.withUnsafeMutableBufferPointer { values in
      code.withUnsafeBytes {
        let end = coder.decode($0.baseAddress ?? empty, count: count, setting: values.base + offset, streaming: streaming)
        precondition(end == $0.count, "a group of another length")
      }
    }
    precondition(values.removeLast().isNaN && values[..<offset].allSatisfy(\.isNaN), "a store beyond the group")
    return Array(values[offset...])
  }

  /// `values` plus the decoded group.
  func decode(_ code: [UInt32], adding values: [Float]) -> [Float] {
    var result = values + [.nan]
    result.withUnsafeMutableBufferPointer { result in
      code.withUnsafeBytes {
        let end = coder.decode($0.baseAddress ?? empty, count: values.count, addingTo: result.base)
        precondition(end == $0.count, "a group of another length")
      }
    }
    precondition(result.removeLast().isNaN, "a store beyond the group")
    return result
  }

  /// The sum of decoded groups in this order.
  func decodeSum(_ codes: [[UInt32]], count: Int) -> [Float] {
    let pieces = codes.map { code in
      let copy = UnsafeMutableRawPointer.allocate(byteCount: code.count * 4 + 4, alignment: 4)
      code.withUnsafeBytes { copy.copyMemory(from: $0.baseAddress ?? empty, byteCount: code.count * 4) }
      return UnsafeRawPointer(copy)
    }
    defer { for piece in pieces { piece.deallocate() } }
    var values = [Float](repeating: .nan, count: count + 1)
    values.withUnsafeMutableBufferPointer { values in
      var ends = pieces
      coder.decodeSum(&ends, codeCount: codes.count, count: count, into: values.base)
      precondition(zip(ends, zip(pieces, codes)).allSatisfy { $0 == $1.0 + 4 * $1.1.count }, "a group of another length")
    }
    precondition(values.removeLast().isNaN, "a store beyond the group")
    return values
  }
}

/// A place that may be pointed to where there is nothing.
nonisolated(unsafe) private let empty = UnsafeRawPointer(UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 64))

extension UnsafeBufferPointer {
  /// The address, also of nothing.
  var base: UnsafePointer<Element> { baseAddress ?? empty.assumingMemoryBound(to: Element.self) }
}

extension UnsafeMutableBufferPointer {
  /// The address, also of nothing.
  var base: UnsafeMutablePointer<Element> {
    baseAddress ?? UnsafeMutableRawPointer(mutating: empty).assumingMemoryBound(to: Element.self)
  }
}

extension [Float] {
  /// The bit patterns: −0 and NaN compare as what they are.
  var patterns: [UInt32] { map(\.bitPattern) }
}

/// Half the spacing of fp32 at the largest of the magnitudes.
func halfUlp(_ a: Float, _ b: Float = 0, _ c: Float = 0) -> Double {
  Double(max(a.magnitude, max(b.magnitude, c.magnitude)).ulp) / 2
}
